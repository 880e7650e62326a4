"""Runs etcd, the API server and the controller manager for as long as somebody uses them: `python -m tests.k8s.serving FOLDER KIND`.

A process of its own, so that it outlives whichever worker was first. Users hold a shared lock on `FOLDER/users`; the kernel takes it from
a process that ends, however it ends. When the last one is gone, this one gets the lock for itself, stops what it started and removes the
folder. Should this one be killed, the kernel kills what it started (`setpriv --pdeathsig`).

`FOLDER/cluster.json` tells the users where the server is, once it is ready; `FOLDER/failed` why there will be none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from tests.k8s import certificates, programs
from tests.k8s.crds import snapshot_crds
from tests.k8s.objects import NODE

LIMIT = 120.0  # seconds, for a machine that does much else


class Kind(Enum):
    """What a server is.

    Attributes:
        FULL: with the kinds of snapshots, and a node on which nothing runs.
        BARE: without the kinds of snapshots.
        NODE: with the kinds of snapshots, and a real node (`tests/pods`).
    """

    FULL = "full"
    BARE = "bare"
    NODE = "node"


class Failed(Exception):
    """A program ended, or was not ready in time; says what it printed last."""


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Serving:
    """The programs, and what each of them printed (`FOLDER/NAME.log`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.token = os.urandom(16).hex()
        self.files = certificates.make(folder)
        self.trust = ssl.create_default_context(cafile=str(self.files.authority))

    def start(self, name: str, *words: object) -> None:
        """Start a program that ends when this process does."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, words)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            )

    def wait(self, what: str, ask: Callable[[], bool]) -> None:
        """Ask until it is so.

        Raises:
            Failed: a program ended, or it takes too long.
        """
        end, problem = time.monotonic() + LIMIT, "it says no"
        while time.monotonic() < end:
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise Failed(f"{name} ended with {process.returncode}:\n{self.said(name)}")
            try:
                if ask():
                    return
            except OSError as error:
                problem = str(error)
            time.sleep(0.05)
        raise Failed(f"{what}: not ready within {LIMIT:.0f} s, {problem}\n" + "\n".join(map(self.said, self.running)))

    def said(self, name: str) -> str:
        """Return the end of what a program printed."""
        return f"--- {name}\n" + (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def ask(self, url: str, body: object = None) -> str:
        """Ask a server on loopback, as the administrator."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trust))
        with direct.open(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        """Stop everything; nothing of it is worth a graceful end."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()


def start_etcd(serving: Serving) -> str:
    """Start etcd; return its address."""
    mine, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    etcd = programs.find_etcd()
    known = subprocess.run([str(etcd), "--help"], capture_output=True, text=True, check=False).stdout
    serving.start(
        "etcd",
        *(etcd, "--data-dir", serving.folder / "etcd", "--name", "default", "--initial-cluster", f"default={peers}"),
        *("--listen-client-urls", mine, "--advertise-client-urls", mine),
        *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        *(["--unsafe-no-fsync"] if "--unsafe-no-fsync" in known else []),
    )
    serving.wait("etcd", lambda: "true" in serving.ask(f"{mine}/health"))
    return mine


def start_api(serving: Serving, etcd: str) -> str:
    """Start the API server; return its address."""
    folder = programs.find(*programs.NEEDED)
    assert folder is not None
    [port] = free_ports(1)
    url, files = f"https://127.0.0.1:{port}", serving.files
    tokens = serving.folder / "tokens.csv"
    tokens.write_text(f'{serving.token},admin,admin,"system:masters"\n')
    words = [
        *("--etcd-servers", etcd, "--storage-media-type", "application/json"),
        *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port),
        *("--tls-cert-file", files.certificate, "--tls-private-key-file", files.key, "--cert-dir", serving.folder / "certs"),
        *("--service-cluster-ip-range", "10.0.0.0/24", "--token-auth-file", tokens, "--authorization-mode", "Node,RBAC"),
        *("--service-account-issuer", url, "--api-audiences", url, "--service-account-key-file", files.accounts),
        *("--service-account-signing-key-file", files.accounts, "--allow-privileged=true"),
        *("--kubelet-preferred-address-types", "Hostname"),
    ]
    if _is_1_20(folder):  # newer ones do so anyway: pods get tokens that end, in projected volumes
        words += ["--feature-gates", "BoundServiceAccountTokenVolume=true"]
    serving.start("kube-apiserver", folder / "kube-apiserver", *words)
    serving.wait("kube-apiserver", lambda: serving.ask(f"{url}/readyz") == "ok")
    return url


def _is_1_20(folder: Path) -> bool:
    version = subprocess.run([folder / "kube-apiserver", "--version"], capture_output=True, text=True, check=True).stdout
    return "v1.20." in version


def start_controllers(serving: Serving, url: str) -> None:
    """Start the controller manager: namespaces, quotas, garbage, Jobs, the binding of volumes."""
    folder, files = programs.find(*programs.NEEDED), serving.files
    assert folder is not None
    config = serving.folder / "controllers.json"
    config.write_text(json.dumps(kubeconfig(url, files.authority, serving.token)))
    [port] = free_ports(1)
    serving.start(
        "kube-controller-manager",
        *(folder / "kube-controller-manager", "--kubeconfig", config, "--leader-elect=false"),
        *("--service-account-private-key-file", files.accounts, "--root-ca-file", files.authority),
        *("--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", serving.folder / "controllers-certs"),
        *(["--port", 0] if _is_1_20(folder) else []),  # no port without TLS, which would be the same for every server
        *("--use-service-account-credentials=false", "--kube-api-qps", 500, "--kube-api-burst", 1000),
        *("--pvclaimbinder-sync-period", "1s", "--resource-quota-sync-period", "2s", "--namespace-sync-period", "30s"),
        # Nobody tells how the node is; it is not to be taken for dead.
        *("--controllers", "*,-nodelifecycle", "--concurrent-namespace-syncs", 4, "--concurrent-serviceaccount-token-syncs", 2),
    )


def wait_for_controllers(serving: Serving, url: str) -> None:
    """Wait until they make what a namespace is not usable without."""
    account = f"{url}/api/v1/namespaces/default/serviceaccounts/default"
    serving.wait("the controller manager", lambda: '"secrets"' in serving.ask(account))


def kubeconfig(url: str, authority: Path, token: str, namespace: str = "default") -> dict[str, object]:
    """Return a kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "tests", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
    }


def load_crds(serving: Serving, url: str) -> None:
    """Load the kinds of snapshots and wait until they are served."""
    for crd in snapshot_crds():
        serving.ask(f"{url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    group = f"{url}/apis/snapshot.storage.k8s.io/v1"
    served = ("volumesnapshots", "volumesnapshotclasses", "volumesnapshotcontents")
    serving.wait("the kinds of snapshots", lambda: all(serving.ask(f"{group}/{plural}") for plural in served))


def serve(folder: Path, kind: Kind) -> None:
    """Start everything, tell where it is, and stop it when nobody uses it any more.

    Args:
        folder: is there, and is removed at the end.
        kind: what it is to be.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            serving = Serving(folder)
            stack.callback(serving.stop)
            url = start_api(serving, start_etcd(serving))
            start_controllers(serving, url)
            if kind is not Kind.BARE:
                load_crds(serving, url)
            if kind is Kind.NODE:
                from tests.pods.node import start_node

                stack.enter_context(start_node(serving, url))
            else:
                serving.ask(f"{url}/api/v1/nodes", {"metadata": {"name": NODE}})
            wait_for_controllers(serving, url)
        except Failed as error:
            (folder / "failed").write_text(str(error))
            raise
        print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
        ready = folder / "cluster.json.new"
        ready.write_text(json.dumps({"url": url, "token": serving.token}))
        ready.rename(folder / "cluster.json")
        with (folder / "users").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            gone = folder.with_name(f"{folder.name}.{os.getpid()}.gone")
            folder.rename(gone)  # at once: who comes now finds nothing, and starts another server
    shutil.rmtree(gone)


def main() -> None:
    def leave(*_: object) -> None:
        raise SystemExit(1)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)
    serve(Path(sys.argv[1]), Kind(sys.argv[2]))


if __name__ == "__main__":
    main()
