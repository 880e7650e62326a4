"""The compiler's face: a path goes in, a `Compiled` or all diagnostics come out. Pure but for reading the source file.

`write_compiled` and `read_compiled` are the file form: a pipeline file and one notebook a step. `kale compile` writes a folder with
`pipeline.json` and `steps/`; nbconvert writes `NAME.kale.json` with `NAME_files/steps/` beside it. The files' texts are the same.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import kale_nb.scripts.rules  # noqa: F401 - whoever has the compiler has all rules; scripts themselves are read only when one comes
from kale_nb.annotations.marks import Marked
from kale_nb.annotations.reading import read_marks
from kale_nb.diagnostics import CompileError, Diagnostic, has_errors
from kale_nb.errors import SourceError
from kale_nb.lowering.graph import CHAIN
from kale_nb.lowering.lower import Lowered, lower
from kale_nb.pipeline import codec
from kale_nb.pipeline.model import Pipeline
from kale_nb.source.cells import Source
from kale_nb.source.notebook import read_notebook
from kale_nb.stepbooks.build import build_stepbooks
from kale_nb.stepbooks.model import Stepbook

if TYPE_CHECKING:
    from kale_nb.scripts.traced import Script

PIPELINE_FILE = "pipeline.json"
PIPELINE_SUFFIX = ".kale.json"
"""How the name of a pipeline file ends that has no folder of its own."""
STEPS_FOLDER = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found. `pipeline` is None when the graph itself is broken."""

    pipeline: Pipeline | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A pipeline that can run, with the notebook's marks or the script that it came from; both are None when it was read from its file
    form."""

    pipeline: Pipeline
    stepbooks: tuple[Stepbook, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    marked: Marked | None = None
    script: Script | None = None


def is_script(path: str | Path) -> bool:
    """Tell whether a path is that of a Python script."""
    return Path(path).suffix.lower() == ".py"


def check(path: str | Path, *, pipeline: str | None = None) -> Checked:
    """Find everything there is to say about a notebook or script. SourceError when it cannot be read.

    Args:
        pipeline: which of a script's pipelines is meant.
    """
    if is_script(path):
        from kale_nb.scripts.lower import lower_script
        from kale_nb.scripts.traced import read_script

        lowered = lower_script(read_script(path, pipeline))
        return Checked(pipeline=lowered.pipeline, diagnostics=lowered.diagnostics)
    return check_source(read_notebook(path))


def check_source(source: Source) -> Checked:
    """Find everything there is to say about a source that was read."""
    _, lowered = _lower(read_marks(source))
    return Checked(pipeline=lowered.pipeline, diagnostics=lowered.diagnostics)


def compile_path(path: str | Path, *, pipeline: str | None = None, carry: bool = False) -> Compiled:
    """Compile a notebook or a script. CompileError with all diagnostics when it has errors, SourceError when it cannot be read.

    Args:
        pipeline: which of a script's pipelines is meant.
        carry: the stepbooks of a script hold the source of the user's modules.
    """
    if not is_script(path):
        return compile_notebook(path)
    from kale_nb.scripts.lower import lower_script
    from kale_nb.scripts.stepbooks import build_script_stepbooks
    from kale_nb.scripts.traced import read_script

    script = read_script(path, pipeline)
    lowered = lower_script(script)
    if lowered.pipeline is None:
        raise CompileError(lowered.diagnostics)
    books = build_script_stepbooks(script, lowered.pipeline, carry=carry)
    return Compiled(pipeline=lowered.pipeline, stepbooks=books, diagnostics=lowered.diagnostics, script=script)


def compile_notebook(path: str | Path) -> Compiled:
    """Compile a notebook. CompileError with all diagnostics when it has errors, SourceError when it cannot be read."""
    return compile_source(read_notebook(path))


def compile_source(source: Source, *, name: str | None = None) -> Compiled:
    """Compile a notebook that was read. CompileError with all diagnostics when it has errors.

    Args:
        name: of the pipeline, instead of the one that the notebook gives.
    """
    marked, findings = read_marks(source)
    if name:
        marked = replace(marked, settings=replace(marked.settings, name=name))
    marked, lowered = _lower((marked, findings))
    if lowered.pipeline is None or has_errors(lowered.diagnostics):
        raise CompileError(lowered.diagnostics)
    return Compiled(
        pipeline=lowered.pipeline, stepbooks=build_stepbooks(marked, lowered), diagnostics=lowered.diagnostics, marked=marked
    )


def _lower(read: tuple[Marked, tuple[Diagnostic, ...]]) -> tuple[Marked, Lowered]:
    marked, findings = read
    lowered = lower(marked)
    found = (*findings, *lowered.diagnostics)
    if has_errors(found):
        found = tuple(d for d in found if d.rule is not CHAIN)
    ordered = sorted(
        found,
        key=lambda d: (d.location.cell or 0, d.location.line or 0, d.location.column or 0, d.rule.code),
    )
    return marked, replace(lowered, diagnostics=tuple(ordered))


def pipeline_text(pipeline: Pipeline) -> str:
    """Return the text of a pipeline file."""
    return json.dumps(codec.to_json(pipeline), ensure_ascii=False, indent=1) + "\n"


def stepbook_text(book: Stepbook) -> str:
    """Return the text of a stepbook's file."""
    return json.dumps(book.notebook, ensure_ascii=False, indent=1) + "\n"


def write_compiled(compiled: Compiled, directory: str | Path) -> Path:
    """Write pipeline file and stepbooks into `directory`, made if missing, and return the pipeline file. Stepbooks of an older
    compile that are no steps any more are removed."""
    folder = Path(directory)
    steps = folder / STEPS_FOLDER
    steps.mkdir(parents=True, exist_ok=True)
    kept = set()
    for book in compiled.stepbooks:
        kept.add(f"{book.step}.ipynb")
        _replace(steps / f"{book.step}.ipynb", stepbook_text(book))
    for old in steps.glob("*.ipynb"):
        if old.name not in kept:
            old.unlink()
    target = folder / PIPELINE_FILE
    _replace(target, pipeline_text(compiled.pipeline))
    return target


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_compiled(path: str | Path) -> bool:
    """Tell whether a path is that of a compiled pipeline: the folder that `kale compile` wrote, or a pipeline file of any name."""
    file = Path(path)
    if file.is_dir():
        return (file / PIPELINE_FILE).is_file()
    if file.suffix != ".json" or not file.is_file():
        return False
    if file.name == PIPELINE_FILE or file.name.endswith(PIPELINE_SUFFIX):
        return True
    try:
        with file.open(encoding="utf-8") as stream:
            return f'"format": "{codec.FORMAT.rpartition("/")[0]}/' in stream.read(200)
    except (OSError, ValueError):
        return False


def read_compiled(path: str | Path) -> Compiled:
    """Read the file form: the folder that `kale compile` wrote, or a pipeline file with its stepbooks beside it. SourceError when it is
    not one or is damaged."""
    file = Path(path)
    if file.is_dir():
        file = file / PIPELINE_FILE
    again = "compile the notebook again: kale compile NOTEBOOK"
    try:
        pipeline = codec.from_json(json.loads(file.read_text(encoding="utf-8")))
        folder = _steps_folder(file, pipeline)
        if folder is None:
            raise SourceError(
                f"the stepbooks of {file} are not beside it, in {_own_folder(file)}",
                hint=f"keep the files of a pipeline together, or {again}",
            )
        books = tuple(
            Stepbook(step=s.name, notebook=json.loads((folder / f"{s.name}.ipynb").read_text(encoding="utf-8")))
            for s in pipeline.steps
        )
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename} is missing", hint=again) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{file} is not a compiled pipeline: {error}", hint=again) from error
    return Compiled(pipeline=pipeline, stepbooks=books)


def _steps_folder(file: Path, pipeline: Pipeline) -> Path | None:
    """Find the stepbooks of a pipeline file: where `kale compile` and nbconvert put them, else wherever near it those of this very
    pipeline are, since nbconvert lets its users choose (`NbConvertApp.output_files_dir`, a zip file without folders)."""
    beside = file.parent
    steps = beside / STEPS_FOLDER
    if file.name == PIPELINE_FILE and steps.is_dir():
        return steps
    likely = [_own_folder(file), steps, beside, *sorted(beside.glob(f"*/{STEPS_FOLDER}")), *beside.glob(f"*/*/{STEPS_FOLDER}")]
    return next((folder for folder in likely if _holds(folder, pipeline)), None)


def _own_folder(file: Path) -> Path:
    if file.name == PIPELINE_FILE:
        return file.parent / STEPS_FOLDER
    return file.parent / f"{file.name.removesuffix('.json').removesuffix('.kale')}_files" / STEPS_FOLDER


def _holds(folder: Path, pipeline: Pipeline) -> bool:
    expected = {"pipeline": pipeline.name, "source": pipeline.source}
    try:
        for step in pipeline.steps:
            notebook = json.loads((folder / f"{step.name}.ipynb").read_text(encoding="utf-8"))
            if notebook["metadata"]["kale"] != {"step": step.name, **expected}:
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True
