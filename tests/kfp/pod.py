"""Stands in for a step's pod: run inside a private mount namespace, it puts volumes at their real paths over a bare copy of the machine's root
and runs a command there.

    unshare --mount --propagation private python pod.py JOB.json COMMAND...

`JOB.json`: `mounts`, a list of [folder of the volume, path in the pod]; `cwd`. Nothing of it is seen outside, and all of it is gone when the
command ends. The paths need not exist on this machine: the root is a new one, with the machine's own folders bound into it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def bind_machine(root: Path, hidden: set[str]) -> None:
    """Bind every folder of the machine's root into the new one, but for those that the pod's volumes stand in."""
    for entry in sorted(os.scandir("/"), key=lambda e: e.name):
        target = root / entry.name
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))
        elif entry.is_dir() and entry.name not in hidden:
            target.mkdir()
            mount("--rbind", entry.path, str(target))
        elif entry.is_dir():
            target.mkdir()


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    root = Path(tempfile.mkdtemp(prefix="pod-"))
    mount("-t", "tmpfs", "pod", str(root))
    bind_machine(root, {Path(path).parts[1] for _, path in job["mounts"]})
    for folder, path in sorted(job["mounts"], key=lambda m: m[1].count("/")):
        target = root / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        mount("--bind", folder, str(target))
    os.chroot(root)
    os.chdir(job["cwd"])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
