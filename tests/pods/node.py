"""A node for the tests' server: containerd and a kubelet, in namespaces of their own.

Both run below one `unshare`, in a PID namespace and a mount namespace: when it ends, however it ends, the kernel ends every container and takes
every mount away. Pods use the machine's own network, so there is no bridge to be made and none to be left.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.k8s import programs
from tests.k8s.serving import Serving, free_ports, kubeconfig
from tests.pods.image import archive, pause_archive

NODE = "localhost"  # a name that the API server can find, for the pods' logs
IMAGE = "local.test/python:1"
_PAUSE = "local.test/pause:1"
_CGROUPS = Path("/sys/fs/cgroup")

# In the new namespaces: nothing that is written to these folders of the machine is to stay.
_START = """
set -e
for folder in /run /var/log; do mount -t tmpfs kale-tests "$folder"; done
mkdir -p /run/containerd
"$CONTAINERD" -c "$NODE_FOLDER/containerd.toml" >"$NODE_FOLDER/containerd.log" 2>&1 &
exec "$@"
"""


@functools.cache
def missing() -> str | None:
    """Say what is not here that a node needs, beyond what the server does; None when all is."""
    if programs.find("kubelet", *programs.NEEDED) is None:
        return f"there is no kubelet: {programs.BUILD} --pods"
    for program, package in (("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            return f"there is no {program}: apt install {package}"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "namespaces are not allowed here: it takes root"


def _containerd(folder: Path) -> str:
    return f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{_PAUSE}"
  restrict_oom_score_adj = true  # or runc dies where it may not lower it
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _kubelet(folder: Path, port: int, health: int, cgroup: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": health,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "resolvConf": "",
        "syncFrequency": "2s",
        "volumePluginDir": f"{folder}/plugins",
    }


@contextmanager
def start_node(serving: Serving, url: str) -> Iterator[None]:
    """Start containerd and a kubelet, and load the images; stop both, and remove what they leave."""
    folder = serving.folder / "node"
    folder.mkdir()
    (folder / "containerd.toml").write_text(_containerd(folder))
    port, health = free_ports(2)
    cgroup = f"/kale-tests-{os.getpid()}"
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(folder, port, health, cgroup)))
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig(url, serving.files.authority, serving.token)))
    programs_folder = programs.find("kubelet", *programs.NEEDED)
    assert programs_folder is not None
    os.environ |= {"CONTAINERD": str(shutil.which("containerd")), "NODE_FOLDER": str(folder)}
    try:
        _make_cgroups(cgroup)
        serving.start(
            "kubelet",
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("sh", "-c", _START, "sh", programs_folder / "kubelet", "--config", folder / "kubelet.json"),
            *("--kubeconfig", folder / "kubeconfig", "--root-dir", folder / "kubelet", "--cert-dir", folder / "certs"),
            *("--container-runtime", "remote", "--container-runtime-endpoint", f"unix://{folder}/containerd.sock"),
            *("--hostname-override", NODE, "--pod-infra-container-image", _PAUSE),
        )
        serving.wait("containerd", (folder / "containerd.sock").exists)
        for file in (pause_archive(folder / "pause.tar", _PAUSE), archive(folder / "python.tar", IMAGE)):
            words = ["ctr", "-a", f"{folder}/containerd.sock", "-n", "k8s.io", "images", "import", str(file)]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
            file.unlink()
        serving.wait("the node", lambda: NODE in serving.ask(f"{url}/api/v1/nodes"))
        yield
    finally:
        if "kubelet" in serving.running:
            serving.running["kubelet"].kill()
            serving.running["kubelet"].wait()
        _remove_cgroups(cgroup)


def _controllers() -> list[Path]:
    """Return the roots of the cgroup hierarchies: one, or one for each controller."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()]


def _make_cgroups(name: str) -> None:
    for root in _controllers():
        made = root / name.lstrip("/")
        made.mkdir(exist_ok=True)
        if root.name == "cpuset":  # nobody may run in a new one that says not where
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (made / setting).write_text((root / setting).read_text())


def _remove_cgroups(name: str) -> None:
    for root in _controllers():
        for path, _, _ in os.walk(root / name.lstrip("/"), topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
