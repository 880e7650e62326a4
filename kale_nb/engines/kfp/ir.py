"""A plan as KFP v2 IR: one container component a step, the tasks that make and delete volumes, and the graph over them.

The form follows kfp 2.17's compiler, whose loader and backend read it; see pipeline_spec.proto of Kubeflow Pipelines. Three shapes:

- kept volumes: `create-*` tasks and the steps stand side by side at the root;
- deleted on success: `delete-*` tasks follow the last steps;
- deleted always: an exit task cannot take another task's output, and of two exit tasks behind one task the backend runs only one. So
  each claim has a pipeline of its own around what it serves, which takes the claim's name and ends with its deletion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kale_nb.engines.kfp.commands import arguments, command
from kale_nb.engines.kfp.creating import SCRIPT
from kale_nb.engines.kfp.kubernetes_config import executor_config, pod_config
from kale_nb.engines.kfp.plan import Claim, Origin, Plan
from kale_nb.engines.kfp.target import Cleanup
from kale_nb.engines.kfp.wires import wire_of
from kale_nb.names import kubernetes_name
from kale_nb.pipeline.model import Retry, Step, StepSettings

SCHEMA_VERSION = "2.1.0"
SDK_VERSION = "kfp-2.17.0"
"""The compiler whose form this is; readers know no other names."""
_OFF: dict[str, Any] = {"cachingOptions": {}}
_SCHEMAS = {"report": "system.HTML", "metrics": "system.Metrics", "data": "system.Artifact"}
_CREATES = {
    "access_modes": "LIST",
    "annotations": "STRUCT",
    "data_source": "STRUCT",
    "pvc_name_suffix": "STRING",
    "size": "STRING",
    "storage_class_name": "STRING",
    "volume_name": "STRING",
}


def documents(plan: Plan) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the pipeline spec, and the platform spec unless nothing needs one."""
    emitter = _Emitter(plan)
    emitter.emit()
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": emitter.platform}}}} if emitter.platform else None
    return emitter.spec(), platform


def outputs_of(plan: Plan, settings: StepSettings) -> tuple[str, ...]:
    """Return the artifacts that a step leaves."""
    report = ("report",) if settings.report is not False else ()
    return (*report, "metrics", *(("data",) if plan.data is None else ()))


class _Emitter:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.components: dict[str, Any] = {}
        self.executors: dict[str, Any] = {}
        self.platform: dict[str, Any] = {}
        self.wires = {param.name: wire_of(param) for param in plan.pipeline.params}
        self.root: dict[str, Any] = {}

    def spec(self) -> dict[str, Any]:
        pipeline = self.plan.pipeline
        info = {"name": kubernetes_name(pipeline.name), **({"description": pipeline.description} if pipeline.description else {})}
        root: dict[str, Any] = {"dag": {"tasks": self.root}}
        inputs = self._user_inputs() | self._our_inputs()
        if inputs:
            root["inputDefinitions"] = {"parameters": inputs}
        return {
            "components": self.components,
            "deploymentSpec": {"executors": self.executors},
            "pipelineInfo": info,
            "root": root,
            "schemaVersion": SCHEMA_VERSION,
            "sdkVersion": SDK_VERSION,
        }

    def emit(self) -> None:
        for claim in self.plan.claims:
            self.root[claim.task] = self._create(claim)
        if self.plan.target.cleanup is Cleanup.DELETE and self.plan.claims:
            self._wrap(list(self.plan.claims))
            return
        self.root |= self._steps(_output_of, [claim.task for claim in self.plan.claims])
        if self.plan.target.cleanup is Cleanup.DELETE_ON_SUCCESS:
            waited = {before for step in self.plan.pipeline.steps for before in step.after}
            last = [self.plan.tasks[s.name] for s in self.plan.pipeline.steps if s.name not in waited]
            for claim in self.plan.claims:
                self.root[claim.remover] = self._delete(claim, _output_of(claim), last)

    # -- volumes ----------------------------------------------------------------------------------------------------------

    def _create(self, claim: Claim) -> dict[str, Any]:
        name = "create-volume"
        if f"comp-{name}" not in self.components:
            inputs = {k: {"parameterType": kind, "isOptional": k not in ("access_modes", "size")} for k, kind in _CREATES.items()}
            self.components[f"comp-{name}"] = {
                "executorLabel": f"exec-{name}",
                "inputDefinitions": {"parameters": {k: _without_false(v) for k, v in inputs.items()}},
                "outputDefinitions": {"parameters": {"name": {"parameterType": "STRING"}}},
            }
            self.executors[f"exec-{name}"] = {"container": self._creator()}
            config = {} if self.plan.target.native_volumes else pod_config(self.plan, self.plan.pipeline.steps[0])
            if config:
                self.platform[f"exec-{name}"] = config
        given: dict[str, Any] = {
            "access_modes": _parent(claim.parameters["access_modes"]),
            "annotations": _parent(claim.parameters["annotations"]),
            "pvc_name_suffix": _constant(f"-{claim.task.removeprefix('create-').removesuffix('-volume')}"),
            "size": _parent(claim.parameters["size"]),
            "storage_class_name": _parent(claim.parameters["class"]),
        }
        if "source" in claim.parameters:
            given["data_source"] = _parent(claim.parameters["source"])
        if claim.origin is Origin.VOLUME:
            given["volume_name"] = _constant(claim.name)
        return {
            **_OFF,
            "componentRef": {"name": f"comp-{name}"},
            "inputs": {"parameters": given},
            "taskInfo": {"name": claim.task},
        }

    def _creator(self) -> dict[str, Any]:
        if self.plan.target.native_volumes:
            return {"image": "argostub/createpvc"}
        return {"image": self._image(self.plan.pipeline.steps[0]), "command": ["python3", "-c", SCRIPT], "args": ["{{$}}"]}

    def _image(self, step: Step) -> str:
        return step.settings.image or self.plan.pipeline.image or self.plan.target.image or ""

    def _delete(self, claim: Claim, reference: Mapping[str, Any], after: Iterable[str], **more: Any) -> dict[str, Any]:
        if "comp-delete-volume" not in self.components:
            self.components["comp-delete-volume"] = {
                "executorLabel": "exec-delete-volume",
                "inputDefinitions": {"parameters": {"pvc_name": {"parameterType": "STRING"}}},
            }
            self.executors["exec-delete-volume"] = {"container": {"image": "argostub/deletepvc"}}
        return {
            **_OFF,
            "componentRef": {"name": "comp-delete-volume"},
            "dependentTasks": list(after),
            "inputs": {"parameters": {"pvc_name": dict(reference)}},
            "taskInfo": {"name": claim.remover},
            **more,
        }

    def _wrap(self, claims: list[Claim]) -> None:
        """Put the steps into pipelines within pipelines, each of which deletes one claim at its end."""
        held = {_held(claim): {"parameterType": "STRING"} for claim in claims}
        inputs = {"parameters": self._user_inputs() | held}
        passed = {"parameters": {name: _parent(name) for name in (*self.wires, *held)}}
        body = self._steps(lambda claim: {"componentInputParameter": _held(claim)}, ())
        name = "comp-steps"
        task = "steps"
        self.components[name] = {"dag": {"tasks": body}, "inputDefinitions": inputs}
        for claim in reversed(claims):
            within = {task: {"componentRef": {"name": name}, "inputs": passed, "taskInfo": {"name": task}}}
            within[claim.remover] = self._delete(
                claim, _parent(_held(claim)), [task], triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
            )
            task = f"with-{claim.task.removeprefix('create-')}"
            name = f"comp-{task}"
            self.components[name] = {"dag": {"tasks": within}, "inputDefinitions": inputs}
        outer = {n: _parent(n) for n in self.wires} | {_held(c): _output_of(c) for c in claims}
        self.root[task] = {
            "componentRef": {"name": name},
            "dependentTasks": [claim.task for claim in claims],
            "inputs": {"parameters": outer},
            "taskInfo": {"name": task},
        }

    # -- steps ------------------------------------------------------------------------------------------------------------

    def _steps(self, refer: Callable[[Claim], dict[str, Any]], first: Iterable[str]) -> dict[str, Any]:
        tasks: dict[str, Any] = {}
        for step in self.plan.pipeline.steps:
            task = self.plan.tasks[step.name]
            self._component(step, task)
            self._executor(step, task)
            config = executor_config(self.plan, step, refer)
            if config:
                self.platform[f"exec-{task}"] = config
            tasks[task] = self._task(step, task, list(first))
        return tasks

    def _component(self, step: Step, task: str) -> None:
        artifacts = {
            name: {"artifactType": {"schemaTitle": _SCHEMAS[name], "schemaVersion": "0.0.1"}}
            for name in outputs_of(self.plan, step.settings)
        }
        made: dict[str, Any] = {"executorLabel": f"exec-{task}", "outputDefinitions": {"artifacts": artifacts}}
        inputs: dict[str, Any] = {}
        if self.wires:
            inputs["parameters"] = {name: {"parameterType": wire.kind} for name, wire in self.wires.items()}
        if self.plan.data is None and step.after:
            schema = {"artifactType": {"schemaTitle": _SCHEMAS["data"], "schemaVersion": "0.0.1"}}
            inputs["artifacts"] = {self.plan.values_of(before): schema for before in step.after}
        if inputs:
            made["inputDefinitions"] = inputs
        self.components[f"comp-{task}"] = made

    def _executor(self, step: Step, task: str) -> None:
        settings = step.settings
        env = {**self.plan.told, **settings.env}
        container: dict[str, Any] = {
            "image": self._image(step),
            "command": command(self.plan.target),
            "args": arguments(self.plan, step),
        }
        if env:
            container["env"] = [{"name": name, "value": _literal(value)} for name, value in env.items()]
        resources = _resources(settings)
        if resources:
            container["resources"] = resources
        self.executors[f"exec-{task}"] = {"container": container}

    def _task(self, step: Step, task: str, first: list[str]) -> dict[str, Any]:
        cached = step.settings.cache is True and not self.plan.mounts
        made: dict[str, Any] = {
            "cachingOptions": {"enableCache": True} if cached else {},
            "componentRef": {"name": f"comp-{task}"},
            "taskInfo": {"name": task},
        }
        before = [self.plan.tasks[name] for name in step.after] or first
        if before:
            made["dependentTasks"] = before
        inputs: dict[str, Any] = {}
        if self.wires:
            inputs["parameters"] = {name: _parent(name) for name in self.wires}
        if self.plan.data is None and step.after:
            inputs["artifacts"] = {
                self.plan.values_of(name): {
                    "taskOutputArtifact": {"outputArtifactKey": "data", "producerTask": self.plan.tasks[name]}
                }
                for name in step.after
            }
        if inputs:
            made["inputs"] = inputs
        if step.settings.retry is not None and step.settings.retry.attempts:
            made["retryPolicy"] = _retries(step.settings.retry)
        return made

    # -- parameters of the pipeline ---------------------------------------------------------------------------------------

    def _user_inputs(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for param in self.plan.pipeline.params:
            wire = self.wires[param.name]
            made[param.name] = {
                "parameterType": wire.kind,
                "isOptional": True,
                "defaultValue": wire.default,
                **({} if param.description is None else {"description": param.description}),
            }
        return made

    def _our_inputs(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for claim in self.plan.claims:
            for what, name in claim.parameters.items():
                made[name] = _our_input(claim, what, self.plan.pipeline.name)
        return made


def annotations_of(claim: Claim, pipeline: str) -> dict[str, str]:
    """Return what a claim says of itself; a submission may say more."""
    ours = {"app.kubernetes.io/managed-by": "kale-nb", "kale-nb/pipeline": pipeline, "kale-nb/volume": claim.name or claim.use}
    return {**claim.annotations, **ours}


def _our_input(claim: Claim, what: str, pipeline: str) -> dict[str, Any]:
    default: Any = None
    match what:
        case "annotations":
            kind, default = "STRUCT", annotations_of(claim, pipeline)
        case "source":
            kind = "STRUCT"
            if claim.origin is Origin.SNAPSHOT:
                default = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": claim.name}
        case "access_modes":
            kind, default = "LIST", list(claim.access_modes)
        case _:
            kind, default = "STRING", claim.size if what == "size" else claim.storage_class
    return {"parameterType": kind, **({} if default is None else {"isOptional": True, "defaultValue": default})}


def _held(claim: Claim) -> str:
    """Name of the input that holds a claim's name inside an inner pipeline."""
    return f"kale_{claim.task.removeprefix('create-').replace('-', '_')}"


def _output_of(claim: Claim) -> dict[str, Any]:
    return {"taskOutputParameter": {"outputParameterKey": "name", "producerTask": claim.task}}


def _parent(name: str) -> dict[str, Any]:
    return {"componentInputParameter": name}


def _constant(value: Any) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}


def _literal(text: str) -> str:
    """Return a variable's value so that Kubernetes, which expands `$(NAME)` and takes `$$` for `$`, gives it to the container as it is."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _without_false(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if v is not False}


def _retries(retry: Retry) -> dict[str, Any]:
    """The backend hands whole seconds and a whole factor to Argo."""
    return {
        "maxRetryCount": retry.attempts,
        "backoffDuration": f"{max(1, math.ceil(retry.interval))}s",
        "backoffFactor": float(max(1, math.ceil(retry.factor))),
        "backoffMaxDuration": f"{max(1, math.ceil(retry.max_interval))}s",
    }


def _resources(settings: StepSettings) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for what, values in (("Limit", settings.limits), ("Request", settings.requests)):
        for resource, amount in values.items():
            if resource in ("cpu", "memory"):
                made[f"resource{resource.capitalize()}{what}"] = amount
            elif what == "Limit":
                made["accelerator"] = {"resourceType": resource, "resourceCount": amount}
    return made
