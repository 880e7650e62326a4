"""Options that more than one topic uses."""

from __future__ import annotations

import signal
import threading

import pytest

# Whoever starts the tests in the background of a script has them ignore Ctrl-C, and with them all that they start: here it is tested.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # About how hypothesis prints, not about what is tested. Not in pyproject.toml, where it would be imported for every test of this checkout.
    config.addinivalue_line("filterwarnings", "ignore::hypothesis.errors.HypothesisWarning")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="write what the tests compare with anew, from what the code gives now"
    )


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens"))
