"""An image of this machine's Python, without a builder and without a registry: what steps need of the interpreter and of what is installed.

It holds the standard library, the installed packages but for those in `_LEFT_OUT`, kale-nb as it is now, Jupyter's kernel and templates, a
shell, and whatever shared libraries these say they need.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "/opt/python"
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n",
    "etc/group": "root:x:0:\nusers:x:100:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
# Nothing that a step imports, and much of the weight: of the standard library and of what is installed; and what is anywhere in them.
_LEFT_OUT = {
    *("ensurepip", "idlelib", "lib2to3", "site-packages", "tkinter", "turtledemo"),
    *("babel", "cryptography", "google", "grimp", "hypothesis", "jupyterlab", "kfp", "kfp_server_api", "kubernetes"),
    *("kubernetes_validate", "mypy", "mypyc", "pip", "_pytest", "ruff", "selenium", "setuptools", "trio"),
}
_LEFT_OUT_BELOW = {"test", "tests"}


def archive(path: Path, name: str) -> Path:
    """Write the image as a docker archive, which `ctr images import` takes; return its path."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        _fill(tar)
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _pack(path, name, layer, digest, [f"PATH={PREFIX}/bin:/usr/bin:/bin"], None)
    layer.unlink()
    return path


def pause_archive(path: Path, name: str) -> Path:
    """Write the image of the container that holds a pod's namespaces: a shell that waits."""
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        _folders(tar, "bin", "lib", "lib64", "usr/bin")
        for program, target in ((shutil.which("sh"), "bin/sh"), (shutil.which("sleep"), "bin/sleep")):
            assert program is not None
            _add(tar, Path(program).resolve(), target)
            for library in _libraries([Path(program).resolve()]):
                _add(tar, library, str(library).lstrip("/"))
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    _pack(path, name, layer, digest, ["PATH=/bin"], ["/bin/sleep", "infinity"])
    layer.unlink()
    return path


def _pack(path: Path, name: str, layer: Path, digest: str, env: list[str], entry: list[str] | None) -> None:
    settings = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": env, **({"Entrypoint": entry} if entry else {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests"}],
    }
    config = json.dumps(settings).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        _text(tar, config_name, config)
        tar.add(layer, f"{digest}/layer.tar")
        _text(tar, "manifest.json", json.dumps(manifest).encode())


def _text(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _folders(tar: tarfile.TarFile, *names: str, mode: int = 0o755) -> None:
    for name in names:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        tar.addfile(entry)


def _add(tar: tarfile.TarFile, source: Path, target: str) -> None:
    """Add a file as root's, whoever has it here, and not as a link to where there may be nothing in the image."""
    source = source.resolve()
    entry = tar.gettarinfo(source, target)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", source.stat().st_size  # also of a second name of a file
    with source.open("rb") as file:
        tar.addfile(entry, file)


def _fill(tar: tarfile.TarFile) -> None:
    _folders(tar, "bin", "etc", "lib", "lib64", "usr", "usr/bin", "opt", "root", "home", "home/jovyan")
    _folders(tar, "tmp", mode=0o1777)
    for name, text in _ETC.items():
        _text(tar, name, text.encode())
    programs = [Path(program).resolve() for program in map(shutil.which, ("sh", "env")) if program]
    for program in programs:
        _add(tar, program, f"bin/{'sh' if program.name == 'dash' else program.name}")
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    _add(tar, interpreter, f"{PREFIX.lstrip('/')}/bin/python3")
    native = [*programs, interpreter]
    for source, target in _python():
        _add(tar, source, f"{PREFIX.lstrip('/')}/{target}")
        if re.search(r"\.so(\.|$)", source.name):
            native.append(source)
    for library in _libraries(native):
        _add(tar, library, str(library).lstrip("/"))


def _python() -> Iterator[tuple[Path, str]]:
    """Return files and where they go below the prefix."""
    import kale
    import kale_nb
    import kale_nb.exporters

    version = f"lib/python3.{sys.version_info.minor}"
    yield from _tree(Path(sysconfig.get_path("stdlib")), version)
    yield from _tree(Path(sysconfig.get_path("purelib")), f"{version}/site-packages")
    for module, name in ((kale, "kale"), (kale_nb, "kale_nb"), (kale_nb.exporters, "kale_nb/exporters")):
        yield from _tree(Path(str(module.__file__)).parent, f"{version}/site-packages/{name}")
    share = Path(sys.prefix) / "share" / "jupyter"
    for name in ("kernels", "nbconvert"):
        yield from _tree(share / name, f"share/jupyter/{name}")


def _tree(folder: Path, target: str) -> Iterator[tuple[Path, str]]:
    for path, folders, files in os.walk(folder):
        inside = Path(path).relative_to(folder)
        left_out = _LEFT_OUT_BELOW | (_LEFT_OUT if inside == Path() else set())
        folders[:] = [name for name in folders if name not in left_out and not name.startswith("config-")]
        for name in files:
            if "__mypyc" not in name and not name.startswith("__editable__"):
                yield Path(path) / name, str(target / inside / name)


def _libraries(programs: list[Path]) -> set[Path]:
    """Return the shared libraries of the machine that these need."""
    said = ""
    for start in range(0, len(programs), 200):
        words = ["ldd", *map(str, programs[start : start + 200])]
        said += subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"=> (/\S+)", said)) | set(re.findall(r"^\s+(/\S+) \(", said, re.M))
    mine = str(Path(sysconfig.get_path("purelib")))
    return {Path(path) for path in found if not path.startswith(mine)}
