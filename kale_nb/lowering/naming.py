"""Names that a step reads and no ancestor provides: why not, and which mark would mend it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kale_nb.dataflow.facts import BlockFacts, Place, ReadKind
from kale_nb.dataflow.flow import AMBIENT, Flow, Missing, StepBlock
from kale_nb.diagnostics import Diagnostic, Severity, rule
from kale_nb.lowering.findings import Speaker, quoted, spoken
from kale_nb.names import StepName
from kale_nb.pipeline.order import ancestors_of

UNDEFINED = rule(
    "KN301",
    "undefined-name",
    Severity.ERROR,
    what="A step reads a name that nothing in the notebook defines before.",
    why="The step would fail with a NameError.",
    example="%%step a\nprint(totl)",
    mend="Correct the spelling, or define the name in a cell that runs before.",
)
MISSING_PREV = rule(
    "KN302",
    "missing-prev",
    Severity.ERROR,
    what="A step reads a name that is defined only in steps that are not among its ancestors.",
    why="In the pipeline the step does not follow them, so the name is not there when it runs.",
    example="%%step a\nx = 1\n\n%%step b --after a\ny = 2\n\n%%step c --after a\nprint(y)",
    mend="Add the missing `prev:` (or `--after`) mark.",
)
ONLY_SKIPPED = rule(
    "KN303",
    "only-in-skip-cell",
    Severity.ERROR,
    what="A step reads a name that only a skip cell defines.",
    why="Skip cells are not part of the pipeline, so the name does not exist there.",
    example="%%skip\nx = 1\n\n%%step a\nprint(x)",
    mend="Take the definition out of the skip cell, or mark that cell as part of a step.",
)
DELETED = rule(
    "KN309",
    "deleted-name",
    Severity.ERROR,
    what="A step reads a name that an ancestor deleted.",
    why="The step would fail with a NameError, as the notebook does.",
    example="%%step a\nx = 1\ndel x\n\n%%step b --after a\nprint(x)",
    mend="Drop the `del`, or read the name before it.",
)
PERHAPS = rule(
    "KN313",
    "perhaps-undefined",
    Severity.WARNING,
    what="A name is read on some path only, and no ancestor defines it.",
    why="If that path is taken the step fails with a NameError.",
    example="%%step a\nif len(__name__) > 100:\n    print(never_set)",
    mend="Define the name before, or add the missing `prev:` mark.",
)
FUNCTION_MISSES = rule(
    "KN311",
    "function-misses-name",
    Severity.WARNING,
    what="A step can call a function that reads a name which only a step that is not an ancestor defines.",
    why="When the function gets there it fails with a NameError.",
    example="%%functions\ndef rate():\n    return base * 2\n\n%%step a\nbase = 1\n\n%%step b\nprint(rate())\n\n"
    "%%step c --after a,b\nprint(base)",
    mend="Add the missing `prev:` mark, or give the name to the function as an argument.",
)
IMPORT_ELSEWHERE = rule(
    "KN306",
    "import-in-another-step",
    Severity.WARNING,
    what="A step uses a module, or a name from one, that only another step imports.",
    why="The name is carried along from step to step, which works, but ties this step to that one and hides what it needs.",
    example="%%step a\nimport math\n\n%%step b --after a\nprint(math.pi)",
    mend="Move the import to an imports cell (tag `imports` or `%%imports`); those run in every step.",
)
HISTORY = rule(
    "KN312",
    "output-history",
    Severity.ERROR,
    what="A step reads IPython's history (`_`, `Out[3]`, `In`, `_5`) from before it began.",
    why="Each step runs in a kernel of its own, whose history is its own: cell numbers and last outputs differ from the notebook's.",
    example="%%step a\n1 + 1\n\n%%step b --after a\nprint(_)",
    mend="Give the value a name of its own.",
)


class Names:
    """Who binds which name where, for the hints of the checks."""

    def __init__(self, blocks: Sequence[StepBlock], prelude: BlockFacts, skipped: BlockFacts) -> None:
        self.blocks = {b.name: b for b in blocks}
        self.rank = {b.name: i for i, b in enumerate(blocks)}
        self.ancestors = ancestors_of({b.name: b.after for b in blocks})
        self.binders: dict[str, list[StepName]] = {}
        for block in blocks:
            bound = block.facts.may_bind.union(*(s.binds for s in block.facts.scopes.values()))
            for name in bound:
                self.binders.setdefault(name, []).append(block.name)
        self.skipped = skipped
        self.known = sorted({*self.binders, *prelude.may_bind})

    def binding_place(self, step: StepName, name: str) -> Place | None:
        return self.blocks[step].facts.binds_at.get(name)

    def writing_place(self, step: StepName, name: str) -> Place | None:
        """Where a step binds the name or, if it does not, changes it."""
        facts = self.blocks[step].facts
        return facts.binds_at.get(name) or next((m.place for m in facts.mutations if m.name == name), None)


def check_missing(flow: Flow, names: Names, speaker: Speaker) -> Iterator[Diagnostic]:
    """Explain every read that no ancestor satisfies; each name once a step."""
    said: set[tuple[StepName, str]] = set()
    for missing in sorted(flow.missing, key=lambda m: (m.step, m.read.kind)):
        key = (missing.step, missing.read.name)
        if key not in said:
            said.add(key)
            found = _explain(missing, names, speaker)
            if found is not None:
                yield found


def _explain(missing: Missing, names: Names, speaker: Speaker) -> Diagnostic | None:
    step, read = missing.step, missing.read
    name = read.name
    if missing.deleted_by is not None:
        message = f"step `{step}` reads `{name}`, which step `{missing.deleted_by}` before it deletes"
        return speaker.say(DELETED, read.place, message, f"drop the `del {name}` in step `{missing.deleted_by}`")
    binders = [b for b in names.binders.get(name, []) if b != step]
    if read.kind is ReadKind.GUARDED or (read.kind is ReadKind.SOFT and not binders):
        return None
    if binders:
        return _not_an_ancestor(missing, binders, names, speaker)
    if read.kind is not ReadKind.HARD:
        return speaker.say(
            PERHAPS, read.place, f"step `{step}` reads `{name}` on some path, and nothing defines it", spelling_hint(name, names)
        )
    if name in names.skipped.may_bind:
        place = names.skipped.binds_at[name]
        hint = f"mark cell {place.cell} as part of a step, or define `{name}` elsewhere"
        return speaker.say(
            ONLY_SKIPPED, read.place, f"step `{step}` reads `{name}`, which only cell {place.cell} defines, a skip cell", hint
        )
    own = names.binding_place(step, name)
    if own is not None:
        message = f"step `{step}` reads `{name}` before it assigns it{spoken(own)}"
        return speaker.say(UNDEFINED, read.place, message, f"assign `{name}` above this line, or in a step before this one")
    return speaker.say(UNDEFINED, read.place, f"step `{step}` reads `{name}`, which nothing defines", spelling_hint(name, names))


def _not_an_ancestor(missing: Missing, binders: list[StepName], names: Names, speaker: Speaker) -> Diagnostic:
    step, read = missing.step, missing.read
    above = [b for b in binders if names.rank[b] < names.rank[step]]
    best = (above or binders)[-1]
    where = spoken(names.binding_place(best, read.name)) if len(binders) == 1 else ""
    message = f"step `{step}` reads `{read.name}`, which only {_steps(binders)} define{'s' if len(binders) == 1 else ''}{where}"
    message += f", and `{step}` does not come after {'it' if len(binders) == 1 else 'any of them'}"
    after_me = step in names.ancestors.get(best, ())
    hint = (
        f"`{best}` runs after `{step}`: move the definition of `{read.name}` before it"
        if after_me
        else f"is `prev:{best}` (or `--after {best}`) missing on step `{step}`?"
    )
    severity = Severity.WARNING if read.kind is ReadKind.SOFT or (read.kind is ReadKind.CONDITIONAL and not above) else None
    return speaker.say(MISSING_PREV, read.place, message, hint, severity=severity)


def _steps(names: list[StepName]) -> str:
    return f"step{'s' if len(names) > 1 else ''} {quoted(names)}"


_USUAL_IMPORTS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
    "tf": "import tensorflow as tf",
    "nn": "from torch import nn",
    "sp": "import scipy as sp",
    "pl": "import polars as pl",
    "Path": "from pathlib import Path",
    "datetime": "from datetime import datetime",
    "numpy": "import numpy",
    "pandas": "import pandas",
    "sklearn": "import sklearn",
    "torch": "import torch",
}


def spelling_hint(name: str, names: Names) -> str:
    """Say what to do about a name that nothing defines: a usual import, a likely slip, or a place to define it."""
    usual = _USUAL_IMPORTS.get(name) or (f"import {name}" if name in sys.stdlib_module_names else None)
    if usual is not None:
        return f"add `{usual}` to an imports cell (tag `imports`, or `%%imports`)"
    near = difflib.get_close_matches(name, names.known, n=2, cutoff=0.7)
    near += [n for n in difflib.get_close_matches(name, _BUILTINS, n=1, cutoff=0.8) if n not in near]
    if near:
        return "did you mean " + " or ".join(f"`{n}`" for n in near[:2]) + "?"
    return f"define `{name}` in this step, in one that it comes after, or in an imports or functions cell"


_BUILTINS = sorted(n for n in AMBIENT if not n.startswith("_"))


def check_functions(
    blocks: Sequence[StepBlock], reach: Mapping[StepName, Iterable[str]], names: Names, prelude: BlockFacts, speaker: Speaker
) -> Iterator[Diagnostic]:
    """Warn of functions whose global names only a step beside provides."""
    for block in blocks:
        ancestors = names.ancestors[block.name]
        for name in sorted(set(reach[block.name])):
            if name in prelude.may_bind or name in AMBIENT or name in block.facts.may_bind or prelude.opaque_binds:
                continue
            binders = names.binders.get(name, [])
            if not binders or any(b in ancestors for b in binders):
                continue
            called = sorted(n for n in block.facts.mentions if any(name in s.reads for s in _scopes(n, blocks, prelude)))
            above = [b for b in binders if names.rank[b] < names.rank[block.name]]
            if not called or not above:
                continue
            use = next((r.place for r in block.facts.reads if r.name == called[0]), block.facts.binds_at.get(called[0]))
            where = spoken(names.binding_place(above[-1], name)) if len(above) == 1 else ""
            message = (
                f"step `{block.name}` uses `{called[0]}`, which reads `{name}`; only {_steps(above)} "
                f"define{'s' if len(above) == 1 else ''} `{name}`{where}, and `{block.name}` does not come after "
                f"{'it' if len(above) == 1 else 'any of them'}"
            )
            hint = f"is `prev:{above[-1]}` (or `--after {above[-1]}`) missing on step `{block.name}`?"
            yield speaker.say(FUNCTION_MISSES, use or Place(1, 1, 1), message, hint)


def _scopes(name: str, blocks: Sequence[StepBlock], prelude: BlockFacts) -> Iterator:  # type: ignore[type-arg]
    for facts in (prelude, *(b.facts for b in blocks)):
        if name in facts.scopes:
            yield facts.scopes[name]


def check_imports(blocks: Sequence[StepBlock], flow: Flow, prelude: BlockFacts, speaker: Speaker) -> Iterator[Diagnostic]:
    """Tell of modules that travel from the step that imports them; once for each, at its first use elsewhere."""
    imports = {b.name: b.facts.imports for b in blocks}
    uses: dict[tuple[StepName, str], list[tuple[StepName, Place]]] = {}
    for block in blocks:
        for want in flow.wants.get(block.name, ()):
            makers = [p for p in want.producers if want.name in imports[p]]
            if want.read is not None and want.name not in prelude.may_bind and makers and len(makers) == len(want.producers):
                uses.setdefault((makers[0], want.name), []).append((block.name, want.read.place))
    for (maker, name), found in uses.items():
        statement = imports[maker][name]
        users = list(dict.fromkeys(step for step, _ in found))
        shown = (
            f"{_steps(users[:3])}{f' and {len(users) - 3} more' if len(users) > 3 else ''} use{'s' if len(users) == 1 else ''}"
        )
        message = f"{shown} `{name}`, which only step `{maker}` imports (`{statement}`)"
        hint = f"move `{statement}` to an imports cell (tag `imports`, or `%%imports`)"
        yield speaker.say(IMPORT_ELSEWHERE, found[0][1], message, hint)


def check_history(blocks: Sequence[StepBlock], flow: Flow, names: Names, speaker: Speaker) -> Iterator[Diagnostic]:
    """Refuse reads of the kernel's history from before the step."""
    for block in blocks:
        for read in block.facts.history:
            if read.name.strip("_") == "" and any(b in names.ancestors[block.name] for b in names.binders.get(read.name, ())):
                continue
            message = (
                f"step `{block.name}` reads `{read.name}`, the outputs and inputs of earlier cells; "
                "each step has a kernel of its own, where these are not the notebook's"
            )
            hint = "assign the value to a name in the cell that makes it, and read that name here"
            yield speaker.say(HISTORY, read.place, message, hint)
