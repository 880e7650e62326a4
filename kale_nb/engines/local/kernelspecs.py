"""From a kernel's name to the command that starts it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kale_nb.errors import EngineError
from kale_nb.runs.environment import Environment, environment_of, note_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCommand:
    """How a kernel is started.

    Attributes:
        template: the command, `{connection_file}` and the like in braces.
        forkable: it is IPython's kernel in this very interpreter, so that a fork of the kernel host is the same thing.
        ipc: it is known to speak over Unix sockets.
    """

    name: str
    template: tuple[str, ...]
    resource_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    forkable: bool = False
    ipc: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the command as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KernelCommand:
        """Return the command that `to_json` wrote."""
        return cls(**{**values, "template": tuple(values["template"])})

    def argv(self, connection_file: str) -> list[str]:
        """Return the command for a connection file."""
        values = {"connection_file": connection_file, "prefix": sys.prefix, "resource_dir": self.resource_dir}
        return [re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), part) for part in self.template]


def find_kernel(name: str) -> KernelCommand:
    """Return the command of the kernel called `name`. EngineError, listing the kernels there are, when there is none."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    manager = KernelSpecManager()
    try:
        spec = manager.get_kernel_spec(name)
    except (NoSuchKernel, ValueError, OSError) as error:
        there = ", ".join(sorted(manager.find_kernel_specs())) or "none"
        raise EngineError(
            f"there is no kernel called {name!r} on this machine; there are: {there}",
            hint="install that kernel (`python -m ipykernel install --user --name NAME`) or change the notebook's kernel",
        ) from error
    template = list(spec.argv)
    if not template:
        raise EngineError(f"the kernel {name!r} has no command to start it")
    if _is_plain_python(template[0]):
        template[0] = sys.executable
    ipython = "ipykernel_launcher" in template or "ipykernel" in template
    env = {key: _expand(str(value)) for key, value in (spec.env or {}).items()}
    return KernelCommand(
        name=name,
        template=tuple(template),
        resource_dir=spec.resource_dir,
        env=env,
        forkable=_is_our_ipykernel(template) and not env,
        ipc=ipython and os.name == "posix",
    )


def note_kernel(command: KernelCommand, directory: Path) -> str:
    """Note in a run's folder the environment of a kernel of another Python than this; return its fingerprint, nothing for this one."""
    found = kernel_environment(command)
    if found is None:
        return ""
    with contextlib.suppress(OSError):
        note_environment(directory, found)
    return found.fingerprint


def kernel_environment(command: KernelCommand) -> Environment | None:
    """Return the environment of a kernel of another Python than this; None for this one, or when it cannot be told."""
    program = shutil.which(command.template[0]) or command.template[0]
    if os.path.abspath(program) == os.path.abspath(sys.executable):
        return None
    return environment_of(program)


def _is_plain_python(program: str) -> bool:
    """Tell whether a kernelspec's program means "the interpreter that runs Jupyter", as jupyter_client reads it."""
    major, minor = sys.version_info[:2]
    return program in ("python", f"python{major}", f"python{major}.{minor}")


def _is_our_ipykernel(template: list[str]) -> bool:
    if sys.platform != "linux" or os.path.abspath(template[0]) != os.path.abspath(sys.executable):
        return False
    rest = [part for part in template[1:] if part != "-Xfrozen_modules=off"]
    if rest[:2] == ["-X", "frozen_modules=off"]:
        rest = rest[2:]
    return rest in (
        ["-m", "ipykernel_launcher", "-f", "{connection_file}"],
        ["-m", "ipykernel", "-f", "{connection_file}"],
    )


def _expand(value: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), value)
