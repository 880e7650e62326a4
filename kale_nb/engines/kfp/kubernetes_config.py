"""The Kubernetes half of the IR: what `KubernetesExecutorConfig` holds for each step's executor.

Field names and their meaning: kubernetes_platform/proto/kubernetes_executor_config.proto of Kubeflow Pipelines. Where the proto has an old
and a new way to name an object, the old one, which every backend reads, is written for secrets and config maps; for claims it is the new
one, since backends that read it are needed for other reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kale_nb.engines.kfp.plan import Claim, Plan
from kale_nb.pipeline.model import Step, StepSettings

GRACE = 600
"""Seconds that a pod may live beyond its step's timeout: the runner keeps the timeout, the deadline is for when it cannot."""

Reference = Callable[[Claim], dict[str, Any]]
"""Names the output or input that holds a claim's name: a `taskOutputParameter` or a `componentInputParameter`."""


def executor_config(plan: Plan, step: Step, refer: Reference) -> dict[str, Any]:
    """Return the settings of a step's executor; empty when there are none."""
    settings = step.settings
    made: dict[str, Any] = {}
    mounts = [_mount(mount.claim, mount.path, mount.sub_path, refer) for mount in plan.mounts]
    if mounts:
        made["pvcMount"] = mounts
    if settings.timeout is not None:
        made["activeDeadlineSeconds"] = str(math.ceil(settings.timeout) + GRACE)
    metadata = {k: dict(v) for k, v in (("annotations", settings.annotations), ("labels", settings.labels)) if v}
    if metadata:
        made["podMetadata"] = metadata
    return made | _objects(settings) | pod_config(plan, step)


def pod_config(plan: Plan, step: Step) -> dict[str, Any]:
    """Return what a step's image needs to run anywhere: how it is pulled, as whom and where it runs."""
    settings = step.settings
    made: dict[str, Any] = {}
    if settings.pull_policy is not None:
        made["imagePullPolicy"] = settings.pull_policy
    if settings.pull_secrets:
        made["imagePullSecret"] = [{"secretName": name} for name in settings.pull_secrets]
    if settings.node_selector:
        made["nodeSelector"] = {"labels": dict(settings.node_selector)}
    context = {
        "runAsGroup": _first(settings.group, plan.target.group),
        "runAsUser": _first(settings.user, plan.target.user),
    }
    if any(v is not None for v in context.values()):
        made["securityContext"] = {k: str(v) for k, v in context.items() if v is not None}
    return made | _placement(settings, plan.target.node)


def _mount(claim: Claim | str, path: str, sub_path: str, refer: Reference) -> dict[str, Any]:
    parameter = {"runtimeValue": {"constant": claim}} if isinstance(claim, str) else refer(claim)
    made: dict[str, Any] = {"mountPath": path, "pvcNameParameter": parameter}
    if sub_path:
        made["subPath"] = sub_path
    return made


def _objects(settings: StepSettings) -> dict[str, Any]:
    """Secrets and config maps, as variables and as files."""
    made: dict[str, Any] = {}
    if settings.secrets:
        made["secretAsEnv"] = [
            {"secretName": s.secret, "keyToEnv": [{"envVar": s.env, "secretKey": s.key}], "optional": False}
            for s in settings.secrets
        ]
    if settings.config_maps:
        made["configMapAsEnv"] = [
            {"configMapName": c.config_map, "keyToEnv": [{"envVar": c.env, "configMapKey": c.key}], "optional": False}
            for c in settings.config_maps
        ]
    if settings.secret_files:
        made["secretAsVolume"] = [{"secretName": f.name, "mountPath": f.path, "optional": False} for f in settings.secret_files]
    if settings.config_map_files:
        made["configMapAsVolume"] = [
            {"configMapName": f.name, "mountPath": f.path, "optional": False} for f in settings.config_map_files
        ]
    return made


def _placement(settings: StepSettings, node: str | None) -> dict[str, Any]:
    """Where the pod may run. What is asked for and `node` must both be kept: terms are alternatives, so each gets the node."""
    made: dict[str, Any] = {}
    if settings.tolerations:
        made["tolerations"] = [
            {
                **({"key": t.key} if t.key else {}),
                "operator": "Exists" if t.value is None else "Equal",
                **({} if t.value is None else {"value": t.value}),
                **({"effect": t.effect} if t.effect else {}),
                **({} if t.seconds is None else {"tolerationSeconds": str(t.seconds)}),
            }
            for t in settings.tolerations
        ]
    here: dict[str, Any] = {} if node is None else {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    terms: list[dict[str, Any]] = [
        {
            "matchExpressions": [
                {"key": m.key, "operator": m.operator, **({"values": list(m.values)} if m.values else {})} for m in term.match
            ],
            **(here if term.weight is None else {"weight": term.weight}),
        }
        for term in settings.node_affinity
    ]
    if here and all(term.weight is not None for term in settings.node_affinity):
        terms.append(here)
    if terms:
        made["nodeAffinity"] = terms
    return made


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
