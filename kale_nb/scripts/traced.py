"""A script that was read: what its pipeline's body does, as values, and the findings of the reading."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kale_nb.diagnostics import RULES, Diagnostic
from kale_nb.errors import SourceError
from kale_nb.location import Location
from kale_nb.lowering.paths import check_modules
from kale_nb.scripts import rules  # noqa: F401 - registers them
from kale_nb.scripts.modules import package_root

_READ = "import sys; from kale_nb.scripts.tracing.reading import main; main(sys.argv[1], sys.argv[2], sys.argv[3] or None)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in a source file: the user's spelling of its path, 1-based line and columns."""

    path: str
    line: int
    column: int | None = None
    end: int | None = None

    @property
    def location(self) -> Location:
        """The place as a location."""
        return Location(path=self.path, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedImport:
    """`from module import name as alias`; without a name `import module as alias`."""

    module: str
    name: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStep:
    """One call of a step.

    Attributes:
        settings: what its decorator said, as JSON values.
        artifacts: name and path of files to keep.
        spot: the call in the body.
        marked: the decorator.
        defined: the function; `function` and `doc` its name and first line of documentation.
        after: indexes of earlier steps.
        needs: names taken, with the step that made or last changed each.
        binds: names made.
        statements: the code of the step's cell.
        unpacks: number of values that the body unpacks, whether more may come, and where; None when it does not.
        result: the name of a result that is kept whole.
    """

    name: str
    function: str
    doc: str | None
    settings: dict[str, Any]
    artifacts: tuple[tuple[str, str], ...]
    spot: Spot | None
    marked: Spot
    defined: Spot
    after: tuple[int, ...]
    needs: dict[str, int]
    binds: tuple[str, ...]
    imports: tuple[TracedImport, ...]
    statements: tuple[str, ...]
    unpacks: tuple[int, bool, Spot | None] | None
    result: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedParam:
    """A parameter; `default` is Python source."""

    name: str
    type: str
    default: str
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModule:
    """A module beside the script; `path` is relative to the folder that its package is in."""

    name: str
    path: str
    package: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that was read. Without steps there are errors among the findings."""

    path: str
    sha256: str
    name: str = ""
    function: str = ""
    doc: str | None = None
    settings: dict[str, Any]
    marked: Spot
    params: tuple[TracedParam, ...] = ()
    steps: tuple[TracedStep, ...] = ()
    modules: tuple[UserModule, ...] = ()
    findings: tuple[Diagnostic, ...] = ()


def read_script(path: str | Path, pipeline: str | None = None) -> Script:
    """Read a script by importing it in a process of its own, whose working folder is the script's.

    SourceError when there is no such file, it is no text, or the process ends before it has said anything.
    """
    spelled = str(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise SourceError(f"there is no file {spelled}") from None
    except IsADirectoryError:
        raise SourceError(f"{spelled} is a folder, not a script") from None
    except OSError as error:
        raise SourceError(f"{spelled} cannot be read: {error.strerror or error}") from error
    with tempfile.TemporaryDirectory(prefix="kale-") as folder:
        target = Path(folder) / "script.json"
        done = _run(str(Path(path).absolute()), str(target), pipeline)
        if not target.exists():
            said = done.stderr.strip().splitlines()
            raise SourceError(
                f"{spelled} ended the process that read it, with exit code {done.returncode}{f': {said[-1]}' if said else ''}",
                hint='put what a script does on its own under `if __name__ == "__main__":`',
            )
        data = json.loads(target.read_text(encoding="utf-8"))
    script = _decoded(data, spelled, hashlib.sha256(content).hexdigest())
    return replace(script, findings=(*script.findings, *check_modules(spelled, _texts(script, content))))


def _texts(script: Script, content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the script's text and those of the modules beside it, with their paths as the user would spell them."""
    yield script.path, content.decode("utf-8", "replace")
    root = package_root(os.path.abspath(script.path))
    for module in script.modules:
        path = os.path.join(root, module.path)
        if os.path.abspath(path) != os.path.abspath(script.path):
            with contextlib.suppress(OSError):
                yield os.path.relpath(path), Path(path).read_text(encoding="utf-8", errors="replace")


def tracer_command(code: str) -> list[str]:
    """Return the command that runs `code` with kale on its path and nothing of the working folder's."""
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-P", "-c", f"import sys; sys.path.append({ours!r}); {code}"]


def _run(path: str, target: str, pipeline: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*tracer_command(_READ), path, target, pipeline or ""],
        cwd=os.path.dirname(path),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": os.environ.get("MPLBACKEND", "agg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _decoded(data: dict[str, Any], path: str, sha256: str) -> Script:
    near = _Paths(path)
    findings = tuple(_diagnostic(note, near) for note in data["notes"])
    if "steps" not in data:
        return Script(path=path, sha256=sha256, settings={}, marked=Spot(path=path, line=1), findings=findings)
    pipeline = data["pipeline"]
    return Script(
        path=path,
        sha256=sha256,
        name=pipeline["name"],
        function=pipeline["function"],
        doc=pipeline["doc"],
        settings=pipeline["settings"],
        marked=near.spot([*pipeline["marked"], None, None]),
        params=tuple(TracedParam(**p) for p in data["params"]),
        steps=tuple(_step(s, near) for s in data["steps"]),
        modules=tuple(UserModule(**m) for m in data["modules"]),
        findings=findings,
    )


def _step(data: dict[str, Any], near: _Paths) -> TracedStep:
    function = data["function"]
    unpacks = data["unpacks"]
    return TracedStep(
        name=data["name"],
        function=function["name"],
        doc=function["doc"],
        settings=data["settings"],
        artifacts=tuple((n, p) for n, p in data["artifacts"]),
        spot=near.spot(data["spot"]) if data["spot"] else None,
        marked=near.spot([*data["marked"], None, None]),
        defined=near.spot([function["path"], function["line"], None, None]),
        after=tuple(data["after"]),
        needs={n: m for n, [m] in data["needs"].items()},
        binds=tuple(data["binds"]),
        imports=tuple(TracedImport(module=m, name=n, alias=a) for m, n, a in data["imports"]),
        statements=tuple(data["statements"]),
        unpacks=(unpacks[0], unpacks[1], near.spot(unpacks[2]) if unpacks[2] else None) if unpacks else None,
        result=data["result"],
    )


def _diagnostic(note: dict[str, Any], near: _Paths) -> Diagnostic:
    if "path" not in note:
        location = Location(path=near.script)
        return Diagnostic(rule=RULES[note["code"]], message=note["message"], location=location, hint=note["hint"])
    spot = near.spot([note["path"], note["line"], note["column"], note["end"]])
    return Diagnostic(
        rule=RULES[note["code"]],
        message=note["message"],
        location=spot.location,
        source_line=note["text"],
        end_column=spot.end,
        hint=note["hint"],
    )


class _Paths:
    """Spells absolute paths as the user spelled the script's: the script itself so, its neighbours beside it."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.absolute = os.path.abspath(script)
        self.root = package_root(script)

    def spot(self, raw: list[Any]) -> Spot:
        path, line, column, end = raw
        return Spot(
            path=self._spelled(path),
            line=line,
            column=None if column is None else column + 1,
            end=None if end is None else end + 1,
        )

    def _spelled(self, path: str) -> str:
        path = os.path.abspath(path)
        if os.path.realpath(path) == os.path.realpath(self.absolute):
            return self.script
        if path.startswith(self.root + os.sep):
            return os.path.normpath(
                os.path.join(os.path.dirname(self.script), os.path.relpath(path, os.path.dirname(self.absolute)))
            )
        return path
