"""`jupyter nbconvert --to kale-html`: the pipeline as one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traitlets import Bool, default
from traitlets.config import Application

from .reading import CompilingExporter

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from kale_nb.compiler import Compiled


class KaleHtmlExporter(CompilingExporter):
    """Exports an annotated notebook as one HTML page of its pipeline, for people: the graph on top, then each step with its cells, inputs
    and outputs. The page needs nothing from elsewhere and runs no script."""

    export_from_notebook = "Kale pipeline as HTML"
    output_mimetype = "text/html"

    outputs = Bool(
        True,
        help="""Show what the cells showed when the notebook was saved, within bounds. `--execute` runs it before.""",
    ).tag(config=True)

    @default("file_extension")
    def _default_extension(self) -> str:
        return ".kale.html"

    def made_of(self, compiled: Compiled, nb: NotebookNode, resources: dict[str, Any]) -> str:
        """Return the text of the page."""
        from kale_nb.page.page import page_html

        cells = list(enumerate(nb.get("cells") or (), 1))
        shown = {number: cell.get("outputs") or () for number, cell in cells} if self.outputs else {}
        return page_html(compiled, shown, {number: cell["attachments"] for number, cell in cells if cell.get("attachments")})


class DashedHtmlExporter(KaleHtmlExporter):
    """`--to kale-html`: the same under the name that people type.

    Notebook servers list all formats in their menus, and take no dash in the name of one: there this one is not, but `kale_html`.
    """

    @default("enabled")
    def _default_enabled(self) -> bool:
        app = Application.instance() if Application.initialized() else None
        return not any(kind.__name__ == "ServerApp" for kind in type(app).__mro__)
