"""The command line of a step's container.

It has to work, or say what is missing, in any image with a `python3`: so the first thing that runs is a few lines of Python in the command
itself, which look for what the runner needs before they hand over to it.
"""

from __future__ import annotations

import json
from typing import Any

from kale_nb.engines.kfp.code import pack
from kale_nb.engines.kfp.plan import Plan
from kale_nb.engines.kfp.target import Target
from kale_nb.engines.kfp.wires import PLACEHOLDER, told
from kale_nb.pipeline.model import Pipeline, Step

GUARD = (
    "import sys,importlib.util as u;m=[p for p in('kale_nb','papermill')if not u.find_spec(p)]"
    ";m and sys.exit('kale: the image has no '+' and no '.join(m)+'; pip install --user kale-nb before the snapshot')"
    ";from kale_nb.engines.kfp.stepper import main;main()"
)
_INSTALL = (
    "python3 -m pip install -q --disable-pip-version-check --target /tmp/kale-packages {packages}"
    ' && exec env PYTHONPATH=/tmp/kale-packages${{PYTHONPATH:+:$PYTHONPATH}} python3 -c "$0" "$@"'
)


def command(target: Target) -> list[str]:
    """Return the command that begins a step."""
    if not target.packages:
        return ["python3", "-c", GUARD]
    import shlex

    packages = " ".join(shlex.quote(package) for package in target.packages)
    return ["sh", "-c", _INSTALL.format(packages=packages), GUARD]


def arguments(plan: Plan, step: Step) -> list[str]:
    """Return what the runner is told: what Kubeflow knows of the task, what we know of the step, and its stepbook if it is carried along.

    With a snapshot the rest stands in `pipeline.json` beside the stepbook.
    """
    order: dict[str, Any] = {"step": step.name, "sha256": plan.code.sums[step.name]}
    if plan.home is not None:
        order |= {"home": plan.home, "code": plan.code.digest}
        if plan.cwd != plan.home:
            order["folder"] = plan.target.folder
    if plan.carries:
        order |= about(plan.pipeline, step)
    if plan.data is None:
        order["before"] = [plan.values_of(name) for name in step.after]
    elif plan.pipeline.marshal_volume.enabled:
        order["data"] = plan.data
    text = json.dumps(order, ensure_ascii=False, separators=(",", ":"))
    words = ["{{$}}", text.replace(PLACEHOLDER, "{{\\u0024")]
    return words if not plan.carries else [*words, pack(plan.code.books[step.name])]


def about(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    """Return what the runner has to know of pipeline and step beyond the stepbook."""
    return {
        "source": pipeline.source,
        "kernel": pipeline.kernel,
        "timeout": step.settings.timeout,
        "params": {param.name: told(param) for param in pipeline.params},
    }
