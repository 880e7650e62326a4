"""Who asks: headers made anew for each request, from a place that is named. What is kept is the name of the place, never the secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kale_nb.engines.kfp.submission.problems import NotSignedIn


class Credentials(Protocol):
    """Makes the headers of a request."""

    def headers(self) -> dict[str, str]:
        """Return the headers. NotSignedIn when the place that holds the secret cannot be read."""
        ...

    @property
    def told(self) -> str:
        """Where the secret comes from, for people."""
        ...

    @property
    def reference(self) -> dict[str, str]:
        """What a record keeps to find the secret again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    """No credentials."""

    def headers(self) -> dict[str, str]:
        """Return none."""
        return {}

    @property
    def told(self) -> str:
        """Say so."""
        return "no credentials"

    @property
    def reference(self) -> dict[str, str]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """A bearer token or a cookie in a file, read again for each request: the kubelet renews such files."""

    path: Path
    cookie: bool = False

    def headers(self) -> dict[str, str]:
        """Return the header."""
        try:
            secret = self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise NotSignedIn(f"the {self._word} file {self.path} cannot be read: {reason}") from error
        return _header(secret, self._word, str(self.path), cookie=self.cookie)

    @property
    def told(self) -> str:
        """Name the file."""
        return f"{self._word} file {self.path}"

    @property
    def reference(self) -> dict[str, str]:
        """Return the file's path."""
        return {f"{self._word}_file": str(self.path)}

    @property
    def _word(self) -> str:
        return "cookie" if self.cookie else "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromVariable:
    """A bearer token or a cookie in a variable of the environment."""

    name: str
    environ: Mapping[str, str]
    cookie: bool = False

    def headers(self) -> dict[str, str]:
        """Return the header."""
        return _header(self.environ.get(self.name, "").strip(), "value", f"${self.name}", cookie=self.cookie)

    @property
    def told(self) -> str:
        """Name the variable."""
        return f"variable {self.name}"

    @property
    def reference(self) -> dict[str, str]:
        """Return the variable's name."""
        return {"variable": self.name}


def _header(secret: str, word: str, place: str, *, cookie: bool) -> dict[str, str]:
    if not secret or not secret.isprintable() or not secret.isascii():
        what = "is empty" if not secret else "has more than one line, or characters that no header may have"
        raise NotSignedIn(f"the {word} in {place} {what}", hint="it must hold the secret and nothing else")
    if cookie:
        return {"Cookie": secret}
    return {"Authorization": secret if secret.lower().startswith("bearer ") else f"Bearer {secret}"}
