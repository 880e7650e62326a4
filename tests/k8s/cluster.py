"""The API server of a session, one for all of its workers, and how to talk to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.k8s import certificates
from tests.k8s.serving import LIMIT, Kind, kubeconfig

ROOT = Path(__file__).parents[2]
_started: list[subprocess.Popen[bytes]] = []  # outlive this process, and are not to be waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server that answers.

    Attributes:
        url: `https://127.0.0.1:PORT`.
        token: of a user that may do everything.
        files: its certificate, which is good for every server on loopback, and the authority that signed it.
        folder: where its logs are, for people who look for a reason.
    """

    url: str
    token: str
    files: certificates.Certificates
    folder: Path

    def client(self, token: str | None = None, *, url: str | None = None) -> Any:
        """Return the official client, of the administrator or of whoever has the token; of a proxy's address when one is given.

        Whoever makes one closes it.
        """
        from kubernetes import client

        settings = client.Configuration()
        settings.host, settings.ssl_ca_cert, settings.proxy = url or self.url, str(self.files.authority), None
        settings.api_key = {"authorization": f"Bearer {token or self.token}"}
        return client.ApiClient(settings)

    def kubeconfig(self, path: Path, token: str | None = None, *, namespace: str = "default", url: str | None = None) -> Path:
        """Write a kubeconfig file, of the administrator or of whoever has the token; return its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kubeconfig(url or self.url, self.files.authority, token or self.token, namespace)))
        path.chmod(0o600)
        return path


@contextmanager
def shared_cluster(folder: Path, kind: Kind = Kind.FULL) -> Iterator[Cluster]:
    """Use the server of a folder, and start it when nobody uses it yet.

    Args:
        folder: the same for all who share; need not be there, and is gone when the last of them is.
        kind: each is a server of its own.

    Raises:
        AssertionError: there is no server to be had; says why.
    """
    place = folder / kind.value
    users = _join(place)
    try:
        if not (place / "cluster.json").exists():
            _begin(place, kind)
        told = json.loads((place / "cluster.json").read_text())
        yield Cluster(url=told["url"], token=told["token"], files=certificates.in_folder(place), folder=place)
    finally:
        users.close()


def _join(place: Path) -> Any:
    """Take the lock that says that the server is in use; when it is just being stopped, wait until it is gone."""
    while True:
        place.mkdir(parents=True, exist_ok=True)
        try:
            users = (place / "users").open("a")
        except FileNotFoundError:  # removed since
            continue
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if (place / "users").stat().st_ino == os.fstat(users.fileno()).st_ino:
                return users
        users.close()
        time.sleep(0.05)


def _begin(place: Path, kind: Kind) -> None:
    """Start the server, or wait for somebody else who is starting it."""
    with (place.parent / f"{place.name}.starting").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if (place / "cluster.json").exists():
            return
        assert not (place / "failed").exists(), (place / "failed").read_text()
        log = place.parent / f"{place.name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.k8s.serving", str(place), kind.value],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for pytest; when that is gone, this one ends by itself
            )
        _started.append(process)
        end = time.monotonic() + 3 * LIMIT
        while not (place / "cluster.json").exists():
            assert process.poll() is None, log.read_text(errors="replace")[-8000:]
            assert time.monotonic() < end, f"the API server does not start: {log.read_text(errors='replace')}"
            time.sleep(0.05)
