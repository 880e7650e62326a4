"""Many small values through two processes: one makes and saves them all, the other loads and checks them all."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import kale_nb

CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What to make in one process and what must hold in the next."""

    make: str
    check: str = ""
    prelude: str = ""
    save: tuple[str, ...] = ()


def case(make: str, check: str = "", prelude: str = "", save: str = "") -> Case:
    """Write a case in one line."""
    return Case(make=make, check=check, prelude=prelude, save=tuple(save.split()))


def run_battery(cases: dict[str, Case], folder: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Give what making and checking said of each case."""
    listing = folder / "battery.json"
    listing.write_text(json.dumps({name: asdict(case) for name, case in cases.items()}))
    (folder / "workmod.py").write_text(WORKSPACE_MODULE)
    return _run("make", folder, listing), _run("check", folder, listing)


WORKSPACE_MODULE = '''
"""Stands for a module in the user's workspace."""
import functools

class Thing:
    class Inner:
        pass
    def __init__(self, x=0):
        self.x = x

MARK = object()

def timed(func):
    calls = []
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        calls.append(func.__name__)
        return func(*args, **kwargs)
    wrapper.calls = calls
    return wrapper

def plain(x):
    return x + 1

times_two = lambda x: x * 2
'''


def _run(verb: str, folder: Path, listing: Path) -> dict[str, dict]:
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(Path(kale_nb.__file__).parents[1]), str(folder)]),
        PYTHONHASHSEED="random",
        MPLBACKEND="agg",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:joblib", str(CHILD), verb, str(folder), str(listing)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        timeout=120,
        check=False,
    )
    assert "=== outcome ===" in done.stdout, done.stderr + done.stdout
    return json.loads(done.stdout.rpartition("=== outcome ===\n")[2])
