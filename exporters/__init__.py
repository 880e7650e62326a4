"""Installed as `kale_nb.exporters`: what nbconvert finds under `--to kale` and `--to kale-html`.

nbconvert imports every exporter that is installed each time it starts, whatever it is asked to write, so nothing of the compiler is
imported before a notebook comes.
"""

import nbconvert.exporters

from .page import DashedHtmlExporter, KaleHtmlExporter
from .pipeline import KaleExporter
from .reading import ExportError

__all__ = ["DashedHtmlExporter", "ExportError", "KaleExporter", "KaleHtmlExporter"]

# `jupyter nbconvert --help-all` and the check of options on the command line know the classes that are found here, and no others.
for _exporter in (KaleExporter, KaleHtmlExporter):
    setattr(nbconvert.exporters, _exporter.__name__, _exporter)
