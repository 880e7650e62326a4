"""Everything that a pipeline asks for and Kubeflow Pipelines cannot give, found before anything is sent.

What is not reported here is emitted: a mark is never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kale_nb.diagnostics import Diagnostic, Rule
from kale_nb.engines.kfp import rules
from kale_nb.engines.kfp.code import LARGEST, pack
from kale_nb.engines.kfp.plan import RESERVED, Claim, Origin, Plan
from kale_nb.engines.kfp.wires import PLACEHOLDER, size_of, wire_of
from kale_nb.location import Location
from kale_nb.names import StepName, kubernetes_name
from kale_nb.pipeline.model import Pipeline, Step
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.pipeline.params import to_source

_QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+|[kMGTPE]|[KMGTPE]i)?")
_OBJECT = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_LONGEST = 63
_ACCESS = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")


def check(plan: Plan) -> tuple[Diagnostic, ...]:
    """Return every finding, those of the whole pipeline first."""
    return (*_whole(plan), *(d for step in plan.pipeline.steps for d in _step(plan, step)))


def _say(rule: Rule, plan: Plan, message: str, hint: str, step: Step | None = None) -> Diagnostic:
    location = step.location if step is not None and step.location is not None else Location(path=plan.pipeline.source)
    return Diagnostic(rule=rule, message=message, location=location, hint=hint)


def _whole(plan: Plan) -> Iterator[Diagnostic]:
    pipeline = plan.pipeline
    for param in pipeline.params:
        if param.name.startswith(RESERVED):
            yield _say(rules.OUR_NAME, plan, f"the parameter `{param.name}` has a name of Kale's own", "rename it")
        if PLACEHOLDER in to_source(param.default):
            message = (
                f"the default of the parameter `{param.name}` holds `{PLACEHOLDER}`, for which Kubeflow Pipelines puts other text"
            )
            yield _say(rules.PLACEHOLDER, plan, message, "pass the text in a file, or put it together in a step")
    size = size_of({param.name: wire_of(param).default for param in pipeline.params})
    if size > LARGEST:
        message = f"the defaults of the parameters have {size:,} bytes, and a step can be told {LARGEST:,}"
        yield _say(rules.TOO_LARGE, plan, message, "pass what is large in files of the workspace, or a volume")
    if pipeline.service_account is not None:
        message = f"the service account `{pipeline.service_account}` is given to each run, and is not in this file"
        yield _say(rules.AT_SUBMISSION, plan, message, "give it when you start a run by other means than kale")
    if pipeline.autosnapshot:
        message = "on a cluster no snapshot is taken after each step (`autosnapshot`); the clones are kept after the last"
        yield _say(rules.NO_AUTOSNAPSHOT, plan, message, "remove `autosnapshot`, or keep what a step leaves in files of its own")
    yield from _volumes(plan)
    yield from _sharing(plan)


def _volumes(plan: Plan) -> Iterator[Diagnostic]:
    for volume in plan.pipeline.volumes:
        spoken = f"volume `{volume.name}`"
        if volume.kind != "new" and (not _OBJECT.fullmatch(volume.name) or len(volume.name) > _LONGEST):
            yield _say(
                rules.BAD_NAME,
                plan,
                f"{spoken}: nothing on a cluster can have that name",
                "name the claim, snapshot or volume that is meant",
            )
        if volume.read_only and volume.kind == "pvc" and not volume.snapshot:
            yield _say(
                rules.WRITABLE, plan, f"{spoken} is to be read only and is mounted writable", "make it a clone: `type: clone`"
            )
        if volume.source is not None and volume.kind == "new":
            yield _say(
                rules.LOCAL_ONLY,
                plan,
                f"{spoken} is the folder `{volume.source}` here, and on the cluster it would be new and empty",
                "name the claim that holds it: `type: clone`",
            )
    for claim in plan.claims:
        spoken = f"volume `{claim.name or claim.use}`"
        if claim.size is None and claim.origin in (Origin.NEW, Origin.VOLUME):
            yield _say(rules.VOLUME_SIZE, plan, f"{spoken} is made for the run and has no size", "give it one, such as `5Gi`")
        elif claim.size is not None and not _QUANTITY.fullmatch(claim.size):
            yield _say(rules.VOLUME_SIZE, plan, f"{spoken}: `{claim.size}` is no size", "write a quantity such as `5Gi`")
        for mode in claim.access_modes:
            if mode not in _ACCESS:
                yield _say(
                    rules.BAD_NAME, plan, f"{spoken}: there is no access mode `{mode}`", f"it is one of {', '.join(_ACCESS)}"
                )
    yield from _clashes(plan, [(m.path, _mounted(m.claim)) for m in plan.mounts], None)


def _mounted(claim: Claim | str) -> str:
    """The name of the volume in the pod, which is that of the object; of a claim that is made, what is known of it."""
    return claim if isinstance(claim, str) else claim.task


def _clashes(plan: Plan, mounts: Iterable[tuple[str, str]], step: Step | None) -> Iterator[Diagnostic]:
    paths: dict[str, str] = {}
    objects: dict[str, str] = {}
    for path, name in mounts:
        if not path.startswith("/") or path == "/":
            yield _say(rules.CLASH, plan, f"nothing can be mounted at `{path}`", "give the absolute path of a folder", step)
        if path in paths:
            yield _say(rules.CLASH, plan, f"`{path}` is the place of two mounts", "give each its own path", step)
        elif name in objects:
            message = f"`{name}` is mounted at `{objects[name]}` and at `{path}`, and a pod cannot have two volumes of one name"
            yield _say(rules.CLASH, plan, message, "mount it once, or rename one of them", step)
        paths[path] = name
        objects.setdefault(name, path)


def is_wide(pipeline: Pipeline) -> tuple[StepName, StepName] | None:
    """Return two steps of which neither waits for the other; None when the steps are a chain."""
    before = ancestors_of(predecessors(pipeline))
    names = [step.name for step in pipeline.steps]
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            if one not in before[other] and other not in before[one]:
                return one, other
    return None


def _sharing(plan: Plan) -> Iterator[Diagnostic]:
    pair = is_wide(plan.pipeline)
    if pair is None:
        return
    steps = f"steps `{pair[0]}` and `{pair[1]}` may run at once"
    shared = [m.claim for m in plan.mounts if isinstance(m.claim, Claim)]
    alone = [c for c in shared if "ReadWriteOncePod" in c.access_modes]
    single = [c for c in shared if set(c.access_modes) == {"ReadWriteOnce"}]
    for claim in alone:
        message = f"{steps}, and volume `{claim.name or claim.use}` can be mounted by one pod only"
        yield _say(rules.ONE_POD, plan, message, "give the volume another access mode, or order the steps")
    if single and plan.target.node is None:
        names = ", ".join(f"`{c.name or c.use}`" for c in single)
        share = f"share {names}, which one node only can mount" if len(single) == 1 else f"share {names}, each for one node only"
        yield _say(
            rules.ONE_NODE, plan, f"{steps} and {share}", "use ReadWriteMany, or a node selector that keeps all steps on one node"
        )


def _step(plan: Plan, step: Step) -> Iterator[Diagnostic]:
    settings = step.settings
    if not (settings.image or plan.pipeline.image or plan.target.image):
        yield _say(rules.NO_IMAGE, plan, f"step `{step.name}` has no image", "name one with --image", step)
    task = kubernetes_name(step.name)
    if len(step.name) > _LONGEST:
        yield _say(
            rules.BAD_NAME, plan, f"the name of step `{step.name}` is longer than {_LONGEST} characters", "shorten it", step
        )
    if task.endswith("-driver") and task.removesuffix("-driver") in plan.tasks.values():
        other = next(name for name, named in plan.tasks.items() if named == task.removesuffix("-driver"))
        yield _say(
            rules.BAD_NAME,
            plan,
            f"step `{step.name}` has the name of the task by which Kubeflow begins step `{other}`",
            "rename it",
            step,
        )
    if re.fullmatch(r"(create|delete|with)-(volume-\d+|marshal-volume)|create-volume|delete-volume|steps", task):
        yield _say(rules.BAD_NAME, plan, f"step `{step.name}` has the name of a task of Kale's own", "rename the step", step)
    yield from _resources(plan, step)
    if settings.cache and plan.mounts:
        yield _say(
            rules.NO_CACHE,
            plan,
            f"step `{step.name}` is not cached: its files and values would be missing in a new clone",
            "remove `cache`",
            step,
        )
    retry = settings.retry
    if retry is not None and any(value != int(value) for value in (retry.interval, retry.factor, retry.max_interval)):
        yield _say(
            rules.ROUNDED, plan, f"step `{step.name}`: waits between retries are rounded up to whole seconds and a whole factor",
            "give whole numbers", step,
        )  # fmt: skip
    if plan.carries:
        size = len(pack(plan.code.books[step.name]))
        if size > LARGEST:
            message = f"the code of step `{step.name}` has {size:,} bytes when packed, and {LARGEST:,} fit into the pipeline"
            yield _say(rules.TOO_LARGE, plan, message, "compile without --no-snapshot", step)
    files = [(f.path, f.name) for f in (*settings.secret_files, *settings.config_map_files)]
    if files:
        taken = [(m.path, _mounted(m.claim)) for m in plan.mounts]
        known = list(_clashes(plan, taken, None))
        found = list(_clashes(plan, [*taken, *files], step))
        yield from found[len(known) :]


def _resources(plan: Plan, step: Step) -> Iterator[Diagnostic]:
    more = [name for name in step.settings.limits if name not in ("cpu", "memory")]
    if len(more) > 1:
        names = " and ".join(f"`{name}`" for name in more)
        yield _say(
            rules.RESOURCE,
            plan,
            f"step `{step.name}` limits {names}, and one besides cpu and memory can be passed on",
            "keep one of them",
            step,
        )
    for name, amount in step.settings.requests.items():
        if name not in ("cpu", "memory") and step.settings.limits.get(name) != amount:
            message = f"step `{step.name}` requests `{name}`, and requests other than cpu and memory are not passed on"
            yield _say(rules.RESOURCE, plan, message, f"write it as a limit: `limit:{name}:{amount}`", step)
