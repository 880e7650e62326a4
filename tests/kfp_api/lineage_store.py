"""ML Metadata as the user interface's server passes it on: gRPC-web, with messages that protobuf's own library writes and reads.

Field numbers: ml_metadata/proto/metadata_store.proto and metadata_store_service.proto.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_KINDS = {"int64": 3, "double": 1, "string": 9, "bool": 8, "int32": 5}
_MESSAGES: dict[str, list[tuple[str, int, str]]] = {
    "Value": [("int_value", 1, "int64"), ("double_value", 2, "double"), ("string_value", 3, "string"), ("bool_value", 6, "bool")],
    "Entry": [("key", 1, "string"), ("value", 2, "Value")],
    "Artifact": [("id", 1, "int64"), ("type_id", 2, "int64"), ("uri", 3, "string"), ("custom_properties", 5, "*Entry"), ("name", 7, "string")],
    "Execution": [("id", 1, "int64"), ("custom_properties", 5, "*Entry")],
    "Context": [("id", 1, "int64"), ("name", 3, "string")],
    "ListOperationOptions": [("max_result_size", 1, "int32"), ("next_page_token", 3, "string")],
    "GetContextByTypeAndNameRequest": [("type_name", 1, "string"), ("context_name", 2, "string")],
    "GetContextByTypeAndNameResponse": [("context", 1, "Context")],
    "GetArtifactsByContextRequest": [("context_id", 1, "int64"), ("options", 2, "ListOperationOptions")],
    "GetArtifactsByContextResponse": [("artifacts", 1, "*Artifact"), ("next_page_token", 2, "string")],
    "GetExecutionsByContextRequest": [("context_id", 1, "int64"), ("options", 2, "ListOperationOptions")],
    "GetExecutionsByContextResponse": [("executions", 1, "*Execution"), ("next_page_token", 2, "string")],
}  # fmt: skip


@functools.cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="mlmd_test.proto", package="ml_metadata_test", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated, kind = kind.startswith("*"), kind.lstrip("*")
            made = message.field.add(name=field, number=number, label=3 if repeated else 1, type=_KINDS.get(kind, 11))
            if kind not in _KINDS:
                made.type_name = f".ml_metadata_test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ml_metadata_test.{name}")) for name in _MESSAGES}


class LineageStore:
    """Contexts by the run's id, with artifacts and executions. `page` is the most that one answer holds."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.artifacts: dict[str, list[dict[str, Any]]] = {}
        self.executions: dict[str, list[dict[str, Any]]] = {}
        self.page = 2

    def add_artifact(self, run: str, uri: str, properties: dict[str, Any]) -> None:
        self._know(run)
        self.artifacts.setdefault(run, []).append({"uri": uri, "properties": properties})

    def add_execution(self, run: str, properties: dict[str, Any]) -> None:
        self._know(run)
        self.executions.setdefault(run, []).append({"properties": properties})

    def _know(self, run: str) -> None:
        if run not in self.runs:
            self.runs.append(run)

    def call(self, method: str, body: bytes) -> bytes:
        """Answer a gRPC-web request: frames of the message and of the outcome."""
        flags, length = struct.unpack(">BI", body[:5])
        assert flags == 0
        assert len(body) == 5 + length
        request = _classes()[f"{method}Request"].FromString(body[5:])
        answer = _classes()[f"{method}Response"]()
        match method:
            case "GetContextByTypeAndName":
                assert request.type_name == "system.PipelineRun"
                if request.context_name in self.runs:
                    answer.context.id = self.runs.index(request.context_name) + 300
                    answer.context.name = request.context_name
            case "GetArtifactsByContext":
                self._fill(answer, answer.artifacts, self.artifacts, request)
            case "GetExecutionsByContext":
                self._fill(answer, answer.executions, self.executions, request)
        data = answer.SerializeToString()
        trailer = b"grpc-status:0\r\ngrpc-message:OK\r\n"
        return struct.pack(">BI", 0, len(data)) + data + struct.pack(">BI", 0x80, len(trailer)) + trailer

    def _fill(self, answer: Any, into: Any, kept: dict[str, list[dict[str, Any]]], request: Any) -> None:
        rows = kept.get(self.runs[request.context_id - 300], [])
        start = int(request.options.next_page_token or 0)
        size = min(self.page, request.options.max_result_size or 20)
        for number, row in enumerate(rows[start : start + size], start + 1):
            made = into.add(id=number)
            if "uri" in row:
                made.uri = row["uri"]
            for key, value in row["properties"].items():
                entry = made.custom_properties.add(key=key)
                if isinstance(value, bool):
                    entry.value.bool_value = value
                elif isinstance(value, int):
                    entry.value.int_value = value
                elif isinstance(value, float):
                    entry.value.double_value = value
                else:
                    entry.value.string_value = str(value)
        if start + size < len(rows):
            answer.next_page_token = str(start + size)
