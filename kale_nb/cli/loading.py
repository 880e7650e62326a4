"""From what the user typed to a compiled pipeline: a notebook, or what `kale compile` wrote."""

from __future__ import annotations

from pathlib import Path

from kale_nb.compiler import Compiled, compile_notebook, read_compiled
from kale_nb.errors import SourceError, UsageError


def load(path: str) -> Compiled:
    """Compile a notebook, or read a compiled pipeline (its folder or its `pipeline.json`).

    UsageError or SourceError when the path is neither, CompileError when the notebook cannot become a pipeline.
    """
    place = Path(path)
    if place.is_dir():
        if (place / "pipeline.json").is_file():
            return read_compiled(place)
        raise folder(place)
    if place.name == "pipeline.json" and place.is_file():
        return read_compiled(place.parent)
    notebook(path)
    return compile_notebook(path)


def notebook(path: str) -> None:
    """Refuse what is certainly no notebook: SourceError or UsageError with a hint."""
    place = Path(path)
    try:
        found, directory = place.exists(), place.is_dir()
    except (OSError, ValueError) as error:
        raise SourceError(f"{path!r} cannot be opened: {error}") from error
    if directory:
        raise folder(place)
    if not found:
        raise SourceError(f"{path} does not exist", hint=_hint(place))


def folder(place: Path) -> UsageError:
    """Return the error for a folder where a notebook was expected."""
    some = _notebooks(place)
    hint = f"name a notebook in it: {', '.join(some)}" if some else "name a notebook, or a folder that `kale compile` wrote"
    return UsageError(f"{place} is a folder", hint=hint)


def _hint(place: Path) -> str | None:
    if place.suffix != ".ipynb" and place.with_name(f"{place.name}.ipynb").exists():
        return f"did you mean {place}.ipynb?"
    some = _notebooks(place.parent)
    return f"notebooks in {place.parent}: {', '.join(some)}" if some else None


def _notebooks(place: Path) -> list[str]:
    try:
        return sorted(p.name for p in place.iterdir() if p.suffix == ".ipynb")[:5]
    except OSError:
        return []
