"""What a step leaves for people: the report, an HTML page of the executed notebook, and its metrics."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kale_nb.engines.kfp.stepper.orders import Order, TaskInput, local_path
from kale_nb.quick_imports import without_grammars

_OURS = ("kale-load", "kale-save")


def leave(task: TaskInput, notebook: Mapping[str, Any], metrics: Mapping[str, float], order: Order) -> None:
    """Write the outputs that the task has, and what KFP is to know of them."""
    told: dict[str, Any] = {name: {"artifacts": [dict(output)]} for name, output in task.outputs.items()}
    if "report" in task.outputs:
        _write(local_path(task.outputs["report"]), page(notebook, order.step))
    if "metrics" in task.outputs:
        shown = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
        _write(local_path(task.outputs["metrics"]), json.dumps(shown, indent=1) + "\n")
        told["metrics"] = {"artifacts": [{**task.outputs["metrics"], "metadata": shown}]}
    if task.output_file is not None:
        _write(task.output_file, json.dumps({"artifacts": told}))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")


def page(notebook: Mapping[str, Any], title: str) -> str:
    """Return an executed stepbook as an HTML page: by nbconvert where the image has it, else by ourselves. Cells of ours are left out."""
    shown = dict(notebook)
    shown["cells"] = [c for c in notebook.get("cells", ()) if not set(c.get("metadata", {}).get("tags", ())) & set(_OURS)]
    try:
        with without_grammars():
            from nbconvert import HTMLExporter
            from nbformat import from_dict
    except ImportError:
        return _plain_page(shown, title)
    try:
        made: str = HTMLExporter(template_name="lab").from_notebook_node(from_dict(shown), {"metadata": {"name": title}})[0]
        return made
    except Exception as error:  # noqa: BLE001 - whatever a template raises, the step has succeeded
        sys.stderr.write(f"kale: nbconvert could not write the report ({_first_line(error)}); a plain one is kept\n")
        return _plain_page(shown, title)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f6f8fa;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap;border-radius:4px}"
    "pre.out{background:none;border-left:3px solid #d0d7de}pre.err{background:#fff0f0}img{max-width:100%}"
)


def _plain_page(notebook: Mapping[str, Any], title: str) -> str:
    from html import escape

    parts = [
        f"<!doctype html><html><head><meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    ]
    parts.append(f"<h1>{escape(title)}</h1>")
    for cell in notebook["cells"]:
        text = escape(_joined(cell.get("source", "")))
        if not text.strip():
            continue
        parts.append(f"<pre>{text}</pre>" if cell["cell_type"] == "code" else f"<p>{text}</p>")
        parts += [_output(output) for output in cell.get("outputs", ())]
    return "\n".join([*parts, "</body></html>\n"])


def _output(output: Mapping[str, Any]) -> str:
    from html import escape

    if output["output_type"] == "stream":
        return f"<pre class='{'err' if output.get('name') == 'stderr' else 'out'}'>{escape(_joined(output['text']))}</pre>"
    if output["output_type"] == "error":
        return f"<pre class='err'>{escape(output.get('ename', ''))}: {escape(output.get('evalue', ''))}</pre>"
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f"<img alt='' src='data:{kind};base64,{_joined(data[kind]).strip()}'>"
    if "image/svg+xml" in data or "text/html" in data:
        return _joined(data.get("text/html") or data["image/svg+xml"])
    return f"<pre class='out'>{escape(_joined(data.get('text/plain', '')))}</pre>"


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
