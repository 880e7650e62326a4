"""What a tree of files holds, byte for byte, for comparing before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from kale_nb.volumes.trees import Tree


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def picture(folder: Path, *, times: bool = True, skip: tuple[str, ...] = (".kale",)) -> dict[str, tuple[object, ...]]:
    """Map every path to kind, mode, time and content; works at any depth."""
    found: dict[str, tuple[object, ...]] = {}
    with Tree(folder) as tree:
        waiting = [""]
        for at in waiting:
            fd = tree.open(at, os.O_RDONLY | os.O_DIRECTORY)
            try:
                names = os.listdir(fd)
            finally:
                os.close(fd)
            for name in names:
                path = f"{at}/{name}" if at else name
                if path in skip:
                    continue
                status = tree.stat(path)
                facts: tuple[object, ...] = (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode))
                if times:
                    facts = (*facts, status.st_mtime_ns)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)
                    found[path] = facts
                elif stat.S_ISLNK(status.st_mode):
                    found[path] = (*facts, tree.readlink(path))
                else:
                    found[path] = (*facts, status.st_size, _sha256(tree, path))
    return found


def _sha256(tree: Tree, path: str) -> str:
    with open(tree.open(path, os.O_RDONLY), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def litter(store: Path) -> list[str]:
    """Return what no store at rest has: staging folders, temporary files, objects whose names lie."""
    found = [str(path) for path in (store / "staging").iterdir()] if (store / "staging").exists() else []
    found += [
        f"{path} does not hold what its name says"
        for path in (store / "objects").glob("*/*")
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name + path.name
    ]
    manifests = {path.stem for path in (store / "snapshots").glob("*.jsonl")}
    found += [str(path) for path in (store / "snapshots").iterdir() if path.stem not in manifests]
    return found
