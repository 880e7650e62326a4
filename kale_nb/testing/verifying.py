"""A test item that runs a notebook both ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from kale_nb.errors import HINT, KaleError
from kale_nb.planning import RunOptions
from kale_nb.report.style import Style
from kale_nb.report.verdict import verdict_lines
from kale_nb.testing.reading import read
from kale_nb.verify.verify import verify


class Differs(Exception):
    """The two ways do not say the same."""


class Verified(pytest.File):
    """A notebook or script that is verified."""

    def collect(self) -> Iterator[pytest.Item]:
        """Give its one test."""
        item: pytest.Item = VerifyItem.from_parent(self, name="kale-verify")
        yield item


class VerifyItem(pytest.Item):
    """Runs a notebook as a pipeline and from top to bottom, in a folder of pytest's own."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.add_marker(pytest.mark.kale_verify)

    def runtest(self) -> None:
        """Compare; the notebook's folder is not written to."""
        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        runs = factory.mktemp("kale-verify")
        verdict = verify(read(self.path), RunOptions(runs_dir=runs))
        if not verdict.same:
            raise Differs("\n".join(verdict_lines(verdict, Style(None))))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the report, without a traceback of ours."""
        error = excinfo.value
        if isinstance(error, Differs):
            return str(error)
        if isinstance(error, KaleError):
            return "\n".join([str(error), *([f"{HINT}{error.hint}"] if error.hint else [])])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Name the item in pytest's output."""
        return self.path, None, f"kale-verify: {self.path.name}"
