"""A CronJob that runs `kale clean` in the cluster, with an account of its own that may do just that."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kale_nb.engines.kfp.cluster.labels import MANAGED_BY, MANAGER
from kale_nb.engines.kfp.cluster.rights import RBAC, cleaning_rights, rules_of
from kale_nb.errors import UsageError

NAME = "kale-clean"
_FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*|[A-Za-z]{3}(-[A-Za-z]{3})?(,[A-Za-z]{3}(-[A-Za-z]{3})?)*")
_NAMED = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_WITHIN = 1800


def cronjob_yaml(*, namespace: str, schedule: str, image: str, words: Sequence[str]) -> str:
    """Return YAML for `kubectl apply`: ServiceAccount, Role, RoleBinding, what may be read of the whole cluster, CronJob.

    Args:
        words: what follows `kale clean`.

    Raises:
        UsageError: the schedule is none.
    """
    from kale_nb.engines.kfp.yamltext import to_short_yaml

    if schedule not in _NAMED and (len(schedule.split()) != 5 or not all(map(_FIELD.fullmatch, schedule.split()))):
        raise UsageError(
            f"--schedule {schedule!r} is no schedule",
            hint="write five fields, such as '0 3 * * *' for 3 o'clock each night, or @daily",
        )
    labels = {MANAGED_BY: MANAGER}
    metadata = {"name": NAME, "namespace": namespace, "labels": labels}
    everywhere = {"name": f"{NAME}-{namespace}", "labels": labels}
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]
    rights = cleaning_rights()
    here = rules_of(right for right in rights if right.resource.namespaced)
    wide = rules_of(right for right in rights if not right.resource.namespaced)
    version = f"{RBAC}/v1"
    return to_short_yaml(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": here},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": NAME},
            "subjects": subjects,
        },
        {"apiVersion": version, "kind": "ClusterRole", "metadata": everywhere, "rules": wide},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": everywhere,
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": everywhere["name"]},
            "subjects": subjects,
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": metadata,
            "spec": {
                "schedule": schedule,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": _WITHIN,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {"spec": _job(image, words, labels)},
            },
        },
    )


def _job(image: str, words: Sequence[str], labels: dict[str, str]) -> dict[str, object]:
    container = {
        "name": NAME,
        "image": image,
        "command": ["python3", "-m", "kale_nb", "clean", *words, "--yes"],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "workingDir": "/tmp",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    # A mesh's sidecar would never end, and the job with it.
    pod = {"metadata": {"labels": {**labels, "sidecar.istio.io/inject": "false"}}}
    spec = {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"backoffLimit": 0, "activeDeadlineSeconds": _WITHIN, "template": {**pod, "spec": spec}}
