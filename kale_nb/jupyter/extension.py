"""What `%load_ext kale_nb` does to a shell, and how it is undone.

Nothing heavy is imported until a command needs it: loading takes a few milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kale_nb.jupyter import helps
from kale_nb.jupyter.executed import Executed
from kale_nb.jupyter.marks import MARK_NAMES, MarkLines, mark_magic

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_OUR_LINE = re.compile(rf"\s*(?:%%(?:{'|'.join(MARK_NAMES)})|%(?:pipeline|kale_load))\s")
_EVENTS = ("pre_run_cell", "post_run_cell")


class Extension:
    """All that hangs on one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.executed = Executed(shell)
        self.mark_lines = MarkLines()
        self.magics: dict[tuple[str, str], Callable[..., Any]] = {
            **{("cell", name): mark_magic(shell, name) for name in MARK_NAMES},
            ("line", "pipeline"): _documented(self.pipeline, helps.PIPELINE),
            ("line", "kale_load"): _documented(self.kale_load, helps.KALE_LOAD),
        }
        self.matcher = _matcher(self.match)

    def hang_on(self) -> None:
        shell = self.shell
        shell.input_transformers_cleanup.insert(0, self.mark_lines)
        for event, callback in zip(_EVENTS, (self.executed.before, self.executed.after), strict=True):
            shell.events.register(event, callback)
        register: Callable[..., None] = shell.magics_manager.register_function
        for (kind, name), function in self.magics.items():
            register(function, magic_kind=kind, magic_name=name)
        shell.Completer.custom_matchers.append(self.matcher)

    def take_off(self) -> None:
        shell = self.shell
        if self.mark_lines in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(self.mark_lines)
        for event, callback in zip(_EVENTS, (self.executed.before, self.executed.after), strict=True):
            shell.events.unregister(event, callback)
        for kind, name in self.magics:
            shell.magics_manager.magics[kind].pop(name, None)
        if self.matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self.matcher)

    def pipeline(self, line: str) -> None:
        from kale_nb.jupyter.commands import run_command

        run_command(self.shell, self.executed, line)

    def kale_load(self, line: str) -> None:
        from kale_nb.jupyter.loading import run_load

        run_load(self.shell, self.executed, line)

    def match(self, context: Any) -> Any:
        """Complete the lines of our magics; on them nobody else does. (IPython's matcher interface, version 2.)"""
        before = context.line_with_cursor[: context.cursor_position]
        if _OUR_LINE.match(before) is None:
            return {"completions": [], "suppress": False}
        from IPython.core.completer import SimpleCompletion

        from kale_nb.jupyter.completion import complete

        word, offers = complete(self.shell, self.executed, before)
        completions = [SimpleCompletion(text=offer, type="magic") for offer in offers]
        return {"completions": completions, "suppress": bool(offers), "ordered": True, "matched_fragment": word}


_LOADED = "_kale_nb_extension"
"""The attribute of a shell that holds its extension: a process may have several shells, such as an embedded one."""


def load(shell: InteractiveShell) -> None:
    """Make marks, `%pipeline` and `%kale_load` work in a shell. Loading twice is loading once."""
    unload(shell)
    made = Extension(shell)
    made.hang_on()
    setattr(shell, _LOADED, made)


def unload(shell: InteractiveShell) -> None:
    """Leave the shell as it was."""
    made = getattr(shell, _LOADED, None)
    if isinstance(made, Extension):
        made.take_off()
        delattr(shell, _LOADED)


def _documented(method: Callable[[str], None], text: str) -> Callable[[str], None]:
    def magic(line: str) -> None:
        method(line)

    magic.__doc__ = text
    return magic


def _matcher(method: Callable[[Any], Any]) -> Any:
    def match(context: Any) -> Any:
        return method(context)

    match.matcher_api_version = 2  # type: ignore[attr-defined]
    match.matcher_identifier = "kale_nb"  # type: ignore[attr-defined]
    return match
