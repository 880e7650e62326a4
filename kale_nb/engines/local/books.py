"""The papermill side: our engine in papermill's registry, its notebook client, and the exact spelling of parameters.

Imported only when a notebook is about to run: it imports papermill.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellExecutionError  # noqa: TID253 - see above
from nbformat import from_dict  # noqa: TID253
from nbformat.v4 import writes  # noqa: TID253
from papermill.clientwrap import PapermillNotebookClient  # noqa: TID253
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines  # noqa: TID253
from papermill.parameterize import parameterize_notebook  # noqa: TID253
from papermill.translators import PythonTranslator, papermill_translators  # noqa: TID253
from papermill.version import version as papermill_version  # noqa: TID253

from kale_nb.engines.local.channel import Channel
from kale_nb.engines.local.outputs import CellOutputs, Printed

ENGINE = "kale"
_SAVE_EVERY = 2.0
_REPLY_WITHOUT_END = 30.0


class ExactTranslator(PythonTranslator):  # type: ignore[misc]
    """Takes parameters that are spelled already (`to_source`): papermill's own spelling makes strings of tuples, sets and dates."""

    @classmethod
    def translate(cls, val: str) -> str:
        return val


class KaleEngine(Engine):  # type: ignore[misc]
    """Runs a notebook on a kernel of the kernel host. To be called through papermill's registry with a `session`."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, output_path: str | None = None, **kwargs: Any) -> Any:
        book = Book(nb, output_path)
        book.notebook_start()
        try:
            cls.execute_managed_notebook(book, kernel_name, **kwargs)
        finally:
            book.notebook_complete()
        return book.nb

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, session: Session, **kwargs: Any) -> None:
        session.client = Client(nb_man, session, kernel_name=kernel_name)
        session.client.execute()

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        return name or ENGINE

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        return ENGINE


papermill_engines.register(ENGINE, KaleEngine)
papermill_translators.register(ENGINE, ExactTranslator)


class Session:
    """What one execution of a notebook needs and leaves.

    Attributes:
        failed: position of the cell that failed and the content of the kernel's reply (`ename`, `evalue`, `traceback`).
    """

    def __init__(self, channel: Channel, printed: Printed) -> None:
        self.channel = channel
        self.printed = printed
        self.client: Client | None = None
        self.failed: tuple[int, dict[str, Any]] | None = None


class Book(NotebookExecutionManager):  # type: ignore[misc]
    """papermill's bookkeeping of an execution, saved now and then and whole: a reader never sees half a file."""

    def __init__(self, nb: Any, output_path: str | None) -> None:
        super().__init__(nb, output_path=output_path, progress_bar=False, autosave_cell_every=0)
        self._saved = 0.0
        self._final = False

    def save(self, **kwargs: Any) -> None:
        now = time.monotonic()
        if self.output_path is None or (not self._final and now < self._saved + _SAVE_EVERY):
            return
        try:
            write_whole(Path(self.output_path), notebook_text(self.nb))
        except OSError:
            if self._final:
                raise
        self._saved = max(now, time.monotonic())

    def notebook_start(self, **kwargs: Any) -> None:
        self._saved = time.monotonic()
        super().notebook_start(**kwargs)

    def notebook_complete(self, **kwargs: Any) -> None:
        self._final = True
        super().notebook_complete(**kwargs)


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """nbclient with our connection to the kernel: what it makes of messages, without its event loop and its polling."""

    def __init__(self, book: Book, session: Session, **options: Any) -> None:
        super().__init__(book, record_timing=False, **options)
        self._session = session
        self._channel = session.channel
        self._cells: dict[str, tuple[Any, int, CellOutputs]] = {}
        self._current: CellOutputs | None = None
        self.kc = _Comms(session.channel)

    def execute(self, **kwargs: Any) -> Any:
        self.reset_execution_trackers()
        self._channel.open()
        self.papermill_execute_cells()
        self.set_widgets_metadata()
        return self.nb

    def execute_cell(self, cell: Any, cell_index: int, execution_count: int | None = None, store_history: bool = True) -> Any:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or not cell.source.strip() or self.skip_cells_with_tag in tags:
            return cell
        allowed = "raises-exception" in tags
        outputs = CellOutputs(cell.outputs, self._session.printed)
        self._current = outputs
        self.clear_before_next_output = False
        request = self._channel.execute(cell.source, stop_on_error=not allowed)
        self._cells[request] = (cell, cell_index, outputs)
        try:
            reply = self._await_end(request)
        finally:
            outputs.finish()
        problem = _problem(reply, allowed=allowed)
        if problem is not None:
            self._session.failed = (cell_index, problem)
            raise CellExecutionError.from_cell_and_msg(cell, problem)
        return cell

    def _await_end(self, request: str) -> dict[str, Any]:
        reply: dict[str, Any] | None = None
        idle = False
        give_up: float | None = None
        printed = self._session.printed
        while reply is None or not idle:
            due = printed.due()
            until = give_up if due is None else due if give_up is None else min(due, give_up)
            got = self._channel.receive(self._drop, until=until)
            printed.tell_if_due()
            if got is None:
                if give_up is not None and time.monotonic() >= give_up:
                    break  # the end of the cell's output was lost
                continue
            channel, message = got
            parent = message["parent_header"].get("msg_id")
            if channel == "shell":
                if parent == request and message["msg_type"] == "execute_reply":
                    reply = message["content"]
                    give_up = time.monotonic() + _REPLY_WITHOUT_END
            elif message["msg_type"] == "status":
                idle = idle or (parent == request and message["content"].get("execution_state") == "idle")
            elif parent in self._cells:
                self._take_output(message, *self._cells[parent])
        assert reply is not None
        return reply

    def _drop(self, topic: bytes, size: int) -> bool:
        return self._current is not None and topic.startswith(b"stream.") and self._current.drops(size)

    def _take_output(self, message: dict[str, Any], cell: Any, index: int, outputs: CellOutputs) -> None:
        hooked = bool(self.output_hook_stack[message["parent_header"]["msg_id"]])
        if hooked or message["msg_type"] not in ("stream", "display_data", "execute_result", "error"):
            outputs.finish()
            with contextlib.suppress(Exception) if message["msg_type"].startswith("comm") else contextlib.nullcontext():
                self.process_message(message, cell, index)
            return
        if self.clear_before_next_output:
            outputs.clear()
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False
        if message["msg_type"] == "stream":
            outputs.stream(message["content"]["name"], message["content"]["text"])
            return
        outputs.finish()
        if outputs.admits(message):
            self.process_message(message, cell, index)
        if message["msg_type"] == "error":
            self._session.printed.log_error(message["content"])


def _problem(reply: Mapping[str, Any], *, allowed: bool) -> dict[str, Any] | None:
    """Return what ends the notebook, as a kernel's reply tells it; None when it goes on."""
    if reply.get("status") == "error":
        return None if allowed else {"traceback": [], "evalue": "", "ename": "Error", **reply}
    if reply.get("status") == "aborted":
        return {"ename": "Aborted", "evalue": "the kernel refused to run the cell", "traceback": []}
    if any(part.get("source") == "ask_exit" for part in reply.get("payload") or ()):
        return {"ename": "SystemExit", "evalue": "exit() was called", "traceback": []}
    return None


class _Comms:
    """The two things that nbclient's stand-in for output widgets asks of a kernel client."""

    allow_stdin = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.session = channel.session
        self.shell_channel = self

    def send(self, message: dict[str, Any]) -> None:
        self._channel.send_message(message)


def prepare(notebook: Mapping[str, Any], params: Mapping[str, str], *, kernel: str) -> Any:
    """Return a copy of a notebook, ready to run: papermill's metadata, and the parameters injected after the parameters cell.

    Args:
        params: Python source by name.
    """
    nb = _node(notebook)
    nb.metadata["papermill"] = {
        "default_parameters": {},
        "environment_variables": {},
        "parameters": {},
        "version": papermill_version,
    }
    tagged = None
    for cell in nb.cells:
        tags = cell.metadata.setdefault("tags", [])
        cell.metadata["papermill"] = {}
        if cell.cell_type == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)
        if isinstance(cell.source, list):
            cell.source = "".join(cell.source)
        if "parameters" in tags or "pipeline-parameters" in tags:
            tagged = cell
    if params:
        if tagged is not None and "parameters" not in tagged.metadata.tags:
            tagged.metadata.tags.append("parameters")
        if tagged is None:
            nb.cells.insert(
                0, from_dict({"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "", "outputs": []})
            )
        nb = parameterize_notebook(nb, dict(params), kernel_name=ENGINE, language=ENGINE, engine_name=ENGINE)
        nb.metadata.papermill["parameters"] = {name: _plain(source) for name, source in params.items()}
    nb.metadata.setdefault("kernelspec", _node({"name": kernel, "display_name": kernel}))
    return nb


def execute(nb: Any, session: Session, *, kernel: str, output: Path) -> Any:
    """Run a prepared notebook through papermill's registry, in the session's kernel; what ran is written to `output` in any case.

    Raises:
        KernelGone, StepTimeout: see `Channel.receive`.
        OSError: `output` could not be written.
    """
    return papermill_engines.execute_notebook_with_engine(
        ENGINE, nb, kernel_name=kernel, output_path=os.fspath(output), session=session
    )


def notebook_text(nb: Any) -> str:
    """Return a notebook as the text of its file."""
    text: str = writes(nb)
    return text if text.endswith("\n") else text + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees it whole or not at all; OSError leaves nothing of it."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(staging, "w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(text)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        os.replace(staging, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staging)


def _node(content: Mapping[str, Any]) -> Any:
    """Return a deep copy of JSON content in the form that nbformat works with."""
    return from_dict(dict(content))


def _plain(source: str) -> object:
    """Return the value that a parameter's source means where JSON can hold it exactly, else the source."""
    try:
        value = ast.literal_eval(source)
        return value if json.loads(json.dumps(value, allow_nan=False)) == value and not isinstance(value, tuple) else source
    except (TypeError, ValueError, SyntaxError):
        return source
