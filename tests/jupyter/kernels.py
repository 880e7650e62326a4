"""A real kernel, spoken to as a front end speaks to it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

TIMEOUT = 180


@dataclass
class Reply:
    """What one cell said."""

    status: str = "ok"
    stdout: str = ""
    stderr: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    """Bundles of display_data and execute_result, in order, each as it was last."""
    updates: int = 0
    error: str = ""
    """`Name: message` of an error."""
    traceback: str = ""
    payload: str = ""
    count: int = 0

    @property
    def text(self) -> str:
        """Every bundle's plain text."""
        return "\n".join(bundle["text/plain"] for bundle in self.shown)


class Kernel:
    """A kernel and its client."""

    def __init__(self, client: Any, manager: Any) -> None:
        self.client, self.manager = client, manager

    def run(
        self, code: str, *, cell: str | None = None, tags: tuple[str, ...] = (), after: Callable[[Reply], None] | None = None
    ) -> Reply:
        """Execute a cell; `after` is called after each message with what came so far."""
        reply = Reply()
        places: dict[str, int] = {}
        message = self.client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
            metadata={"cellId": cell, "tags": list(tags)} if cell else {},
        )
        self.client.shell_channel.send(message)
        ident = message["header"]["msg_id"]
        end = time.monotonic() + TIMEOUT
        while True:
            got = self.client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            if got["parent_header"].get("msg_id") != ident:
                continue
            content = got["content"]
            match got["msg_type"]:
                case "stream":
                    setattr(reply, content["name"], getattr(reply, content["name"]) + content["text"])
                case "display_data" | "execute_result":
                    name = content.get("transient", {}).get("display_id")
                    if name is not None:
                        places[name] = len(reply.shown)
                    reply.shown.append(content["data"])
                case "update_display_data":
                    reply.updates += 1
                    reply.shown[places[content["transient"]["display_id"]]] = content["data"]
                case "error":
                    reply.error = f"{content['ename']}: {content['evalue']}"
                    reply.traceback = "\n".join(content["traceback"])
                case "status" if content["execution_state"] == "idle":
                    break
            if after is not None:
                after(reply)
        answer = self.client.get_shell_msg(timeout=TIMEOUT)
        while answer["parent_header"].get("msg_id") != ident:
            answer = self.client.get_shell_msg(timeout=TIMEOUT)
        reply.status, reply.count = answer["content"]["status"], answer["content"]["execution_count"]
        reply.payload = "\n".join(part["data"]["text/plain"] for part in answer["content"].get("payload", ()) if "data" in part)
        return reply

    def good(self, code: str, **more: Any) -> Reply:
        """Execute a cell that must end well."""
        reply = self.run(code, **more)
        assert reply.status == "ok", reply.traceback
        return reply

    def complete(self, code: str) -> list[str]:
        """Return what Tab offers at the end of the code, each with the line that it would make."""
        content = self.client.complete(code, len(code), reply=True, timeout=TIMEOUT)["content"]
        return [code[: content["cursor_start"]] + match for match in content["matches"]]

    def is_complete(self, code: str) -> str:
        """Ask whether a terminal would run the code on Enter."""
        ident = self.client.is_complete(code)
        while (answer := self.client.get_shell_msg(timeout=TIMEOUT))["parent_header"].get("msg_id") != ident:
            pass
        return str(answer["content"]["status"])

    def interrupt(self) -> None:
        """What *Interrupt Kernel* does."""
        self.manager.interrupt_kernel()


@contextmanager
def kernel(folder: Path, *, notebook: Path | None = None) -> Iterator[Kernel]:
    """Start a kernel in a folder; `notebook` is what JupyterLab would say that it belongs to."""
    env = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
    if notebook is not None:
        env["JPY_SESSION_NAME"] = str(notebook)
    env["IPYTHONDIR"] = str(folder / ".ipython")
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder), env=env, startup_timeout=TIMEOUT)
    try:
        yield Kernel(client, manager)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def notebook_of(*cells: str, ids: bool = False) -> dict[str, Any]:
    """Return a notebook of code cells; a text that begins with `MD ` is markdown."""
    made = []
    for number, text in enumerate(cells, 1):
        kind = "markdown" if text.startswith("MD ") else "code"
        cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.removeprefix("MD "), "id": f"cell-{number}"}
        made.append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def save(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    path.write_text(json.dumps(notebook_of(*cells)), encoding="utf-8")
    return path
