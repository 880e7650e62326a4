"""What a forked child does to be an IPython kernel: as `python -m ipykernel_launcher -f FILE`, without what a step has no use for.

Imported in the kernel host only: it imports ipykernel when it is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from ipykernel.iostream import OutStream  # noqa: TID253 - see above
from ipykernel.kernelapp import IPKernelApp  # noqa: TID253


class StepStream(OutStream):
    """Standard output or error of a step: what native code writes goes to the notebook as well, and only there.

    (The driver writes what the notebook gets into the step's log; the plain stream would write it a second time.)
    """

    def _watch_pipe_fd(self) -> None:
        if self._fid is None:
            return
        try:
            while (data := os.read(self._fid, 1 << 16)) and self._should_watch:
                self.write(data.decode(errors="replace"))
        except Exception:  # noqa: BLE001 - kept as the base class keeps it, and shown when the stream is closed
            self._exc = sys.exc_info()


class StepKernelApp(IPKernelApp):
    """The kernel application without a note to the terminal and without connections lost when a step floods its output."""

    name = "ipython-kernel"

    def parse_command_line(self, argv: Any = None) -> None:
        self.extra_args = []  # there is none, and reading none takes milliseconds

    def init_heartbeat(self) -> None:
        """Nobody listens: the host knows at once when a kernel ends."""

    def log_connection_info(self) -> None:
        names = ("shell", "iopub", "stdin", "hb", "control")
        self._ports = {name: getattr(self, f"{name}_port") for name in names}

    def init_iopub(self, context: Any) -> None:
        import zmq

        context.setsockopt(zmq.SNDHWM, 0)  # or messages are dropped when output comes faster than it is taken
        super().init_iopub(context)  # type: ignore[no-untyped-call]


def run_kernel(connection_file: str, tell_ready: Callable[[], None]) -> int:
    """Be a kernel until told to end; return the exit code."""
    import ipykernel_launcher
    from traitlets.config import Config

    sys.argv = [ipykernel_launcher.__file__, "-f", connection_file]
    config = Config()
    config.HistoryManager.enabled = False
    config.IPKernelApp.connection_file = connection_file
    config.IPKernelApp.outstream_class = f"{__name__}.StepStream"
    app = StepKernelApp.instance(config=config)
    app.initialize([])  # type: ignore[no-untyped-call]
    _show_main()
    tell_ready()
    app.start()  # type: ignore[no-untyped-call]
    return 0


def _show_main() -> None:
    """Modules that were imported before the user's namespace became `__main__` see what they would see had they come later."""
    main = sys.modules["__main__"]
    sys.modules["__mp_main__"] = main
    for name in ("dill._dill", "dill.session"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "_main_module"):
            module._main_module = main  # type: ignore[attr-defined]
