"""How a script is imported in another process: under which name, and from which folders."""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
from dataclasses import dataclass

_OURS = {"kale", "kale_nb", "exporters"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleName:
    """A script's name as a module. `importable`: `import name` finds it; otherwise it has to be loaded from its file."""

    name: str
    importable: bool


def package_root(path: str) -> str:
    """Return the folder that a script's package is in; without a package its own folder."""
    folder = os.path.dirname(os.path.abspath(path))
    while os.path.exists(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def search_path(path: str) -> list[str]:
    """Return the folders to look for the script's modules in: its own, and that of its package."""
    own = os.path.dirname(os.path.abspath(path))
    return list(dict.fromkeys([own, package_root(path)]))


def module_name(path: str) -> ModuleName:
    """Return the name that a script has as a module.

    A name that Python or an installed package already has, or that is no name at all, is changed, since importing it would give the other.
    """
    root = package_root(path)
    parts = os.path.relpath(os.path.splitext(os.path.abspath(path))[0], root).split(os.sep)
    stem = ".".join(parts)
    if all(part.isidentifier() for part in parts) and not _is_taken(parts[0], root):
        return ModuleName(name=stem, importable=True)
    plain = re.sub(r"\W", "_", parts[-1])
    return ModuleName(name=f"{'script_' if plain[:1].isdigit() else ''}{plain}_script", importable=False)


def _is_taken(name: str, root: str) -> bool:
    if name in sys.stdlib_module_names or name in _OURS:
        return True
    elsewhere = [p for p in sys.path if os.path.realpath(p or os.getcwd()) != os.path.realpath(root)]
    try:
        found = importlib.machinery.PathFinder.find_spec(name, elsewhere)
    except (ImportError, ValueError):
        return False
    return found is not None and found.loader is not None  # a mere folder of that name stands behind a file
