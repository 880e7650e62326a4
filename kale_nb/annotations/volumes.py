"""Data volumes as people spell them on one line: `--volume ./data:/data:ro`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from kale_nb.annotations.asks import QUANTITY
from kale_nb.pipeline.model import Volume
from kale_nb.pipeline.volumes import shortest

KINDS = {"pv": "pv", "pvc": "pvc", "new_pvc": "new", "new": "new", "clone": "clone", "snap": "snap"}
ACCESS = {"rwo": "ReadWriteOnce", "rwm": "ReadWriteMany", "rwx": "ReadWriteMany", "rom": "ReadOnlyMany", "rox": "ReadOnlyMany"}
"""Access modes as Kale's JupyterLab panel and others shorten them."""
_KEYS = ("name", "mount", "size", "type", "snapshot", "read-only", "source", "sub-path", "storage-class", "access-mode")
_TRUTH = {"true": True, "yes": True, "on": True, "enabled": True, "false": False, "no": False, "off": False, "disabled": False}
UNCLONED = {"new": "a new volume begins empty", "pv": "a persistent volume is mounted as it is"}
"""Kinds of volumes of which no clone is made, and why."""
SHAPES = "write `--volume ./data:/data`, `--volume ./data:/data:ro` or `--volume scratch:/scratch:5Gi`"


def truth(text: str) -> bool | None:
    """Read a yes or no."""
    return _TRUTH.get(text.strip().lower())


def leads_out(sub_path: str) -> bool:
    """Tell whether a folder in a volume is spelled with `..`, which Kubernetes does not take and which may lead out of the volume.

    >>> leads_out("../other"), leads_out("a..b/c")
    (True, False)
    """
    return ".." in sub_path.split("/")


def is_folder(text: str) -> bool:
    """Tell whether what stands before a volume's mount point is a folder of this machine rather than a name.

    >>> is_folder("./data"), is_folder("~/data"), is_folder("/data"), is_folder("some/data"), is_folder("data")
    (True, True, True, True, False)
    """
    return "/" in text or text.startswith((".", "~"))


def name_of_folder(folder: str) -> str:
    """Return the name of a volume that is this folder: its last part, as Kubernetes would have it.

    >>> name_of_folder("../Training Data/"), name_of_folder("..")
    ('training-data', 'data')
    """
    last = PurePosixPath(folder).name
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:63].strip("-") or "data"


def read_volume(text: str) -> Volume | str:
    """Read `--volume`; else say what is wrong with it.

    `./folder:/path` is a folder of this machine, `NAME:/path` a volume called NAME; `:ro` and a size such as `:5Gi` may follow. Or all of
    it in words: `name=..,mount=..,source=..,size=..,type=..`.

    >>> read_volume("data:/data:5Gi").size, read_volume("../my data:/data:ro").source
    ('5Gi', '../my data')
    """
    fields = _in_words(text) if re.match(r"[\w-]+=", text) else _in_short(text)
    fields["mount"] = fields.pop("mount-point", fields.get("mount", ""))
    unknown = next((key for key in fields if key not in _KEYS), None)
    if unknown is not None:
        return f"`{unknown}` is no property of a volume"
    if "name" not in fields and fields.get("source"):
        fields["name"] = name_of_folder(fields["source"])
    if not fields.get("name") or not fields["mount"].startswith("/"):
        return "a volume needs a name (or a folder) and an absolute path to mount it at"
    if "size" in fields and not QUANTITY.fullmatch(fields["size"]):
        return f"`{fields['size']}` is no size"
    if fields.get("type", "new") not in KINDS:
        return f"`{fields['type']}` is no type of volume ({', '.join(KINDS)})"
    unclear = next((key for key in ("snapshot", "read-only") if key in fields and truth(fields[key]) is None), None)
    if unclear is not None:
        return f"`{unclear}` is yes or no, not `{fields[unclear]}`"
    kind, cloned = KINDS[fields.get("type", "new")], truth(fields.get("snapshot", "no")) is True
    if cloned and kind in UNCLONED:
        return f"`snapshot` has no meaning for it: {UNCLONED[kind]}"
    if leads_out(fields.get("sub-path", "")):
        return f"the folder `{fields['sub-path']}` is not in the volume"
    access = fields.get("access-mode")
    return Volume(
        name=fields["name"],
        mount_point=shortest(fields["mount"]),
        size=fields.get("size"),
        kind=kind,
        snapshot=cloned,
        read_only=truth(fields.get("read-only", "no")) is True,
        source=fields.get("source") or None,
        sub_path=fields.get("sub-path") or None,
        storage_class=fields.get("storage-class") or None,
        access_mode=None if access is None else ACCESS.get(access.lower(), access),
    )


def read_folder(text: str) -> tuple[str, str] | None:
    """Read `NAME=./folder`, which gives a volume that the pipeline has a folder of this machine; None when it is something else.

    >>> read_folder("data=./my data"), read_folder("./data:/data"), read_folder("name=a,mount=/b")
    (('data', './my data'), None, None)
    """
    name, equals, folder = text.partition("=")
    if (
        not equals
        or ":/" in text
        or "," in text
        or "=" in folder
        or not folder
        or name in ("name", "mount", "mount-point", "source")
    ):
        return None
    return (name, folder) if re.fullmatch(r"[\w.-]+", name) else None


def _in_short(text: str) -> dict[str, str]:
    first, _, rest = text.partition(":")
    mount, *extras = rest.split(":")
    fields = {"source": first} if is_folder(first) else {"name": first}
    fields["mount"] = mount
    for extra in extras:
        fields["read-only" if extra in ("ro", "rw") else "size"] = {"ro": "true", "rw": "false"}.get(extra, extra)
    return fields


def _in_words(text: str) -> dict[str, str]:
    fields = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        fields[key.strip().lower().replace("_", "-")] = value.strip() if equals else "true"
    return fields
