"""`jupyter nbconvert --to kale`: the pipeline file, with the stepbooks beside it."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Int, List, Unicode, default

from .reading import CompilingExporter, running_command

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from traitlets.config import Config

    from kale_nb.compiler import Compiled
    from kale_nb.diagnostics import Diagnostic
    from kale_nb.engines.kfp.target import Target

TARGETS = ("local", "kfp")
_FOR_KFP = ("workspace", "snapshot", "image", "mount", "cleanup", "packages", "user", "group", "create_volumes")
_RENAMED = {"no-snapshot": "snapshot=False", "package": "packages", "volume-root": "workspace"}
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class KaleExporter(CompilingExporter):
    """Exports an annotated notebook as a pipeline: NAME.kale.json, which `kale run` runs, and one notebook a step in NAME_files/steps; with
    `target=kfp` NAME.yaml, which Kubeflow Pipelines runs."""

    export_from_notebook = "Kale pipeline"
    output_mimetype = "application/json"

    target = Unicode(
        "local",
        help="""What the pipeline is compiled for: `local` is run by `kale run`, `kfp` is a file for Kubeflow Pipelines,
        as `kale compile --target kfp` writes it. All options but this one and `name` are for kfp.""",
    ).tag(config=True)
    workspace = Unicode(
        help="""The folder here that the steps work on a copy of, the root of the workspace's volume
        (default: the notebook's).""",
    ).tag(config=True)
    snapshot = Bool(
        True,
        help="""Steps work on a clone of the workspace; their notebooks are written into it, for its snapshot to hold them.
        Without it the file holds them itself.""",
    ).tag(config=True)
    image = Unicode(help="""Image of the steps whose marks name none.""").tag(config=True)
    mount = Unicode("/home/jovyan", help="""Where steps see the workspace.""").tag(config=True)
    cleanup = Unicode(
        "keep",
        help="""What becomes of the volumes made for a run: `keep`, `delete-on-success` or `delete`.""",
    ).tag(config=True)
    packages = List(Unicode(), help="""What each step installs with pip before it begins.""").tag(config=True)
    user = Int(None, allow_none=True, help="""Numeric user that the steps run as.""").tag(config=True)
    group = Int(None, allow_none=True, help="""Numeric group that the steps run as.""").tag(config=True)
    create_volumes = Unicode(
        "native",
        help="""How volumes are made: `native` by CreatePVC (needs Kubeflow Pipelines 2.17), `script` by a step of ours.""",
    ).tag(config=True)

    def __init__(self, config: Config | None = None, **kw: Any) -> None:
        super().__init__(config, **kw)
        if self.target == "kfp":
            self.output_mimetype = "application/yaml"

    @default("file_extension")
    def _default_extension(self) -> str:
        from kale_nb.compiler import PIPELINE_SUFFIX

        return ".yaml" if self.target == "kfp" else PIPELINE_SUFFIX

    def made_of(self, compiled: Compiled, nb: NotebookNode, resources: dict[str, Any]) -> str:
        """Return the text of the pipeline file; the stepbooks go into the resources' `outputs` by their paths."""
        self._one_of("target", TARGETS)
        if self.target == "kfp":
            return self._for_kfp(compiled, resources)
        self._refuse_what_is_for_kfp()
        from kale_nb.compiler import pipeline_text, stepbook_text

        folder = _stepbooks_folder(resources)
        books = {posixpath.join(folder, f"{book.step}.ipynb"): stepbook_text(book).encode() for book in compiled.stepbooks}
        _add(resources, books)
        self._say_what_is_left_out("without its %s it cannot run", len(books))
        return pipeline_text(compiled.pipeline)

    def _for_kfp(self, compiled: Compiled, resources: dict[str, Any]) -> str:
        from kale_nb.diagnostics import CompileError
        from kale_nb.engines.kfp.code import code_files
        from kale_nb.engines.kfp.compiling import compile_kfp

        target, workspace = self._target(compiled.pipeline.source)
        try:
            package = compile_kfp(compiled.pipeline, compiled.stepbooks, target)
        except CompileError as error:
            raise CompileError(map(self._told_here, error.diagnostics)) from None
        self.warn(map(self._told_here, package.diagnostics))
        if target.snapshot:
            files = code_files(package.plan.code)
            place = _from_output(workspace, resources)
            _add(resources, {posixpath.join(place, name): text.encode() for name, text in files.items()})
            self._say_what_is_left_out("its %s, which a snapshot of the workspace has to hold, are not", len(files) - 1)
        return package.text

    def _target(self, source: str) -> tuple[Target, Path]:
        from kale_nb.engines.kfp.target import Cleanup, Target
        from kale_nb.errors import UsageError
        from kale_nb.planning import choose_workspace

        self._one_of("cleanup", tuple(kind.value for kind in Cleanup))
        self._one_of("create_volumes", ("native", "script"))
        if not self.mount.startswith("/") or not self.mount.strip("/"):
            raise UsageError(f"{self._spelled('mount')} {self.mount} is no absolute path of a folder")
        workspace, folder = choose_workspace(source, Path(self.workspace) if self.workspace else None)
        target = Target(
            image=self.image or None,
            mount=self.mount,
            folder=folder.as_posix(),
            snapshot=self.snapshot,
            cleanup=Cleanup(self.cleanup),
            packages=tuple(self.packages),
            user=self.user,
            group=self.group,
            native_volumes=self.create_volumes == "native",
        )
        return target, workspace

    def _one_of(self, name: str, values: tuple[str, ...]) -> None:
        from kale_nb.errors import UsageError

        if getattr(self, name) not in values:
            hint = f"it can be {', '.join(values[:-1])} or {values[-1]}"
            raise UsageError(f"{self._spelled(name)} cannot be {getattr(self, name)!r}", hint=hint)

    def _refuse_what_is_for_kfp(self) -> None:
        from kale_nb.errors import UsageError

        for name in _FOR_KFP:
            if getattr(self, name) != self.traits()[name].default():
                raise UsageError(f"{self._spelled(name)} is for Kubeflow Pipelines", hint=f"add --{self._spelled('target')}=kfp")

    def _told_here(self, diagnostic: Diagnostic) -> Diagnostic:
        """Return a finding whose hint names options as nbconvert spells them."""

        def ours(found: re.Match[str]) -> str:
            name = _RENAMED.get(found[1], found[1]).replace("-", "_")
            return f"--{self._spelled(name)}" if name.partition("=")[0] in _FOR_KFP else found[0]

        return replace(diagnostic, hint=_OPTION.sub(ours, diagnostic.hint)) if diagnostic.hint else diagnostic

    def _spelled(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"

    def _say_what_is_left_out(self, what: str, books: int) -> None:
        from nbconvert.writers.stdout import StdoutWriter

        app = running_command()
        if app is not None and isinstance(app.writer, StdoutWriter):
            count = f"{books} stepbook{'s' if books != 1 else ''}"
            self.log.warning("Only the pipeline file is written to standard output; %s.", what % count)


def _add(resources: dict[str, Any], files: dict[str, bytes]) -> None:
    resources["outputs"] = {**(resources.get("outputs") or {}), **files}


def _from_output(workspace: Path, resources: dict[str, Any]) -> str:
    """Return the workspace as seen from the folder that nbconvert writes to: the notebook's unless it was told another."""
    app = running_command()
    writer = app.writer if app is not None else None
    if getattr(writer, "build_directory", ""):
        return str(workspace)
    beside = os.path.abspath((resources.get("metadata") or {}).get("path") or "")
    return os.path.relpath(workspace, beside)


def _stepbooks_folder(resources: dict[str, Any]) -> str:
    """Return where the stepbooks go: into the folder that nbconvert has for further files, and there into one of the notebook's own when
    that folder is not for it alone.

    `--output build/flow` is a name with folders, which nbconvert also puts where `{notebook_name}` stands in the name of the folder for
    further files; it is the folder beside the pipeline file that is meant.
    """
    from kale_nb.compiler import STEPS_FOLDER

    key = resources.get("unique_key") or ""
    beside, name = posixpath.split(key)
    given = _of_the_name_alone(resources.get("output_files_dir") or "", key, name)
    shared = name and not {name, f"{name}_files"} & set(given.split("/"))
    return posixpath.join(beside, given, name if shared else "", STEPS_FOLDER)


def _of_the_name_alone(folder: str, key: str, name: str) -> str:
    """Return the name of a folder with `flow` where it has `build/flow`, at the beginning of a part."""
    return re.sub(rf"(?:^|(?<=/)){re.escape(key)}", lambda _: name, folder) if key != name else folder
