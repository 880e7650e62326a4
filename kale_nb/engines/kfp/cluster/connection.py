"""Which cluster, and as whom: from what was asked for, KUBECONFIG, the pod's service account, the user's kubeconfig, in this order.

The pod comes before `~/.kube/config`: a notebook server's own volumes are in the cluster that it runs in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kale_nb.engines.kfp.cluster.api import Cluster
from kale_nb.errors import EngineError, UsageError
from kale_nb.quick_imports import without_grammars

ACCOUNT = Path("var/run/secrets/kubernetes.io/serviceaccount")
WITHOUT = "run with --no-snapshot"
"""What to do without a cluster, for commands that have the option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAsked:
    """What was asked for; None leaves it to the environment.

    Attributes:
        kubeconfig: a file.
        context: of the kubeconfig.
        namespace: of volumes and snapshots.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


def find_cluster(
    asked: ClusterAsked, environ: Mapping[str, str], root: Path = Path("/"), *, patience: float = 60.0, instead: str = ""
) -> Cluster:
    """Return the cluster; asks nothing of it yet.

    Args:
        root: where the pod's files are looked for.
        instead: what to do without a cluster, where that is possible; for hints.

    Raises:
        UsageError: nothing says where a cluster is, or what says it makes no sense.
        EngineError: the Kubernetes client is not installed.
    """
    client = _library(instead)
    named = asked.kubeconfig or asked.context or environ.get("KUBECONFIG")
    own = Path(environ.get("HOME", "~")).expanduser() / ".kube/config"
    if not named and environ.get("KUBERNETES_SERVICE_HOST") and (root / ACCOUNT / "token").exists():
        return Cluster(
            _of_pod(client, environ, root / ACCOUNT),
            namespace=asked.namespace or _read(root / ACCOUNT / "namespace") or "default",
            origin="the pod's service account",
            patience=patience,
        )
    if not named and not own.exists():
        raise UsageError(
            "nothing says where a Kubernetes cluster is, which snapshots of volumes need",
            hint="give --kubeconfig FILE or set KUBECONFIG; in a notebook server of Kubeflow it is found by itself"
            f"{f'; or {instead}' if instead else ''}",
        )
    files = os.fspath(asked.kubeconfig) if asked.kubeconfig is not None else environ.get("KUBECONFIG") or os.fspath(own)
    made, namespace, context = _of_kubeconfig(client, files, asked.context)
    return Cluster(
        made, namespace=asked.namespace or namespace or "default", origin=f"context {context} of {files}", patience=patience
    )


def _library(instead: str) -> Any:
    try:
        with without_grammars():
            from kubernetes import client
    except ImportError as error:
        raise EngineError(
            "snapshots of volumes need the Kubernetes client",
            hint=f"pip install 'kale-nb[k8s]'{f', or {instead}' if instead else ''}",
        ) from error
    return client


def _of_pod(client: Any, environ: Mapping[str, str], account: Path) -> Any:
    """The service account's token is read again when it is a minute old: the kubelet renews it."""
    from kubernetes.config.incluster_config import InClusterConfigLoader

    made = client.Configuration()
    loader = InClusterConfigLoader(
        token_filename=os.fspath(account / "token"), cert_filename=os.fspath(account / "ca.crt"), environ=environ
    )
    try:
        loader.load_and_set(client_configuration=made)
    except Exception as error:
        raise UsageError(f"the pod's service account cannot be used: {error}") from error
    return _client(client, made)


def _of_kubeconfig(client: Any, files: str, context: str | None) -> tuple[Any, str, str]:
    """Return a client, and namespace and name of the context."""
    from kubernetes.config.kube_config import list_kube_config_contexts, load_kube_config

    made = client.Configuration()
    try:
        contexts, active = list_kube_config_contexts(config_file=files)
        if context is not None:
            active = next((each for each in contexts if each["name"] == context), None)
        if active is None:
            names = ", ".join(str(each["name"]) for each in contexts)
            raise UsageError(f"{files} has no context {context!r}", hint=f"contexts: {names}" if names else None)
        load_kube_config(config_file=files, context=active["name"], client_configuration=made, persist_config=False)
    except UsageError:
        raise
    except Exception as error:  # the client raises what its parser and its plugins raise
        raise UsageError(f"the kubeconfig {files} cannot be used: {' '.join(str(error).split())}") from error
    return _client(client, made), str((active.get("context") or {}).get("namespace") or ""), str(active["name"])


def _client(client: Any, configuration: Any) -> Any:
    configuration.retries = False  # ours are in `api`, which knows what may be sent again
    return client.ApiClient(configuration)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
