"""An authority of the tests' own and one certificate by it, for every server on loopback."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Paths of PEM files.

    Attributes:
        authority: whom clients trust.
        certificate: of servers on loopback, signed by the authority.
        key: that of the certificate.
        accounts: the key that signs the tokens of service accounts.
    """

    authority: Path
    certificate: Path
    key: Path
    accounts: Path


def in_folder(folder: Path) -> Certificates:
    """Return where the files are in a folder."""
    return Certificates(
        authority=folder / "ca.crt",
        certificate=folder / "server.crt",
        key=folder / "server.key",
        accounts=folder / "accounts.key",
    )


def make(folder: Path) -> Certificates:
    """Make all of them in a folder that is there; they are good for two days."""
    made = in_folder(folder)
    authority_key, request, extensions = folder / "ca.key", folder / "server.csr", folder / "server.ext"
    extensions.write_text(f"{_NAMES}\nauthorityKeyIdentifier=keyid\nbasicConstraints=critical,CA:false\n")
    for key in (authority_key, made.key, made.accounts):
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    _openssl(
        *(
            "req",
            "-x509",
            "-new",
            "-key",
            str(authority_key),
            "-subj",
            "/CN=kale-tests",
            "-days",
            "2",
            "-out",
            str(made.authority),
        ),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )
    _openssl("req", "-new", "-key", str(made.key), "-subj", "/CN=127.0.0.1", "-out", str(request))
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(made.authority), "-CAkey", str(authority_key), "-CAcreateserial"),
        *("-days", "2", "-extfile", str(extensions), "-out", str(made.certificate)),
    )
    return made


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)
