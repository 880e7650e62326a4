"""A notebook file as a `Source`.

Takes a path, gives the cells in order with their text and tags. Outputs are dropped, so a notebook of many megabytes costs one parse
of its JSON and nothing after. Notebooks of format 4 are read here; only older ones go through nbformat's upgrade, which is slow to
import. Refuses, with a `SourceError` that names the mend: what is not a file, not JSON, not a notebook, newer than format 4, not Python.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kale_nb.errors import SourceError
from kale_nb.location import Location
from kale_nb.quick_imports import without_grammars
from kale_nb.source.cells import Cell, CellKind, Source

_KINDS = {"code": CellKind.CODE, "markdown": CellKind.MARKDOWN, "raw": CellKind.RAW}
_OTHER_ENCODINGS = ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


def read_notebook(path: str | Path) -> Source:
    """Read a notebook file.

    Raises:
        SourceError: the file cannot be read as a Python notebook; the message says what it is instead.
    """
    shown = str(path)
    data = _read_bytes(Path(path), shown)
    text = _decode(data, shown)
    if Path(path).suffix == ".py" and text.strip():
        raise SourceError(
            "this is a Python script, and a notebook is needed here",
            location=Location(path=shown),
            hint=f"`kale compile {shown}` compiles scripts",
        )
    return notebook_source(parse_notebook(text, shown), path=shown, sha256=hashlib.sha256(data).hexdigest())


def notebook_source(notebook: Mapping[str, Any], *, path: str, sha256: str) -> Source:
    """Return the source of a notebook that is there as JSON values, of any format up to 4; it is left as it is.

    Args:
        path: how locations name it.
        sha256: of the bytes that it came from.

    Raises:
        SourceError: it is not a Python notebook.
    """
    shown = path
    notebook = _upgraded(notebook, shown)
    metadata = _mapping(notebook.get("metadata"))
    _check_language(metadata, shown)
    return Source(
        path=shown,
        stem=Path(path).stem,
        sha256=sha256,
        cells=tuple(_cell(raw, index, shown) for index, raw in enumerate(_cells(notebook, shown), start=1)),
        metadata=metadata,
        nbformat_minor=_minor(notebook),
    )


def _read_bytes(path: Path, shown: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceError(
            "there is no such file", location=Location(path=shown), hint=_likely_file(path) or "check the path"
        ) from None
    except IsADirectoryError:
        raise SourceError("this is a folder, not a notebook", location=Location(path=shown), hint=_in_folder(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"the file cannot be read: {reason}", location=Location(path=shown)) from error


def _likely_file(path: Path) -> str | None:
    with_suffix = Path(f"{path}.ipynb")
    if path.suffix != ".ipynb" and with_suffix.is_file():
        return f"did you mean {with_suffix}?"
    return None


def _in_folder(path: Path) -> str:
    found = sorted(p.name for p in path.glob("*.ipynb"))[:3]
    return f"it holds {', '.join(found)}" if found else "give the path of an .ipynb file"


def _decode(data: bytes, shown: str) -> str:
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise SourceError(f"the file is {name}, not UTF-8", location=Location(path=shown), hint="save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"the file is not UTF-8 text: byte {error.start + 1} (0x{data[error.start]:02x}) fits no character",
            location=Location(path=shown, line=line),
            hint="give a notebook saved by Jupyter, or save it again as UTF-8",
        ) from None


def parse_notebook(text: str, path: str) -> dict[str, Any]:
    """Return the JSON values of a notebook's text; SourceError, with `path` as its place, when it is none."""
    if not text.strip():
        raise SourceError("the file is empty", location=Location(path=path), hint="save the notebook in Jupyter first")
    return _parse(text, path)


def _parse(text: str, shown: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        looks_json = text.lstrip().startswith("{")
        if cut and looks_json:
            message, hint = "the file ends in the middle: it was cut short", "restore it from a copy or a checkpoint"
        elif looks_json and ("\n<<<<<<< " in text or text.startswith("<<<<<<< ")):
            message, hint = "the file holds merge conflict marks", "resolve the merge first"
        else:
            message, hint = f"the file is not JSON: {error.msg}", "give a notebook as Jupyter saves it"
        raise SourceError(message, location=Location(path=shown, line=error.lineno, column=error.colno), hint=hint) from None
    except RecursionError:
        raise SourceError("the JSON is nested too deeply for a notebook", location=Location(path=shown)) from None
    except ValueError as error:
        raise SourceError(f"the file is not JSON that can be read: {error}", location=Location(path=shown)) from None
    if not isinstance(value, dict):
        raise _not_a_notebook(f"its top level is {_json_type(value)}, not an object", shown)
    return value


def _not_a_notebook(why: str, shown: str) -> SourceError:
    return SourceError(
        f"the file is JSON but not a notebook: {why}",
        location=Location(path=shown),
        hint="give an .ipynb file as Jupyter saves it",
    )


def _json_type(value: object) -> str:
    match value:
        case list():
            return "a list"
        case str():
            return "a string"
        case dict():
            return "an object"
        case None:
            return "null"
        case bool():
            return "a truth value"
        case _:
            return "a number"


def _upgraded(notebook: Mapping[str, Any], shown: str) -> Mapping[str, Any]:
    major = notebook.get("nbformat")
    if not isinstance(major, int) or isinstance(major, bool):
        if isinstance(notebook.get("cells"), list):
            return notebook
        raise _not_a_notebook("it has no `nbformat` number", shown)
    if major > 4:
        raise SourceError(
            f"the notebook is in format {major}, newer than format 4",
            location=Location(path=shown),
            hint="save it as nbformat 4 (`jupyter nbconvert --to notebook --nbformat 4`)",
        )
    if major == 4:
        return notebook
    return _convert_old(json.dumps(notebook), major, shown)


def _convert_old(text: str, major: int, shown: str) -> dict[str, Any]:
    with without_grammars():
        import nbformat

    try:
        return dict(nbformat.reads(text, as_version=4))
    except Exception as error:
        raise SourceError(
            f"the notebook is in the old format {major} and cannot be upgraded: {str(error) or type(error).__name__}",
            location=Location(path=shown),
            hint="open and save it in Jupyter",
        ) from error


def _cells(notebook: Mapping[str, Any], shown: str) -> list[Any]:
    cells = notebook.get("cells", [])
    if not isinstance(cells, list):
        raise _not_a_notebook(f"`cells` is {_json_type(cells)}, not a list", shown)
    return cells


def _minor(notebook: Mapping[str, Any]) -> int:
    minor = notebook.get("nbformat_minor")
    return minor if isinstance(minor, int) and not isinstance(minor, bool) and minor >= 0 else 5


def _check_language(metadata: Mapping[str, Any], shown: str) -> None:
    spec, info = _mapping(metadata.get("kernelspec")), _mapping(metadata.get("language_info"))
    language = spec.get("language") or info.get("name") or _language_of_kernel(spec.get("name"))
    if not isinstance(language, str) or not language or language.lower().startswith(("python", "ipython")):
        return
    kernel = spec.get("display_name") or spec.get("name")
    named = f" (kernel {kernel})" if kernel else ""
    raise SourceError(
        f"the notebook is in {language}{named}; only Python notebooks can be compiled",
        location=Location(path=shown),
        hint="choose a Python kernel in Jupyter and save",
    )


def _language_of_kernel(name: object) -> str | None:
    """Guess the language of a notebook that only names its kernel, as some tools write it."""
    starts = {"julia": "julia", "ir": "R", "xcpp": "C++", "bash": "bash", "javascript": "javascript", "deno": "typescript"}
    base = name.partition("-")[0].rstrip("0123456789.") if isinstance(name, str) else ""
    return starts.get(base)


def _cell(raw: Any, index: int, shown: str) -> Cell:
    if not isinstance(raw, dict):
        raise _not_a_notebook(f"cell {index} is {_json_type(raw)}, not an object", shown)
    kind = raw.get("cell_type")
    if kind not in ("code", "markdown", "raw", "heading"):
        raise _not_a_notebook(f"cell {index} has the unknown type {kind!r}", shown)
    metadata = _mapping(raw.get("metadata"))
    tags = metadata.get("tags")
    ident = raw.get("id")
    return Cell(
        index=index,
        kind=_KINDS.get(kind, CellKind.MARKDOWN),
        source=_text(raw.get("source"), index, shown),
        tags=tuple(t for t in tags if isinstance(t, str)) if isinstance(tags, list) else (),
        metadata=metadata,
        id=ident if isinstance(ident, str) else None,
    )


def _text(source: Any, index: int, shown: str) -> str:
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    elif source is None:
        source = ""
    if not isinstance(source, str):
        raise _not_a_notebook(f"the source of cell {index} is {_json_type(source)}, not text", shown)
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


def _mapping(value: Any) -> Mapping[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
