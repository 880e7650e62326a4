"""The pytest plugin, which pytest loads wherever kale-nb is installed: fixtures for steps and `--kale-verify`.

It must cost nothing where it is not used, so all of kale's own is imported when it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import types

    from kale_nb.testing.functions import KaleFunctions
    from kale_nb.testing.result import StepResult
    from kale_nb.testing.stepping import KaleStep

_MARK = "kale_verify"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--kale-verify` and `kale_verify`."""
    group = parser.getgroup("kale", "notebooks as pipelines")
    group.addoption(
        "--kale-verify",
        metavar="NOTEBOOK",
        action="append",
        default=[],
        help="run a notebook or script as a pipeline and from top to bottom, and fail where they differ; may be repeated, and notebooks "
        "given as arguments are verified too",
    )
    parser.addini(
        "kale_verify", "notebooks and scripts (glob patterns, from the root folder) to verify in every run", type="linelist"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Note which notebooks are to be verified, and make them be collected."""
    config.addinivalue_line("markers", f"{_MARK}: runs a notebook both ways (of kale-nb)")
    asked = [(config.invocation_params.dir / path).resolve() for path in config.getoption("kale_verify")]
    listed = [found.resolve() for pattern in config.getini("kale_verify") for found in _matching(config.rootpath, pattern)]
    if not asked and not listed:
        return
    for path in asked:
        _check_file("--kale-verify", path)
    config.stash[_PATHS] = frozenset([*asked, *listed])
    config.stash[_ANY] = bool(asked)
    plain = config.args_source is not pytest.Config.ArgsSource.ARGS
    if asked and plain:
        config.args[:] = []  # only these are meant, as with files given as arguments
    wanted = [*asked, *([] if asked or not plain else listed)]
    covered = [(config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args]
    config.args += [_argument(path) for path in wanted if not any(path.is_relative_to(place) for place in covered)]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a notebook that is to be verified."""
    paths = parent.config.stash.get(_PATHS, None)
    if paths is None:
        return None
    wanted = file_path in paths or file_path.resolve() in paths
    if not wanted and parent.config.stash[_ANY] and file_path.suffix == ".ipynb":
        wanted = parent.session.isinitpath(file_path)
    if not wanted:
        return None
    from kale_nb.testing.verifying import Verified

    found: pytest.Collector = Verified.from_parent(parent, path=file_path)
    return found


def pytest_unconfigure() -> None:
    """End what runs kernels, if tests have used any."""
    bench = sys.modules.get("kale_nb.testing.bench")
    if bench is not None:
        bench.close()


@pytest.fixture
def kale_step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KaleStep:
    """Run one step of a notebook with inputs of the test's own; paths are relative to the test's folder.

    What the steps print is shown with a test that fails. See `kale_nb.testing.kale_step`.
    """
    from kale_nb.testing.stepping import run_step

    def step(
        notebook: str | os.PathLike[str],
        step: str,
        *,
        inputs: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        timeout: float | None = None,
        workspace: str | os.PathLike[str] | None = None,
        pipeline: str | None = None,
    ) -> StepResult:
        __tracebackhide__ = True
        return run_step(
            request.path.parent / notebook,
            step,
            lambda: tmp_path_factory.mktemp("kale-step"),
            inputs=inputs or {},
            params=params or {},
            timeout=timeout,
            workspace=None if workspace is None else request.path.parent / workspace,
            pipeline=pipeline,
            tell=lambda stream, text: request.node.add_report_section("call", f"{stream} of step {step}", text),
        )

    return step


@pytest.fixture
def kale_functions(request: pytest.FixtureRequest) -> KaleFunctions:
    """Give what a notebook's imports and functions cells define; paths are relative to the test's folder."""
    from kale_nb.testing import functions

    def made(notebook: str | os.PathLike[str], *, params: Mapping[str, object] | None = None) -> types.ModuleType:
        __tracebackhide__ = True
        return functions.kale_functions(request.path.parent / notebook, params=params)

    return made


_PATHS: pytest.StashKey[frozenset[Path]] = pytest.StashKey()
_ANY: pytest.StashKey[bool] = pytest.StashKey()


def _check_file(option: str, path: Path) -> None:
    if path.is_dir():
        example = "--kale-verify FOLDER/NAME.ipynb" if option.startswith("--") else "kale_verify = FOLDER/*.ipynb"
        raise pytest.UsageError(f"{option}: {path} is a folder\nhint: it takes notebooks and scripts: {example}")
    if not path.is_file():
        raise pytest.UsageError(f"{option}: there is no {path}")


def _argument(path: Path) -> str:
    """Return how a file is given to pytest, which reads `[` as the beginning of a test's parameters and nothing else."""
    if "[" in str(path):
        hint = "name its folder too, whose tests run as well then, or rename it"
        raise pytest.UsageError(f"pytest takes no file with `[` in its path: {path}\nhint: {hint}")
    return str(path)


def _matching(root: Path, pattern: str) -> list[Path]:
    if os.path.isabs(pattern) or not any(sign in pattern for sign in "*?["):
        path = root / pattern
        _check_file("kale_verify", path)
        return [path]
    found = [path for path in root.glob(pattern) if path.is_file() and not _left_out(path.relative_to(root))]
    if not found:
        raise pytest.UsageError(f"kale_verify: no file matches {pattern} in {root}")
    return sorted(found)


def _left_out(path: Path) -> bool:
    """Clones of runs and checkpoints of editors are no notebooks of the user's."""
    return any(part in (".kale", ".ipynb_checkpoints") for part in path.parts)
