"""Everything that a pipeline asks for and Kubeflow Pipelines cannot give, found before anything is sent.

What is not reported here is emitted: a mark is never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kale_nb.diagnostics import Diagnostic, Rule
from kale_nb.engines.kfp import rules
from kale_nb.engines.kfp.amounts import amount_of
from kale_nb.engines.kfp.code import LARGEST, pack
from kale_nb.engines.kfp.plan import RESERVED, Claim, Origin, Plan
from kale_nb.engines.kfp.wires import PLACEHOLDER, size_of, wire_of
from kale_nb.location import Location
from kale_nb.names import StepName, is_kubernetes_label, is_kubernetes_name, is_text, kubernetes_name
from kale_nb.pipeline.model import Pipeline, Step, Volume
from kale_nb.pipeline.order import ancestors_of, predecessors
from kale_nb.pipeline.params import to_source
from kale_nb.pipeline.volumes import WORKSPACE

_QUANTITY = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+|[kMGTPE]|[KMGTPE]i)?")
_LONGEST = 63
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_POD_VOLUME = "Kubeflow Pipelines names the volume of a pod after"
_ACCESS = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")


def check(plan: Plan) -> tuple[Diagnostic, ...]:
    """Return every finding, those of the whole pipeline first."""
    return (*_whole(plan), *(d for step in plan.pipeline.steps for d in _step(plan, step)))


def _say(rule: Rule, plan: Plan, message: str, hint: str, step: Step | None = None, at: Location | None = None) -> Diagnostic:
    location = at or (step.location if step is not None else None) or Location(path=plan.pipeline.source)
    return Diagnostic(rule=rule, message=message, location=location, hint=hint)


def _is_writable(value: object) -> bool:
    """Tell whether JSON's values can stand in a file: see `is_text`."""
    if isinstance(value, dict):
        return all(_is_writable(each) for pair in value.items() for each in pair)
    return all(map(_is_writable, value)) if isinstance(value, list) else not isinstance(value, str) or is_text(value)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _whole(plan: Plan) -> Iterator[Diagnostic]:
    pipeline = plan.pipeline
    yield from _params(plan)
    if not is_text(pipeline.description or ""):
        message = f"the description holds half a character: {_shown(pipeline.description)}"
        yield _say(rules.NOT_TEXT, plan, message, "write the whole character")
    if pipeline.service_account is not None and not is_kubernetes_name(pipeline.service_account):
        message = f"no service account can be called `{pipeline.service_account}`"
        yield _say(rules.BAD_NAME, plan, message, "name the one that is meant")
    elif pipeline.service_account is not None:
        message = f"the service account `{pipeline.service_account}` is given to each run, and is not in this file"
        yield _say(rules.AT_SUBMISSION, plan, message, "give it when you start a run by other means than kale")
    if pipeline.autosnapshot:
        message = "on a cluster no snapshot is taken after each step (`autosnapshot`); the clones are kept after the last"
        yield _say(rules.NO_AUTOSNAPSHOT, plan, message, "remove `autosnapshot`, or keep what a step leaves in files of its own")
    yield from _volumes(plan)
    yield from _sharing(plan)


def _params(plan: Plan) -> Iterator[Diagnostic]:
    defaults = {param.name: wire_of(param).default for param in plan.pipeline.params}
    for param in plan.pipeline.params:
        if param.name.startswith(RESERVED):
            yield _say(rules.OUR_NAME, plan, f"the parameter `{param.name}` has a name of Kale's own", "rename it")
        if PLACEHOLDER in to_source(param.default):
            message = (
                f"the default of the parameter `{param.name}` holds `{PLACEHOLDER}`, for which Kubeflow Pipelines puts other text"
            )
            yield _say(rules.PLACEHOLDER, plan, message, "pass the text in a file, or put it together in a step")
        if not _is_writable(defaults[param.name]):
            message = f"the default of the parameter `{param.name}` holds half a character: {_shown(param.default)}"
            yield _say(rules.NOT_TEXT, plan, message, "write the whole character, or bytes", at=param.location)
    size = size_of(defaults)
    if size > LARGEST:
        message = f"the defaults of the parameters have {size:,} bytes, and a step can be told {LARGEST:,}"
        yield _say(rules.TOO_LARGE, plan, message, "pass what is large in files of the workspace, or a volume")


def _volumes(plan: Plan) -> Iterator[Diagnostic]:
    for volume in plan.pipeline.volumes:
        spoken = f"volume `{volume.name}`"
        yield from _volume_name(plan, volume)
        if volume.read_only and _is_itself(volume):
            hint = (
                "make it a clone: `type: clone`"
                if volume.kind == "pvc"
                else "see to it that no step writes there, and remove `read_only`"
            )
            yield _say(rules.WRITABLE, plan, f"{spoken} is to be read only and is mounted writable", hint)
        if volume.source is not None and volume.kind == "new":
            yield _say(
                rules.LOCAL_ONLY,
                plan,
                f"{spoken} is the folder `{volume.source}` here, and on the cluster it would be new and empty",
                "name the claim that holds it: `type: clone`",
            )
    for claim in plan.claims:
        spoken = f"volume `{claim.name or claim.use}`"
        if claim.use == WORKSPACE and claim.origin is Origin.NEW:
            message = (
                f"{spoken} is the workspace, for it is mounted at `{plan.home}`, and would begin empty, without the stepbooks"
            )
            hint = "name the claim that is the workspace: `type: clone`; or give the new volume another mount point"
            yield _say(rules.EMPTY_WORKSPACE, plan, message, hint)
        if claim.storage_class and not is_kubernetes_name(claim.storage_class):
            message = f"{spoken}: no storage class can be called `{claim.storage_class}`"
            yield _say(rules.BAD_NAME, plan, message, "name the storage class that is meant")
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


def _is_itself(volume: Volume) -> bool:
    """Tell whether what steps write there is written to the volume itself, or to nothing that anybody could want only to read."""
    return (
        volume.kind == "pv" or (volume.kind == "pvc" and not volume.snapshot) or (volume.kind == "new" and volume.source is None)
    )


def _volume_name(plan: Plan, volume: Volume) -> Iterator[Diagnostic]:
    if volume.kind == "new":
        return
    spoken = f"volume `{volume.name}`"
    if not is_kubernetes_name(volume.name) or len(volume.name) > _LONGEST:
        hint = "name the claim, snapshot or volume that is meant"
        yield _say(rules.BAD_NAME, plan, f"{spoken}: nothing on a cluster can have that name", hint)
    elif volume.kind == "pvc" and not volume.snapshot and not is_kubernetes_label(volume.name):
        yield _say(
            rules.BAD_NAME, plan, f"{spoken}: {_POD_VOLUME} the claim, and that takes no dots", "mount a clone: `type: clone`"
        )


def _mounted(claim: Claim | str) -> str:
    """The name of the volume in the pod, which is that of the object; of a claim that is made, what is known of it."""
    return claim if isinstance(claim, str) else claim.task


def _clashes(plan: Plan, mounts: Iterable[tuple[str, str]], step: Step | None) -> Iterator[Diagnostic]:
    paths: dict[str, str] = {}
    objects: dict[str, str] = {}
    for path, name in mounts:
        if not path.startswith("/") or path == "/" or ":" in path:
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
    for file in (*settings.secret_files, *settings.config_map_files):
        if not is_kubernetes_label(file.name):
            message = (
                f"step `{step.name}` sees `{file.name}` as files: {_POD_VOLUME} it, and that takes no dots and 63 characters"
            )
            yield _say(rules.BAD_NAME, plan, message, "rename the secret or config map, or take its keys as variables", step)
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
    yield from _amounts(plan, step)


def _amounts(plan: Plan, step: Step) -> Iterator[Diagnostic]:
    """What Kubernetes itself refuses of resources."""
    limits = step.settings.limits
    for name, text in limits.items():
        amount, asked = amount_of(text), amount_of(step.settings.requests.get(name, "0"))
        if "/" not in name and name not in _RESOURCES and not name.startswith("hugepages-"):
            message = f"step `{step.name}` limits `{name}`, and no container has a resource of that name"
            yield _say(rules.RESOURCE, plan, message, f"it is {', '.join(_RESOURCES)}, or has a domain: `nvidia.com/gpu`", step)
        elif "/" in name and amount is not None and amount.denominator != 1:
            message = f"step `{step.name}` limits `{name}` to `{text}`, and only whole ones are given out"
            yield _say(rules.RESOURCE, plan, message, f"write a whole number: `limit:{name}:1`", step)
        if amount is not None and asked is not None and asked > amount:
            message = f"step `{step.name}` requests `{step.settings.requests[name]}` of {name} and is limited to `{text}`"
            yield _say(rules.RESOURCE, plan, message, "request no more than the limit", step)
