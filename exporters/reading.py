"""What both exporters share: a notebook node becomes a compiled pipeline, and what is wrong with it is told as nbconvert's users expect.

The notebook given is compiled, not the file on the disk, so preprocessors before the exporter have effect. Its path and the digest of
its bytes are noted while nbconvert still knows them, for they are part of what `kale compile` writes.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from nbconvert.exporters.exporter import Exporter
from nbconvert.utils.exceptions import ConversionException
from traitlets import TraitError, Unicode
from traitlets.config import Application

if TYPE_CHECKING:
    from nbconvert.nbconvertapp import NbConvertApp
    from nbformat import NotebookNode
    from traitlets.config import Config

    from kale_nb.compiler import Compiled
    from kale_nb.diagnostics import Diagnostic
    from kale_nb.errors import KaleError

_ORIGIN = "kale_origin"
"""The key of the resources that holds, on the way to the notebook node, its file's path and the digest of its bytes."""
_NAMELESS = "notebook"
"""What a notebook without a file is called; nbconvert names what it reads from standard input so."""


class ExportError(ConversionException):
    """A notebook that cannot become a pipeline.

    Attributes:
        problem: a CompileError with all diagnostics, or the SourceError of what cannot be read as a Python notebook.
    """

    def __init__(self, message: str, problem: KaleError) -> None:
        super().__init__(message)
        self.problem = problem


class CompilingExporter(Exporter):
    """An exporter that compiles the notebook first."""

    name = Unicode(
        help="""Name of the pipeline, instead of the one that the notebook gives
        (`%pipeline --name`, `pipeline_name` in its metadata, or the name of its file).""",
    ).tag(config=True)

    def __init__(self, config: Config | None = None, **kw: Any) -> None:
        """Make an exporter. ExportError when an option has a value that it cannot have."""
        from kale_nb.errors import UsageError

        try:
            super().__init__(config, **kw)  # type: ignore[no-untyped-call]
        except TraitError as error:
            self.refuse("the notebook", UsageError(str(error).replace("\n", " ")))

    def from_filename(self, filename: str, resources: dict[str, Any] | None = None, **kw: Any) -> tuple[Any, dict[str, Any]]:
        """Convert a notebook file."""
        from kale_nb.errors import SourceError
        from kale_nb.source.notebook import read_notebook

        try:
            digest = read_notebook(filename).sha256
        except SourceError as error:
            self.refuse(str(filename), error)
        return super().from_filename(str(filename), {**(resources or {}), _ORIGIN: (str(filename), digest)}, **kw)

    def from_file(self, file_stream: Any, resources: dict[str, Any] | None = None, **kw: Any) -> tuple[Any, dict[str, Any]]:
        """Convert a notebook from an open text file."""
        from kale_nb.errors import SourceError
        from kale_nb.source.notebook import notebook_source, parse_notebook

        resources = dict(resources or {})
        text = file_stream.read()
        if _ORIGIN not in resources:
            path, digest = _shown(resources), hashlib.sha256(text.encode("utf-8")).hexdigest()
            try:
                notebook_source(parse_notebook(text, path), path=path, sha256=digest)
            except SourceError as error:
                self.refuse(path, error)
            resources[_ORIGIN] = (path, digest)
        return super().from_file(io.StringIO(text.removeprefix("\ufeff")), resources, **kw)

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Convert a notebook node. ExportError when it cannot become a pipeline."""
        import nbformat

        from kale_nb.compiler import compile_source
        from kale_nb.errors import KaleError
        from kale_nb.source.notebook import notebook_source

        resources = dict(resources or {})
        path, digest = resources.pop(_ORIGIN, None) or (
            _shown(resources),
            hashlib.sha256(f"{nbformat.writes(nb)}\n".encode()).hexdigest(),
        )
        nb, made = super().from_notebook_node(nb, resources, **kw)
        try:
            compiled = compile_source(notebook_source(nb, path=path, sha256=digest), name=self.name.strip())
            text = self.made_of(compiled, nb, made)
        except KaleError as error:
            self.refuse(path, error)
        self.warn(compiled.diagnostics)
        _spare_extension(made)
        return text, made

    def made_of(self, compiled: Compiled, nb: NotebookNode, resources: dict[str, Any]) -> str:
        """Return the main output for a compiled notebook; further files go into `resources`."""
        raise NotImplementedError

    def refuse(self, path: str, problem: KaleError) -> NoReturn:
        """End the conversion. The nbconvert command logs the message and exits with status 1; a library gets an ExportError.

        nbconvert itself shows a traceback for every exception, which tells an author nothing: so the command does not get to see one.
        """
        from kale_nb.diagnostics import CompileError

        if isinstance(problem, CompileError) and problem.diagnostics:
            text = "\n".join(d.render() for d in problem.diagnostics)
        else:
            text = f"{problem}\n    hint: {problem.hint}" if problem.hint else str(problem)
        app = running_command()
        if app is None:
            raise ExportError(text, problem) from problem
        self.log.error("%s cannot be converted, nothing is written for it:\n%s", path, text)
        app.exit(1)
        raise SystemExit(1)

    def warn(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Tell of what does not stop the conversion."""
        from kale_nb.diagnostics import Severity

        for diagnostic in diagnostics:
            tell = self.log.info if diagnostic.level is Severity.NOTE else self.log.warning
            tell("%s", diagnostic.render())


def running_command() -> NbConvertApp | None:
    """Return the nbconvert command when this process is one."""
    from nbconvert.nbconvertapp import NbConvertApp

    app = Application.instance() if Application.initialized() else None
    return app if isinstance(app, NbConvertApp) else None


def _shown(resources: dict[str, Any]) -> str:
    """Return the path of a notebook that came without its file: what the caller's metadata say."""
    metadata = resources.get("metadata") or {}
    return os.path.join(metadata.get("path") or "", f"{metadata.get('name') or _NAMELESS}.ipynb")


def _spare_extension(resources: dict[str, Any]) -> None:
    """Add no extension to a name that was given with one: `--output flow.json` writes flow.json."""
    name, extension = resources.get("unique_key") or "", resources.get("output_extension") or ""
    last = os.path.splitext(extension)[1]
    if last and name.endswith(last):
        resources["output_extension"] = ""
