"""What snapshots and clones cost beside cp, git and rsync on the same tree, interleaved in one run.

    python benchmarks/volumes.py [--files 1000,10000] [--sparse 10] [--repeat 5] [--disks] [--json FILE] [--plot FILE]

Every turn does the same to each side: copy or take the tree, take it again unchanged, take it with three files changed, make a clone or
checkout. Figures are wall seconds, medians; beside them the ratios of wall and of CPU time to `cp -a` (to `cp -a --reflink` where the file
system shares blocks) in the same turn. Then the bars: the most that a ratio may be, and what it is.

`--disks` makes a new ext4, xfs and btrfs on loop images for each size (root only; removed afterwards): on a disk in use, what was removed
lately slows every new file for minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from volumes_plot import plot

from kale_nb.volumes import Policy, SnapshotStore
from kale_nb.volumes.trees import remove_tree

BARS = {
    ("kale", "first"): (3.0, 3.0),
    ("kale", "unchanged"): (0.25, 0.35),
    ("kale", "3 changed"): (0.4, 0.5),
    ("kale", "clone"): (1.0, 1.2),
}
"""Most that a ratio to cp may be: where blocks are copied, where they are shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One piece of work on one tree; seconds of each turn."""

    disk: str
    files: int
    side: str
    work: str
    wall: list[float]
    cpu: list[float]


def grow(folder: Path, files: int, seed: int = 1) -> None:
    """Make a tree of so many files, most of them small, as a virtual environment or a folder of samples is."""
    luck = random.Random(seed)
    sizes = [100, 500, 1000, 3000, 8000, 20_000]
    for number in range(files):
        place = folder / f"p{number // 1000}" / f"m{number // 10 % 100}"
        place.mkdir(parents=True, exist_ok=True)
        size = 2_000_000 if number % 2000 == 7 else luck.choice(sizes)
        (place / f"f{number}.py").write_bytes(luck.randbytes(size))


def change(folder: Path, turn: int) -> None:
    """Change three files."""
    for path in sorted(folder.glob("p0/m1/*"))[:3]:
        path.write_bytes(f"turn {turn}".encode() * 100)


class Turn:
    """Measures the work of one turn."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], tuple[float, float]] = {}

    def time(self, side: str, work: str, do: Callable[[], object]) -> None:
        """Do one piece of work and keep what it took, children included."""
        before, began = _cpu(), time.perf_counter()
        do()
        self.times[side, work] = (time.perf_counter() - began, _cpu() - before)


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(*command: str | Path) -> None:
    """Run a command quietly."""
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def one_turn(root: Path, turn: int, *, shares: bool) -> Turn:
    """Do all the work of all sides once on `root/w`."""
    source, out = root / "w", root / "out"
    out.mkdir()
    told = Turn()
    copy: tuple[str, ...] = ("cp", "-a", "--reflink=always" if shares else "--reflink=never")
    store = SnapshotStore(out / "store", Policy(max_bytes=1 << 50, max_files=1 << 30))
    git = ("git", "--git-dir", str(out / "git"), "--work-tree", str(source), "-c", "core.autocrlf=false", "-c", "gc.auto=0")
    run("git", "init", "-q", "--bare", out / "git")
    commit = (*git, "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x")

    def add() -> None:
        run(*git, "add", "-A", ".")
        run(*commit)

    link = ("rsync", "-a", f"{source}/")
    told.time("cp", "first", lambda: run(*copy, source, out / "cp1"))
    told.time("kale", "first", lambda: store.snapshot(source))
    told.time("git", "first", add)
    told.time("rsync", "first", lambda: run(*link, out / "rsync1"))
    time.sleep(0.1)
    store.snapshot(source)  # so that nothing is as new as the scan
    told.time("cp", "unchanged", lambda: run(*copy, source, out / "cp2"))
    told.time("kale", "unchanged", lambda: store.snapshot(source))
    told.time("git", "unchanged", add)
    told.time("rsync", "unchanged", lambda: run(*link, f"--link-dest={out / 'rsync1'}", out / "rsync2"))
    change(source, turn)
    told.time("cp", "3 changed", lambda: run(*copy, source, out / "cp3"))
    told.time("kale", "3 changed", lambda: store.snapshot(source))
    told.time("git", "3 changed", add)
    told.time("rsync", "3 changed", lambda: run(*link, f"--link-dest={out / 'rsync2'}", out / "rsync3"))
    made = store.snapshot(source)
    (out / "checkout").mkdir()
    checkout = (
        "git",
        "--git-dir",
        str(out / "git"),
        "--work-tree",
        str(out / "checkout"),
        "checkout",
        "-q",
        "-f",
        "HEAD",
        "--",
        ".",
    )
    told.time("cp", "clone", lambda: run(*copy, source, out / "cp4"))
    told.time("kale", "clone", lambda: store.clone(made, out / "clone"))
    told.time("git", "clone", lambda: run(*checkout))
    told.time("rsync", "clone", lambda: run(*link, out / "rsync4"))
    told.time("kale", "second clone", lambda: store.clone(made, out / "clone2"))
    told.time("kale", "third clone", lambda: store.clone(made, out / "clone3"))
    out.rename(root / f"out{turn}")  # kept: an ext4 takes minutes to forget what was removed
    return told


def compare(disk: str, root: Path, files: int, repeat: int, *, shares: bool) -> list[Measured]:
    """Measure all sides on a tree of so many files."""
    remove_tree(root)
    (root / "w").mkdir(parents=True)
    grow(root / "w", files)
    os.sync()
    turns = [one_turn(root, turn, shares=shares).times for turn in range(repeat)]
    remove_tree(root)
    keys = list(turns[0])
    return [
        Measured(
            disk=disk,
            files=files,
            side=side,
            work=work,
            wall=[t[side, work][0] for t in turns],
            cpu=[t[side, work][1] for t in turns],
        )
        for side, work in keys
    ]


def space(disk: str, root: Path, files: int) -> None:
    """Tell what a clone that shares blocks takes on the disk, beside what `cp --reflink` takes for the same."""
    remove_tree(root)
    (root / "w").mkdir(parents=True)
    grow(root / "w", files)
    store = SnapshotStore(root / "store", Policy(max_bytes=1 << 50))
    used = [_used(root)]
    for work in (
        lambda: run("cp", "-a", "--reflink=always", root / "w", root / "cp"),
        lambda: store.snapshot(root / "w"),
        lambda: store.clone(store.list()[0], root / "clone"),
        lambda: store.clone(store.list()[0], root / "clone2"),
        lambda: store.clone(store.list()[0], root / "clone3"),
    ):
        work()
        used.append(_used(root))
    cp, *ours = (after - before for before, after in itertools.pairwise(used))
    told = ", ".join(
        f"{name} {size:,} ({size / cp:.2f})"
        for name, size in zip(("store", "clone", "second clone", "third clone"), ours, strict=True)
    )
    print(f"{disk}, {files:,} files: bytes on the disk (ratio to cp --reflink): cp {cp:,}, {told}")
    remove_tree(root)


def _used(folder: Path) -> int:
    run("sync", "-f", folder)
    room = os.statvfs(folder)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def sparse(disk: str, root: Path, gigabytes: int, *, shares: bool) -> list[Measured]:
    """Measure one large file that is nearly all hole."""
    remove_tree(root)
    (root / "w").mkdir(parents=True)
    with (root / "w/sparse").open("wb") as file:
        for number in range(10):
            file.seek(number * gigabytes * 100_000_000)
            file.write(b"data" * 1000)
        file.truncate(gigabytes * 1_000_000_000)
    store = SnapshotStore(root / "store", Policy(max_bytes=1 << 50))
    told = Turn()
    time.sleep(0.1)
    told.time("cp", "first", lambda: run("cp", "-a", f"--reflink={'always' if shares else 'never'}", root / "w", root / "cp"))
    told.time("kale", "first", lambda: store.snapshot(root / "w"))
    told.time("kale", "unchanged", lambda: store.snapshot(root / "w"))
    made = store.list()[0]
    told.time("kale", "clone", lambda: store.clone(made, root / "clone"))
    blocks = (root / "clone/sparse").stat().st_blocks * 512
    print(f"{disk}: the clone of the {gigabytes} GB sparse file takes {blocks:,} bytes on the disk")
    remove_tree(root)
    return [
        Measured(disk=disk, files=1, side=side, work=work, wall=[wall], cpu=[cpu])
        for (side, work), (wall, cpu) in told.times.items()
    ]


@contextlib.contextmanager
def loop_disk(kind: str, scratch: Path, size: str) -> Iterator[Path]:
    """Mount a new file system from an image file."""
    image, folder = scratch / f"{kind}.img", scratch / kind
    folder.mkdir(exist_ok=True)
    run("truncate", "-s", size, image)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    run("mount", "-o", "loop", image, folder)
    try:
        yield folder
    finally:
        run("umount", "-l", folder)
        image.unlink()


def show(measured: list[Measured]) -> None:
    """Print a table for each disk and size."""
    for disk, files in dict.fromkeys((m.disk, m.files) for m in measured):
        rows = [m for m in measured if (m.disk, m.files) == (disk, files)]
        base = {m.work: m for m in rows if m.side == "cp"}
        print(f"\n{disk}, {files:,} {'file' if files == 1 else 'files'}: wall seconds (ratio to cp: wall, CPU)")
        works = list(dict.fromkeys(m.work for m in rows))
        print(f"{'':<7}" + "".join(f"{work:>21}" for work in works))
        for side in dict.fromkeys(m.side for m in rows):
            cells = []
            for work in works:
                found = next((m for m in rows if (m.side, m.work) == (side, work)), None)
                cells.append("" if found is None else f"{statistics.median(found.wall):.3f} {spell(ratios(found, base)):>13}")
            print(f"{side:<7}" + "".join(f"{cell:>21}" for cell in cells))


def show_bars(measured: list[Measured]) -> None:
    """Print what each ratio may be at most, and what it is."""
    print("\nbars: ratio to cp, wall and CPU, of at most")
    for found in measured:
        bar = BARS.get((found.side, found.work))
        base = {m.work: m for m in measured if (m.disk, m.files, m.side) == (found.disk, found.files, "cp")}
        told = ratios(found, base)
        if bar is None or told is None or found.files == 1:
            continue
        most = bar[found.disk in ("xfs", "btrfs")]
        held = "holds" if told[0] <= most else "holds in CPU" if told[1] <= most else "DOES NOT HOLD"
        print(f"{found.disk:<6} {found.files:>7,} files  {found.work:<10} {most:.2f}: {spell(told)} {held}")


def spell(told: tuple[float, float] | None) -> str:
    """Spell ratios of wall and CPU time."""
    return "" if told is None else f"({told[0]:.2f}, {told[1]:.2f})"


def ratios(found: Measured, base: dict[str, Measured]) -> tuple[float, float] | None:
    """Return the medians of the ratios to cp in the same turn: of wall and of CPU time."""
    work = "clone" if found.work.endswith(" clone") else found.work
    against = base.get({"unchanged": "first"}.get(work, work)) if len(found.wall) == 1 else None
    against = against or base.get(work)
    if against is None or against is found:
        return None if against is None else (1.0, 1.0)
    wall = statistics.median(a / b for a, b in zip(found.wall, against.wall, strict=True))
    return wall, statistics.median(a / max(b, 1e-3) for a, b in zip(found.cpu, against.cpu, strict=True))


def measure(args: argparse.Namespace, home: Path) -> Iterator[list[Measured]]:
    """Do all that is asked for, and yield what was measured, disk by disk."""
    disks = ("ext4", "xfs", "btrfs") if args.disks else ()
    for files in (int(n) for n in args.files.split(",")):
        repeat = args.repeat if files < 50_000 else 1
        if not args.disks:
            yield compare(_kind(home), home / "here", files, repeat, shares=False)
        for kind in disks:
            with loop_disk(kind, home, f"{2 + files * 16_384 * 16 * repeat // 10**9}G") as folder:
                yield compare(kind, folder / "b", files, repeat, shares=kind != "ext4")
    for kind in disks[1:]:
        with loop_disk(kind, home, "2G") as folder:
            space(kind, folder / "b", 2000)
    if args.sparse and not args.disks:
        yield sparse(_kind(home), home / "here", args.sparse, shares=False)
    for kind in disks if args.sparse else ():
        with loop_disk(kind, home, "4G") as folder:
            yield sparse(kind, folder / "b", args.sparse, shares=kind != "ext4")


def main() -> int:
    parser = argparse.ArgumentParser(description="Snapshots and clones beside cp, git and rsync.")
    parser.add_argument("--files", default="1000", help="sizes of the trees (default 1000)")
    parser.add_argument("--sparse", type=int, default=0, help="also a sparse file of so many GB")
    parser.add_argument("--repeat", type=int, default=3, help="turns (default 3)")
    parser.add_argument("--disks", action="store_true", help="on a new ext4, xfs and btrfs each, on loop images (root)")
    parser.add_argument("--where", type=Path, help="folder to work in (default the system's temporary one)")
    parser.add_argument("--json", type=Path, help="also write every measurement here")
    parser.add_argument("--plot", type=Path, help="also draw the growth as SVG")
    args = parser.parse_args()
    measured: list[Measured] = []
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians of {args.repeat} interleaved turns")
    with tempfile.TemporaryDirectory(prefix="kale-bench-", dir=args.where) as scratch:
        for found in measure(args, Path(scratch)):
            measured += found
            show(found)
            sys.stdout.flush()
            if args.json is not None:
                args.json.write_text(json.dumps([asdict(m) for m in measured], indent=1))
            if args.plot is not None and any(m.files > 1 for m in measured):
                args.plot.write_text(plot([asdict(m) for m in measured]), encoding="utf-8")
    show_bars(measured)
    return 0


def _kind(folder: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True)
    return {"ext2/ext3": "ext4"}.get(done.stdout.strip(), done.stdout.strip())


if __name__ == "__main__":
    if shutil.which("rsync") is None or shutil.which("git") is None:
        sys.exit("rsync and git are needed")
    sys.exit(main())
