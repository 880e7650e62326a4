"""What is declared about the package is what is on the disk."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("kale", "kale_nb", "exporters")
DISTRIBUTIONS = {
    "google": "kfp",  # protobuf, which kfp brings along
    "IPython": "ipython",
    "ipykernel_launcher": "ipykernel",
    "jupyter_client": "jupyter-client",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Import names that differ from the name to install."""

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="only in a checkout")


def test_the_package_list_is_what_is_on_the_disk() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    on_disk = set()
    for top in SHIPPED:
        for module in (ROOT / top).rglob("*.py"):
            name = ".".join(module.parent.relative_to(ROOT).parts)
            on_disk.add(re.sub(r"^exporters\b", "kale_nb.exporters", name))
    assert listed == on_disk


def test_every_folder_of_modules_is_a_regular_package() -> None:
    folders = {module.parent for top in SHIPPED for module in (ROOT / top).rglob("*.py")}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def imported_distributions(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    tops = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            tops.add(node.module.partition(".")[0])
    foreign = tops - set(sys.stdlib_module_names) - set(SHIPPED)
    return {DISTRIBUTIONS.get(top, top).lower() for top in foreign}


def test_every_imported_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[<>=!~; ]", entry, maxsplit=1)[0].lower() for entry in project["dependencies"]}
    soft = {"kfp", "kubernetes", "urllib3", "numpy", "pandas", "torch", "matplotlib", "pytest"}
    """Looked at only where the user's own notebook has imported them, or extras, what comes with those, or what the module is a plugin of."""
    found: dict[str, str] = {}
    for top in SHIPPED:
        for module in (ROOT / top).rglob("*.py"):
            found |= {name: str(module.relative_to(ROOT)) for name in imported_distributions(module)}
    undeclared = {name: where for name, where in found.items() if name not in declared | soft}
    assert undeclared == {}


def test_the_alias_has_the_version_of_the_package() -> None:
    import kale
    import kale_nb

    assert kale.__version__ == kale_nb.__version__
    assert kale.__all__ == ["__version__", "load_ipython_extension", "unload_ipython_extension"]


def test_the_example_of_the_guide_is_tested_with_nothing_but_pytest(tmp_path: Path) -> None:
    (tmp_path / "hypothesis.py").write_text("raise ImportError('not installed')")
    words = ["-q", "--collect-only", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist", "examples/tested"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_orders.py" in done.stdout
