"""`kale snapshots`: list, show, verify, pin and unpin snapshots of this machine; list and show those on a cluster."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kale_nb.cli.cluster_options import add_cluster_options
from kale_nb.cli.options import add_places
from kale_nb.errors import UsageError, VolumeError
from kale_nb.report.style import Style, date, duration, short, table
from kale_nb.sizes import size

if TYPE_CHECKING:
    from kale_nb.runs.store import Store
    from kale_nb.volumes import Damage, Snapshot, SnapshotStore


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "action", metavar="ACTION", nargs="?", default="list", choices=("list", "show", "verify", "pin", "unpin"),
        help="list (the default), show, verify (read every content and compare), pin (never remove), unpin",
    )  # fmt: skip
    parser.add_argument(
        "ids", metavar="ID", nargs="*", help="beginnings of snapshot ids, or runs, which stand for the snapshots that they use"
    )
    parser.add_argument("--quick", action="store_true", help="verify: only whether all is there, without reading contents")
    parser.add_argument("--json", action="store_true", help="JSON for tools")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--engine",
        choices=("local", "kfp"),
        default="local",
        help="this machine's (local, the default), or what kale made on a cluster",
    )
    where.add_argument("--kfp", dest="engine", action="store_const", const="kfp", help="those on a cluster: --engine kfp")
    add_places(parser)
    add_cluster_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if args.engine == "kfp":
        from kale_nb.cli.cluster_snapshots import run as run_on_cluster

        return run_on_cluster(args)
    for name in ("namespace", "kubeconfig", "context"):
        if getattr(args, name):
            raise UsageError(f"--{name} is for snapshots on a cluster", hint="add --engine kfp, or leave it out")
    from kale_nb.cli.kept_runs import run_store
    from kale_nb.runs.store import snapshot_folder
    from kale_nb.volumes import SnapshotStore

    runs = run_store(args.workspace, args.runs_dir)
    shelf = _Shelf(runs, SnapshotStore(snapshot_folder(runs.root)), Style(sys.stdout), json=args.json)
    if args.action in ("show", "pin", "unpin") and not args.ids:
        raise UsageError(f"kale snapshots {args.action} needs the id of a snapshot or of a run")
    match args.action:
        case "list":
            return shelf.tell(args.ids)
        case "show":
            return shelf.show(args.ids)
        case "verify":
            return shelf.verify(args.ids, deep=not args.quick)
        case _:
            return shelf.pin(args.ids, keep=args.action == "pin")


class _Shelf:
    def __init__(self, runs: Store, store: SnapshotStore, style: Style, *, json: bool) -> None:
        self._runs = runs
        self._store = store
        self._style = style
        self._json = json

    def tell(self, ids: Sequence[str]) -> int:
        shown = [self._store.find(id) for id in self._meant(ids)] if ids else [*self._store.list()]
        users, pins = self._users(), self._store.pinned()
        alone = self._store.gc(dry_run=True).per_snapshot
        if self._json:
            told = [self._to_json(made, users, pins, alone) for made in shown]
            print(json.dumps(told, indent=2))
        elif not shown:
            print(f"no snapshots in {self._store.directory}")
        else:
            heads = ("snapshot", "taken", "files", "size", "alone", "of", "used by")
            rows = [self._row(made, users, pins, alone) for made in shown]
            print("\n".join(table([heads, *rows], right=(2, 3, 4), indent="")))
        return 0

    def show(self, ids: Sequence[str]) -> int:
        users, pins = self._users(), self._store.pinned()
        alone = self._store.gc(dry_run=True).per_snapshot
        for number, id in enumerate(self._meant(ids)):
            made = self._store.find(id)
            entries = [entry for entry in self._store.entries(made) if entry.kind != "folder"]
            if self._json:
                files = [
                    {"path": e.path, "kind": e.kind, "size": e.size, "sha256": e.sha256, "target": e.target} for e in entries
                ]
                print(json.dumps({**self._to_json(made, users, pins, alone), "entries": files}, indent=2))
                continue
            from kale_nb.volumes.scan import printable

            facts = [("snapshot", made.id), ("content", made.content_id), ("of", printable(str(made.source)))]
            facts += [("first taken", date(made.created)), ("last taken", f"{date(made.taken)} in {duration(made.seconds)}")]
            facts += [("files", f"{made.files}, {size(made.size)}, {size(alone.get(made.id, 0))} of it in no other snapshot")]
            facts += [("note", made.note)] if made.note else []
            facts += [("pinned", "yes")] if made.id in pins else []
            facts += [("used by", run) for run in users.get(made.id, ())]
            facts += [("left out", line) for line in made.skipped]
            facts += [("warning", line) for line in made.warnings]
            rows = [
                (printable(e.path), size(e.size) if e.kind == "file" else f"-> {printable(e.target)}", short(e.sha256))
                for e in entries
            ]
            print("\n".join([*([""] if number else []), *table(facts, indent=""), *table(rows, right=(1,))]))
        return 0

    def verify(self, ids: Sequence[str], *, deep: bool) -> int:
        wanted = self._meant(ids) if ids else None
        found = self._store.verify(wanted, deep=deep)
        users = self._users()
        if self._json:
            print(json.dumps([self._damage_to_json(damage, users) for damage in found], indent=2))
        else:
            count = len(wanted if wanted is not None else self._store.list())
            print(
                "\n".join([*self._damage_lines(found, users), f"{count} snapshot{'' if count == 1 else 's'}: {_verdict(found)}"])
            )
        return 1 if any(not damage.healed for damage in found) else 0

    def pin(self, ids: Sequence[str], *, keep: bool) -> int:
        from kale_nb.results.weighing import PINNED

        for text in ids:
            run = self._run(text)
            if run is not None:
                if keep:
                    (run / PINNED).touch()
                else:
                    (run / PINNED).unlink(missing_ok=True)
            for id in self._meant([text]):
                if keep:
                    self._store.pin(id)
                else:
                    self._store.unpin(id)
                print(f"{'pinned' if keep else 'unpinned'} {short(id)}{f' and run {run.name}' if run is not None else ''}")
        return 0

    def _meant(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the ids of the snapshots that the texts mean."""
        from kale_nb.results.kept import all_snapshots
        from kale_nb.runs.store import read_record

        found: dict[str, None] = {}
        for text in ids:
            run = self._run(text)
            if run is None:
                found[self._store.find(text.removeprefix("sha256:")).id] = None
                continue
            record = read_record(run)
            used = all_snapshots(record)
            if not used:
                raise VolumeError(f"the run {record.id} kept no snapshots")
            found.update(dict.fromkeys(sorted(used)))
        return tuple(found)

    def _run(self, text: str) -> Path | None:
        """Return the folder of the run that a text means; None when it means none and may mean a snapshot."""
        if all(c in "0123456789abcdef" for c in text.removeprefix("sha256:")):
            with contextlib.suppress(VolumeError):
                self._store.find(text.removeprefix("sha256:"))
                return None
            with contextlib.suppress(UsageError):
                return self._runs.find(text).directory
            return None
        return self._runs.find(text).directory

    def _users(self) -> dict[str, Sequence[str]]:
        from kale_nb.results.kept import all_snapshots

        users: dict[str, list[str]] = {}
        for record in self._runs.records():
            for id in all_snapshots(record):
                users.setdefault(id, []).append(record.id)
        return {id: tuple(runs) for id, runs in users.items()}

    def _row(
        self, made: Snapshot, users: Mapping[str, Sequence[str]], pins: frozenset[str], alone: Mapping[str, int]
    ) -> tuple[str, ...]:
        from kale_nb.report.summary import near

        using = users.get(made.id, ())
        who = using[-1] if using else "no run"
        if len(using) > 1:
            who = f"{who} and {len(using) - 1} more"
        if made.id in pins:
            who = f"{who}, pinned"
        sizes = (str(made.files), size(made.size), size(alone.get(made.id, 0)))
        return (short(made.id), date(made.taken), *sizes, near(made.source), who)

    def _to_json(
        self, made: Snapshot, users: Mapping[str, Sequence[str]], pins: frozenset[str], alone: Mapping[str, int]
    ) -> dict[str, object]:
        return {
            "id": made.id,
            "content_id": made.content_id,
            "source": str(made.source),
            "files": made.files,
            "size": made.size,
            "alone": alone.get(made.id, 0),
            "created": made.created,
            "taken": made.taken,
            "note": made.note,
            "pinned": made.id in pins,
            "skipped": list(made.skipped),
            "warnings": list(made.warnings),
            "runs": list(users.get(made.id, ())),
        }

    def _damage_lines(self, found: Sequence[Damage], users: Mapping[str, Sequence[str]]) -> list[str]:
        lines = []
        for damage in found:
            state = self._style.paint("healed", "green") if damage.healed else self._style.paint("damaged", "bold", "red")
            lines.append(f"{state} {short(damage.sha256)}: {damage.reason}")
            for id in damage.snapshots:
                lines.append(f"  snapshot {short(id)}")
                lines.extend(f"    run {run}" for run in users.get(id, ()))
        return lines

    def _damage_to_json(self, damage: Damage, users: Mapping[str, Sequence[str]]) -> dict[str, object]:
        runs = sorted({run for id in damage.snapshots for run in users.get(id, ())})
        told = {"sha256": damage.sha256, "reason": damage.reason, "healed": damage.healed}
        return {**told, "snapshots": [*damage.snapshots], "runs": runs}


def _verdict(found: Sequence[Damage]) -> str:
    bad = sum(not damage.healed for damage in found)
    healed = len(found) - bad
    parts = [f"{bad} damaged"] if bad else []
    parts += [f"{healed} healed"] if healed else []
    return ", ".join(parts) or "whole"
