"""Where Kubernetes' own programs are: given by `KUBEBUILDER_ASSETS`, or built by `.ci/kubernetes` into the user's cache."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

BUILD = "bash .ci/kubernetes"
NAME = "kubernetes-1.20.2"  # of the folder in the cache; `.ci/kubernetes` says the same
NEEDED = ("kube-apiserver", "kube-controller-manager")


def folders() -> list[Path]:
    """Return the folders to look in, the first first."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [*([Path(given)] if given else []), cache / "kale-nb" / NAME]


def find(*programs: str) -> Path | None:
    """Return the first folder that holds all of these programs: those of two Kubernetes versions are not to be mixed."""
    for folder in folders():
        if all(os.access(folder / program, os.X_OK) for program in programs):
            return folder
    return None


def find_etcd() -> str | None:
    """Return the path of etcd: beside Kubernetes' own programs, or on the machine."""
    beside = find("etcd", *NEEDED)
    return str(beside / "etcd") if beside else shutil.which("etcd")


@functools.cache
def missing() -> str | None:
    """Say what is not here that the API server needs; None when all is."""
    if sys.platform != "linux":
        return "the API server of the tests runs on Linux"
    if importlib.util.find_spec("kubernetes") is None:
        return "kubernetes is not installed: pip install 'kale-nb[k8s]'"
    if find(*NEEDED) is None:
        return f"there is no {' or no '.join(NEEDED)} in {' or '.join(map(str, folders()))}: {BUILD} (8 minutes, once)"
    if find_etcd() is None:
        return "there is no etcd: apt install etcd-server"
    for program, package in (("openssl", "openssl"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            return f"there is no {program}: apt install {package}"
    return None


def need(lack: str | None) -> None:
    """Skip the test for what is missing; under CI as root, where all of it can be had, fail it."""
    if lack is not None:
        (pytest.fail if os.environ.get("CI") == "true" and os.geteuid() == 0 else pytest.skip)(lack)
