"""Parameters on the command line: reading `-p` and `--params-file`, and listing them for `--help-params`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kale_nb.errors import UsageError
from kale_nb.pipeline.model import Pipeline
from kale_nb.pipeline.params import to_source
from kale_nb.planning import checked_params, read_params
from kale_nb.report.style import clip, table


def given_params(pipeline: Pipeline, texts: Iterable[str], file: Path | None) -> dict[str, object]:
    """Return the values given by file and by `NAME=VALUE` texts, which win; each as its parameter's type.

    UsageError when a name is no parameter, a value does not fit, or the file cannot be read.
    """
    values: dict[str, object] = {}
    if file is not None:
        values.update(checked_params(pipeline, read_params_file(file)))
    values.update(read_params(pipeline, texts))
    return values


def read_params_file(file: Path) -> dict[str, object]:
    """Read a YAML or JSON file that maps names to values; UsageError when it is anything else."""
    import yaml

    try:
        value = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--params-file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--params-file {file} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--params-file {file} is not YAML: {' '.join(str(error).split())}") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"--params-file {file} does not map names to values", hint="write one `name: value` a line")
    return dict(value)


def describe_params(pipeline: Pipeline) -> list[str]:
    """Return the parameters as lines for people: name, type, default, description."""
    if not pipeline.params:
        return [f"{pipeline.name} has no parameters; tag the cell that assigns them `parameters`"]
    rows = [("parameter", "type", "default", "")]
    for param in pipeline.params:
        kind = f"{param.type} or None" if param.optional else param.type
        rows.append(
            (param.name, kind, clip(to_source(param.default).replace("__import__('datetime').", ""), 60), param.description or "")
        )
    return table(rows, indent="")
