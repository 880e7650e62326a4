"""What differs between two runs: code, parameters, environment, snapshots, files, variables, metrics, outcomes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kale_nb.errors import KaleError
from kale_nb.results.facts import Fact, step_facts
from kale_nb.results.files import all_files
from kale_nb.results.kept import KeptVolume, kept_volumes, store_of, untouched_before
from kale_nb.runs.environment import Drift, drift, read_surroundings
from kale_nb.runs.git import GitState
from kale_nb.runs.record import WORKSPACE, RunRecord
from kale_nb.volumes import Changes

Pair = tuple[str | None, str | None]
"""A value in the first run and in the second; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChange:
    """A cell that is in one run only, or differs.

    Attributes:
        step: the step that it belongs to; empty for cells that every step has; of a script's modules the file.
        cells: its 1-based number in either notebook; None where it is not there, both for a file.
        lines: a unified diff, without its head.
    """

    step: str
    cells: tuple[int | None, int | None]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableChange:
    """A variable that a step left in one run only, or otherwise.

    Attributes:
        before, after: what is known of it; None where it was not left.
        content: `equal`, `differs`, or `unknown` where the values are gone.
    """

    step: str
    name: str
    before: Fact | None
    after: Fact | None
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How run `b` differs from run `a`. An empty field: no difference.

    Attributes:
        environment: None when one of them did not note it.
        git: of both, when they differ.
        volumes: how the snapshots differ, by volume; None in place of changes that cannot be told, because a snapshot is gone.
        inputs: fingerprints of data volumes that were only read, by volume.
        files: how what the runs left in their volumes differs: by volume.
        unknown: what could not be compared, a sentence each.
    """

    a: RunRecord
    b: RunRecord
    code: tuple[CodeChange, ...] = ()
    params: Mapping[str, Pair] = field(default_factory=dict)
    environment: Drift | None = None
    git: tuple[GitState | None, GitState | None] | None = None
    volumes: Mapping[str, Changes] = field(default_factory=dict)
    inputs: Mapping[str, Pair] = field(default_factory=dict)
    files: Mapping[str, Changes] = field(default_factory=dict)
    variables: tuple[VariableChange, ...] = ()
    metrics: Mapping[str, Pair] = field(default_factory=dict)
    states: Mapping[str, Pair] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Nothing differs, as far as is known."""
        return not (
            self.code or self.params or self.environment or self.git or self.volumes or self.inputs or self.files or self.variables
            or self.metrics or self.states
        )  # fmt: skip


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """Compare two runs. What one of them no longer has is told in `unknown`."""
    unknown: list[str] = []
    then, now = read_surroundings(a.directory), read_surroundings(b.directory)
    if then is None or now is None:
        unknown.append("the environments: one run did not note its own")
    gits = (then.git if then else None, now.git if now else None)
    return Comparison(
        a=a,
        b=b,
        code=_code(a, b, unknown),
        params=_pairs(_params(a), _params(b)),
        environment=None if then is None or now is None else drift(then.environment, now.environment),
        git=gits if gits[0] != gits[1] else None,
        volumes=_snapshots(a, b, unknown),
        inputs=_inputs(a, b, unknown),
        files=_files(a, b, unknown),
        variables=_variables(a, b, unknown),
        metrics=_pairs(_metrics(a), _metrics(b)),
        states=_pairs({s.name: s.state.value for s in a.steps}, {s.name: s.state.value for s in b.steps}),
        unknown=tuple(unknown),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    step: str
    source: str
    number: int


def _code(a: RunRecord, b: RunRecord, unknown: list[str]) -> tuple[CodeChange, ...]:
    before, after = _cells(a.directory), _cells(b.directory)
    if before is None or after is None:
        unknown.append("the code: stepbooks of one run are gone")
        return ()
    keys = [[(c.step, c.source) for c in cells] for cells in (before, after)]
    changes = []
    for tag, low, high, left, right in difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if tag != "equal":
            changes.extend(_cell_changes(before[low:high], after[left:right]))
    if a.source.endswith(".py") or b.source.endswith(".py"):
        changes.extend(_module_changes(a, b, unknown))
    return tuple(changes)


def _module_changes(a: RunRecord, b: RunRecord, unknown: list[str]) -> list[CodeChange]:
    """Compare the Python files that two runs of a script found in their workspaces."""
    one, other = a.snapshots.get(WORKSPACE), b.snapshots.get(WORKSPACE)
    if one is None or other is None or one == other:
        return []
    try:
        texts = [_modules(a, one), _modules(b, other)]
    except (KaleError, OSError) as error:
        unknown.append(f"the modules: {error}")
        return []
    return [
        CodeChange(step=path, cells=(None, None), lines=_diff(texts[0].get(path, ""), texts[1].get(path, "")))
        for path in sorted({*texts[0], *texts[1]})
        if texts[0].get(path) != texts[1].get(path)
    ]


def _modules(record: RunRecord, snapshot: str) -> dict[str, str]:
    store = store_of(record)
    files = ((e.path, e.sha256) for e in store.entries(snapshot) if e.kind == "file" and e.path.endswith(".py"))
    return {path: store.open_object(sha256).read_text(encoding="utf-8", errors="replace") for path, sha256 in files}


def _diff(old: str, new: str) -> tuple[str, ...]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2)
    return tuple(line for line in lines if not line.startswith(("---", "+++", "@@")))


def _cell_changes(before: Sequence[_Cell], after: Sequence[_Cell]) -> list[CodeChange]:
    """Pair the cells of one step by their order, and tell how each pair differs."""
    changes = []
    left = list(after)
    for old in before:
        new = next((cell for cell in left if cell.step == old.step), None)
        if new is not None:
            left.remove(new)
        changes.append(_change(old, new))
    return [*changes, *(_change(None, new) for new in left)]


def _change(old: _Cell | None, new: _Cell | None) -> CodeChange:
    some = old or new
    assert some is not None
    return CodeChange(
        step=some.step,
        cells=(old.number if old else None, new.number if new else None),
        lines=_diff(old.source if old else "", new.source if new else ""),
    )


def _cells(directory: Path) -> list[_Cell] | None:
    """Return the user's cells of a run's stepbooks, in the order of the notebook; those of every step once."""
    found: dict[int, _Cell] = {}
    try:
        steps = [step["name"] for step in json.loads((directory / "pipeline.json").read_text(encoding="utf-8"))["steps"]]
        for order, step in enumerate(steps):
            notebook = json.loads((directory / "stepbooks" / f"{step}.ipynb").read_text(encoding="utf-8"))
            for place, cell in enumerate(notebook["cells"]):
                kale = cell.get("metadata", {}).get("kale", {})
                number = kale.get("cell")
                if number is None and "path" not in kale:
                    continue
                key = (
                    number if number is not None else 1_000_000 + order * 1000 + place
                )  # a script's step: no cells, only an order
                shared = key in found and found[key].step != step
                source = "".join(line for line in cell["source"].splitlines(True) if not line.startswith("_kale_data = "))
                found[key] = _Cell("" if shared else step, source, number or kale.get("line", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return [found[key] for key in sorted(found)]


def _snapshots(a: RunRecord, b: RunRecord, unknown: list[str]) -> dict[str, Changes]:
    store = store_of(a)
    found: dict[str, Changes] = {}
    for name in sorted({*a.snapshots, *b.snapshots}):
        one, other = a.snapshots.get(name), b.snapshots.get(name)
        if one is None or other is None:
            unknown.append(f"the snapshots of {name}: only one run has one")
        elif one != other:
            try:
                changes = store.diff(one, other)
            except KaleError as error:
                unknown.append(f"the snapshots of {name}: {error.message}")
                continue
            if changes:
                found[name] = changes
    return found


def _inputs(a: RunRecord, b: RunRecord, unknown: list[str]) -> dict[str, Pair]:
    unsure = sorted(name for name in a.inputs.keys() & b.inputs.keys() if not (a.inputs[name] and b.inputs[name]))
    if unsure:
        unknown.append(f"what they read in {', '.join(unsure)}: looking at it took too long")
    return {name: pair for name, pair in _pairs(a.inputs, b.inputs).items() if name not in unsure}


def _files(a: RunRecord, b: RunRecord, unknown: list[str]) -> dict[str, Changes]:
    """Compare what the runs left, file by file, reading only files that either of them touched."""
    found: dict[str, Changes] = {}
    others = {volume.name: volume for volume in kept_volumes(b)}
    for volume in kept_volumes(a):
        other = others.get(volume.name)
        if other is None:
            continue
        if not volume.is_there or not other.is_there:
            unknown.append(f"the files that they left in {volume.name}: a clone is not there")
            continue
        try:
            states = (_state(a, volume), _state(b, other))
        except KaleError as error:
            unknown.append(f"the files that they left in {volume.name}: {error.message}")
            continue
        created = sorted(states[1].keys() - states[0].keys())
        deleted = sorted(states[0].keys() - states[1].keys())
        changed = sorted(path for path in states[0].keys() & states[1].keys() if states[0][path] != states[1][path])
        if created or changed or deleted:
            found[volume.name] = Changes(created=tuple(created), changed=tuple(changed), deleted=tuple(deleted))
    return found


def _state(record: RunRecord, volume: KeptVolume) -> dict[str, str]:
    """Return the files of a volume as a run left it, by what identifies their content."""
    from kale_nb.results.landing import Landing
    from kale_nb.results.pull import digest

    store = store_of(record)
    state: dict[str, str] = {}
    changes = Changes(created=all_files(volume.clone))
    if volume.snapshot or volume.name == WORKSPACE:  # others began as empty folders
        state = {e.path: e.sha256 or f"-> {e.target}" for e in store.entries(volume.snapshot) if e.kind != "folder"}
        changes = store.compare(volume.snapshot, volume.clone, since=untouched_before(record, volume))
    clone = Landing(volume.clone, ours=True)
    try:
        for path in changes.deleted:
            state.pop(path, None)
        for path in (*changes.created, *changes.changed):
            found = clone.look(path)
            state[path] = (
                f"-> {found.target}" if found.kind == "link" else digest(clone, path) if found.kind == "file" else found.kind
            )
    finally:
        clone.close()
    return state


def _variables(a: RunRecord, b: RunRecord, unknown: list[str]) -> tuple[VariableChange, ...]:
    changes: list[VariableChange] = []
    blind: list[str] = []
    for step in dict.fromkeys([*(s.name for s in a.steps), *(s.name for s in b.steps)]):
        before, after = step_facts(a.directory / "data" / step), step_facts(b.directory / "data" / step)
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            content = "differs"
            if old is not None and new is not None:
                if old.digest is None or new.digest is None:
                    content = "unknown"
                    blind.append(f"{step}.{name}")
                elif old.digest == new.digest:
                    content = "equal"
                if content != "differs" and old.same_kind(new):
                    continue
            changes.append(VariableChange(step=step, name=name, before=old, after=new, content=content))
    if blind:
        unknown.append(
            f"the content of variables whose values are gone: {', '.join(blind[:8])}{', ...' if len(blind) > 8 else ''}"
        )
    return tuple(changes)


def _params(record: RunRecord) -> dict[str, str]:
    """Return the values that a run had: the defaults of its notebook, and those given."""
    try:
        told = json.loads((record.directory / "pipeline.json").read_text(encoding="utf-8"))
        defaults = {str(param["name"]): str(param["default"]) for param in told.get("params", ())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        defaults = {}
    return defaults | dict(record.params)


def _metrics(record: RunRecord) -> dict[str, str]:
    return {f"{step}.{name}": repr(value) for step, metrics in record.metrics.items() for name, value in metrics.items()}


def _pairs(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, Pair]:
    return {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)}
