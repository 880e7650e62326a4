"""The other way: run a script's pipeline as plain Python, and keep what each step prints apart from the others."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kale_nb import sdk
from kale_nb.pipeline.params import from_json
from kale_nb.scripts.tracing.reading import choose, import_script
from kale_nb.scripts.tracing.values import Refused


class Apart:
    """Runs steps and keeps the output of each, in the order of their calls."""

    def __init__(self) -> None:
        self.said: list[dict[str, str]] = []
        self.inside = False

    def step(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a step; one that another step calls is part of that."""
        function = getattr(wrapper, sdk.STEP).function
        if self.inside:
            return sdk.run_plainly(function, args, kwargs)
        out, errors = io.StringIO(), io.StringIO()
        self.inside = True
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                return sdk.run_plainly(function, args, kwargs)
        finally:
            self.inside = False
            self.said.append({"stdout": out.getvalue(), "stderr": errors.getvalue()})

    def pipeline(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a pipeline."""
        return getattr(wrapper, sdk.PIPELINE).function(*args, **kwargs)

    def metric(self, name: str, value: float) -> None:
        """Nothing is kept."""


def main(path: str, target: str, wanted: str | None, params: str) -> None:
    """Run a script's pipeline with parameters (JSON: Python source by name) and write what its steps said into a file."""
    apart = Apart()
    failure: str | None = None
    try:
        wrapper = choose(import_script(path), wanted)
        values = {name: from_json(text) for name, text in json.loads(params).items()}
        sdk.listen(apart)
        wrapper(**values)
    except Refused as refused:
        failure = refused.message
    except Exception as error:  # noqa: BLE001 - the user's own code
        traceback.print_exc(file=sys.stderr)
        failure = f"{type(error).__name__}: {error}"
    Path(target).write_text(json.dumps({"steps": apart.said, "failure": failure}), encoding="utf-8")
