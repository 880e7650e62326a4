"""What a run left: artifacts and pods, as the metadata store behind the user interface knows them.

Backends of 2.x tell neither over their REST API: metrics are properties of artifacts in ML Metadata, and files are in the object store. The
user interface's server passes on both: gRPC-web to the store (ml_metadata.MetadataStoreService; field numbers as in
ml_metadata/proto/metadata_store.proto and metadata_store_service.proto) and the files at `/artifacts/get`. Only the few messages that are
needed are written and read here, so that no gRPC library is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from kale_nb.engines.kfp.submission.client import Client
from kale_nb.engines.kfp.submission.problems import ServerError

_SERVICE = "/ml_metadata.MetadataStoreService/"
_CONTEXT = "system.PipelineRun"
_SOURCES = {"minio": "minio", "s3": "s3", "gs": "gcs"}
_PAGE = 100

Value = int | float | str | bool
Fields = Mapping[int, list[int | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a task left.

    Attributes:
        task, name: of the task and of its output, as the address of the file says them.
        properties: what the task said of it; of metrics, the metrics.
    """

    task: str
    name: str
    uri: str
    properties: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a run left.

    Attributes:
        pods: name of the last pod of each task.
        roots: folder of each task's files in the object store.
    """

    artifacts: tuple[Artifact, ...]
    pods: Mapping[str, str]

    def of(self, task: str, name: str) -> Artifact | None:
        """Return the newest artifact of that name that a task left."""
        found = [artifact for artifact in self.artifacts if (artifact.task, artifact.name) == (task, name)]
        return found[-1] if found else None


def read_lineage(client: Client, run_id: str) -> Lineage:
    """Ask the metadata store what a run left. ServerError when it cannot be asked."""
    request = _text(1, _CONTEXT) + _text(2, run_id)
    context = _first(_call(client, "GetContextByTypeAndName", request), 1)
    if not isinstance(context, bytes):
        return Lineage(artifacts=(), pods={})
    number = _first(_fields(context), 1)
    assert isinstance(number, int)
    artifacts = [_artifact(_fields(body), run_id) for body in _all(client, "GetArtifactsByContext", number)]
    pods: dict[str, str] = {}
    for body in _all(client, "GetExecutionsByContext", number):
        said = _values(_fields(body).get(5, []))
        task, pod = said.get("task_name"), said.get("pod_name")
        if task and pod:
            pods[str(task)] = str(pod)
    return Lineage(artifacts=tuple(artifact for artifact in artifacts if artifact is not None), pods=pods)


def read_artifact(client: Client, uri: str) -> bytes:
    """Return the content of a file in the object store. ServerError when it cannot be had."""
    parts = urlsplit(uri)
    if parts.scheme not in _SOURCES:
        raise ServerError(f"{uri} is in a store that the user interface does not read")
    query = {"source": _SOURCES[parts.scheme], "bucket": parts.netloc, "key": parts.path.lstrip("/")}
    if client.address.namespace:
        query["namespace"] = client.address.namespace
    return _page(client, f"/artifacts/get?{urlencode(query)}")


def read_log(client: Client, run_id: str, pod: str) -> bytes:
    """Return what a pod printed. ServerError when it cannot be had."""
    query = {"podname": pod, "runid": run_id, "podnamespace": client.address.namespace or ""}
    return _page(client, f"/k8s/pod/logs?{urlencode({k: v for k, v in query.items() if v})}")


def _page(client: Client, path: str) -> bytes:
    answer = client.ask("GET", f"{client.address.ui}{path}")
    if answer.status != 200:
        raise ServerError(
            f"{client.address.ui} does not hand out {path.partition('?')[0]} (HTTP {answer.status})", status=answer.status
        )
    return answer.data


def _artifact(said: Fields, run_id: str) -> Artifact | None:
    uri = _first(said, 3)
    if not isinstance(uri, bytes):
        return None
    text = uri.decode("utf-8", "replace")
    _, found, rest = text.partition(f"/{run_id}/")
    parts = rest.split("/")
    if not found or len(parts) < 2:
        return None
    return Artifact(task=parts[0], name=parts[-1], uri=text, properties=_values(said.get(5, [])))


def _all(client: Client, method: str, context: int) -> Iterator[bytes]:
    """Give every object of a context, page by page."""
    token = b""
    while True:
        options = _number(1, _PAGE) + (_bytes(3, token) if token else b"")
        answer = _call(client, method, _number(1, context) + _bytes(2, options))
        yield from (body for body in answer.get(1, []) if isinstance(body, bytes))
        more = _first(answer, 2)
        if not isinstance(more, bytes) or not more:
            return
        token = more


def _call(client: Client, method: str, request: bytes) -> Fields:
    """Call the store by gRPC-web: a frame is a byte of flags, four of length, and the message; the last frame holds the outcome."""
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    answer = client.ask(
        "POST", f"{client.address.ui}{_SERVICE}{method}", data=struct.pack(">BI", 0, len(request)) + request, headers=headers
    )
    if answer.status != 200 or "grpc-web" not in answer.kind:
        raise ServerError(
            f"{client.address.ui} does not pass on to the metadata store (HTTP {answer.status})", status=answer.status
        )
    message, rest = b"", answer.data
    while len(rest) >= 5:
        flags, length = struct.unpack(">BI", rest[:5])
        frame, rest = rest[5 : 5 + length], rest[5 + length :]
        if not flags & 0x80:
            message += frame
        elif b"grpc-status:0" not in frame.replace(b" ", b"").lower():
            raise ServerError(f"the metadata store refuses {method}: {frame.decode('utf-8', 'replace').strip()[:300]}")
    return _fields(message)


# -- protocol buffers, as far as is needed: https://protobuf.dev/programming-guides/encoding/ ------------------------------


def _fields(data: bytes) -> dict[int, list[int | bytes]]:
    """Return a message's fields: varints and fixed numbers as integers, the rest as bytes. ServerError when it is damaged."""
    found: dict[int, list[int | bytes]] = {}
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            value: int | bytes
            match key & 7:
                case 0:
                    value, at = _varint(data, at)
                case 1:
                    (value,) = struct.unpack_from("<Q", data, at)
                    at += 8
                case 2:
                    length, at = _varint(data, at)
                    value, at = data[at : at + length], at + length
                    if at > len(data):
                        raise IndexError
                case 5:
                    (value,) = struct.unpack_from("<I", data, at)
                    at += 4
                case _:
                    raise IndexError
            found.setdefault(key >> 3, []).append(value)
    except (IndexError, struct.error):
        raise ServerError("what the metadata store says cannot be read") from None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _first(fields: Fields, number: int) -> int | bytes | None:
    return next(iter(fields.get(number, [])), None)


def _values(entries: list[int | bytes]) -> dict[str, Value]:
    """Return a map of property values: a map is a list of messages with a key and a value."""
    found: dict[str, Value] = {}
    for entry in entries:
        if not isinstance(entry, bytes):
            continue
        pair = _fields(entry)
        name, body = _first(pair, 1), _first(pair, 2)
        if isinstance(name, bytes) and isinstance(body, bytes):
            value = _value(_fields(body))
            if value is not None:
                found[name.decode("utf-8", "replace")] = value
    return found


def _value(said: Fields) -> Value | None:
    for number, (value, *_) in said.items():
        match number, value:
            case 1, int():
                return value - (1 << 64) if value >> 63 else value
            case 2, int():
                (real,) = struct.unpack("<d", struct.pack("<Q", value))
                return float(real)
            case 3, bytes():
                return value.decode("utf-8", "replace")
            case 6, int():
                return bool(value)
            case _:
                pass
    return None


def _number(field_number: int, value: int) -> bytes:
    return _spell(field_number << 3) + _spell(value)


def _bytes(field_number: int, value: bytes) -> bytes:
    return _spell(field_number << 3 | 2) + _spell(len(value)) + value


def _text(field_number: int, value: str) -> bytes:
    return _bytes(field_number, value.encode())


def _spell(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
