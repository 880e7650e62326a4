"""The code of a run on a cluster: its stepbooks, under a name that is their content's.

With a snapshot the stepbooks are written into the workspace before it is taken, in a hidden folder of their own, and each step checks that
its clone holds them. Without one each travels, packed, in the arguments of its step.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kale_nb.errors import VolumeError
from kale_nb.names import StepName
from kale_nb.pipeline import codec
from kale_nb.pipeline.model import Pipeline
from kale_nb.stepbooks.model import Stepbook

CODE_FOLDER = ".kale/kfp"
"""Where the workspace keeps the code of runs on a cluster, a folder each."""
LARGEST = 96 * 1024
"""Bytes that a packed stepbook may have: one argument of a process takes 128 KiB on Linux, and what Kubeflow adds needs room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The files of a run.

    Attributes:
        digest: names the whole: 16 hex digits of the SHA-256 over `pipeline` and `books`.
        pipeline: text of `pipeline.json`.
        books: text of each stepbook.
        sums: SHA-256 of each stepbook's bytes, hex.
    """

    digest: str
    pipeline: str
    books: Mapping[StepName, str]
    sums: Mapping[StepName, str]


def code_of(pipeline: Pipeline, stepbooks: Sequence[Stepbook]) -> Code:
    """Return the files of a run. Pure."""
    text = json.dumps(codec.to_json(pipeline), ensure_ascii=False, indent=1) + "\n"
    books = {book.step: json.dumps(book.notebook, ensure_ascii=False, indent=1) + "\n" for book in stepbooks}
    sums = {step: hashlib.sha256(book.encode("utf-8", "surrogatepass")).hexdigest() for step, book in books.items()}
    whole = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for step, digest in sums.items():
        whole.update(f"{step} {digest}\n".encode())
    return Code(digest=whole.hexdigest()[:16], pipeline=text, books=books, sums=sums)


def pack(book: str) -> str:
    """Return a stepbook as the text that an argument holds: base64 of its zlib stream, the same on every machine with one zlib."""
    return base64.b64encode(zlib.compress(book.encode("utf-8", "surrogatepass"), 9)).decode()


def unpack(text: str) -> bytes:
    """Return what `pack` packed. ValueError when it is damaged."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from None


def code_files(code: Code) -> dict[str, str]:
    """Return the files' texts by their paths in the workspace, as a snapshot has to hold them. Pure."""
    folder = f"{CODE_FOLDER}/{code.digest}"
    books = {f"{folder}/steps/{step}.ipynb": text for step, text in code.books.items()}
    return {f"{folder}/pipeline.json": code.pipeline, **books}


def stage_code(code: Code, workspace: Path) -> Path:
    """Write the files into the workspace, for the snapshot to hold them, and return their folder. VolumeError when it cannot be.

    Files that are there already with the same content are left alone: they are named after it.
    """
    folder = workspace / CODE_FOLDER / code.digest
    try:
        (folder / "steps").mkdir(parents=True, exist_ok=True)
        for name, text in code_files(code).items():
            _put(workspace / name, text)
    except OSError as error:
        raise VolumeError(
            f"the stepbooks cannot be written to {folder}: {error.strerror or error}",
            hint="the workspace must be writable: the snapshot takes them along",
        ) from error
    return folder


def _put(path: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    if path.is_file() and path.read_bytes() == content:
        return
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(staging, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
