"""What the reading process does: import the script, find its pipeline, run the body with stand-ins, write what was noted."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from kale_nb import sdk
from kale_nb.errors import UsageError
from kale_nb.pipeline import hints
from kale_nb.pipeline.params import Param, check_value, to_source, type_name
from kale_nb.scripts.modules import module_name, search_path
from kale_nb.scripts.tracing import functions
from kale_nb.scripts.tracing.calls import Note, Tracer
from kale_nb.scripts.tracing.frames import Spot, is_ours, source_line, spot_in, spot_of, user_frame
from kale_nb.scripts.tracing.naming import Names, steps_of
from kale_nb.scripts.tracing.values import MARKER, Refused, marker_number, refuse


class Importing:
    """Listens while the script is imported: steps run as plain Python, a pipeline must not."""

    def step(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the step."""
        return sdk.run_plainly(getattr(wrapper, sdk.STEP).function, args, kwargs)

    def pipeline(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Refuse: every step imports the script and would run the whole pipeline."""
        refuse(
            "KN611",
            f"the pipeline {wrapper.__name__} is called when the script is imported, and every step imports it",
            'put the call under `if __name__ == "__main__":`',
        )

    def metric(self, name: str, value: float) -> None:
        """Nothing is kept."""


class Printed(io.TextIOBase):
    """Takes what the pipeline's body prints; a stand-in in it is refused."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.spots: list[Spot | None] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if MARKER.search(text):
            node, _ = self.tracer.converter.texts[marker_number(MARKER.findall(text)[0])]
            what = "a parameter" if "$v" not in _dump(node) else "a result"
            refuse(
                "KN605", f"the pipeline's body prints {what}, which is only known when the pipeline runs", "print it in a step"
            )
        spot = spot_of(user_frame())
        if text.strip() and spot not in self.spots:
            self.spots.append(spot)
        return len(text)


def _dump(node: Any) -> str:
    import ast

    return ast.dump(node)


def read(path: str, wanted: str | None) -> dict[str, Any]:
    """Return what a script's pipeline is, or the findings that say why there is none."""
    found: list[Note] = []
    try:
        module = import_script(path)
        wrapper = choose(module, wanted)
        return trace(module, wrapper, found)
    except Refused as refused:
        found.append(Note(code=refused.code, message=refused.message, hint=refused.hint, spot=refused.spot))
    return {"notes": [_note(n) for n in found]}


def import_script(path: str) -> ModuleType:
    """Import the script as a module; whatever it raises becomes a refusal."""
    name = module_name(path)
    sys.path[:0] = search_path(path)
    sys.argv[:] = [path]
    sdk.listen(Importing())
    try:
        if name.importable:
            return importlib.import_module(name.name)
        spec = importlib.util.spec_from_file_location(name.name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name.name] = module
        spec.loader.exec_module(module)
        return module
    except (KeyboardInterrupt, Refused):
        raise
    except BaseException as error:  # noqa: BLE001 - the user's own code: it may raise anything, also SystemExit
        _refuse_error("KN601", error, path, "the script cannot be imported")
    finally:
        sdk.listen(None)


def _refuse_error(code: str, error: BaseException, path: str, what: str) -> NoReturn:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        column = (error.offset or 1) - 1
        end = error.end_offset - 1 if error.end_offset and error.end_lineno == error.lineno else None
        spot = Spot(path=error.filename, line=error.lineno, column=column, end=end)
        refuse("KN001", f"{error.msg}", "correct the line", spot)
    at: Spot | None = Spot(path=path, line=1)
    tb = error.__traceback__
    while tb is not None:
        if _is_users(tb.tb_frame.f_code.co_filename, path):
            at = spot_in(tb.tb_frame.f_code, tb.tb_lasti, tb.tb_lineno)
        tb = tb.tb_next
    if isinstance(error, sdk.SettingError):
        refuse("KN604", str(error), None, at)
    if isinstance(error, SystemExit):
        refuse(code, f"{what}: it ends itself with sys.exit({error.code!r})", 'put that under `if __name__ == "__main__":`', at)
    if isinstance(error, RecursionError):
        refuse(code, f"{what}: it calls itself without end", None, at)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "every step imports the script: the same error would end each of them" if code == "KN601" else None
    if isinstance(error, ModuleNotFoundError):
        hint = f"install `{error.name}`, or put it beside the script"
    refuse(code, f"{what}: {text}", hint, at)


def _is_users(filename: str, script: str) -> bool:
    return (
        os.path.abspath(filename).startswith(os.path.dirname(os.path.abspath(script)) + os.sep)
        and "site-packages" not in filename
    )


def choose(module: ModuleType, wanted: str | None) -> Callable[..., Any]:
    """Return the pipeline that is meant."""
    every: dict[int, Callable[..., Any]] = {id(v): v for v in vars(module).values() if callable(v) and hasattr(v, sdk.PIPELINE)}
    own = [v for v in every.values() if getattr(v, sdk.PIPELINE).module == module.__name__]
    found = own or list(every.values())
    if wanted is not None:
        named = [v for v in every.values() if wanted in (v.__name__, getattr(v, sdk.PIPELINE).settings.get("name"))]
        if named:
            return named[0]
        listed = ", ".join(v.__name__ for v in every.values()) or "it has none"
        refuse("KN602", f"there is no pipeline `{wanted}` in the script", f"its pipelines: {listed}", _top(module))
    if not found:
        refuse(
            "KN602", "there is no function decorated with @pipeline", "decorate the function that calls the steps", _top(module)
        )
    if len(found) > 1:
        names = [v.__name__ for v in found]
        mark = getattr(found[1], sdk.PIPELINE)
        spot = Spot(path=mark.path, line=mark.line)
        refuse("KN603", f"there are {len(found)} pipelines: {', '.join(names)}", f"choose one: --pipeline {names[0]}", spot)
    return found[0]


def _top(module: ModuleType) -> Spot:
    return Spot(path=str(module.__file__), line=1)


def trace(module: ModuleType, wrapper: Callable[..., Any], found: list[Note]) -> dict[str, Any]:
    """Run the body with stand-ins and return what it does."""
    mark: sdk.PipelineMark = getattr(wrapper, sdk.PIPELINE)
    tracer = Tracer(module, wrapper)
    tracer.notes = found
    spot = Spot(path=mark.function.__code__.co_filename, line=mark.function.__code__.co_firstlineno)
    signature = inspect.signature(mark.function)
    declared = hints.hints_of(mark.function)
    params = [_check_param(p, spot, declared) for p in signature.parameters.values()]
    _check_identity(mark.function)
    positional = [tracer.parameter(p.name) for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY]
    named = {p.name: tracer.parameter(p.name) for p in signature.parameters.values() if p.kind is not p.POSITIONAL_ONLY}
    printed = Printed(tracer)
    sdk.listen(tracer)
    try:
        with contextlib.redirect_stdout(printed):
            mark.function(*positional, **named)
    except (KeyboardInterrupt, Refused):
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        _refuse_error("KN616", error, str(module.__file__), "the pipeline's body fails")
    finally:
        sdk.listen(None)
    for at in printed.spots:
        message = "the pipeline's body prints when it is read, not when the pipeline runs"
        found.append(Note(code="KN614", message=message, hint="print in a step", spot=at))
    if not tracer.calls:
        refuse("KN613", f"the pipeline {wrapper.__name__} calls no step", "call functions that are decorated with @step", spot)
    names = Names(tracer, [p["name"] for p in params])
    return {
        "pipeline": {
            "function": wrapper.__name__,
            "name": str(mark.settings.get("name") or wrapper.__name__),
            "settings": {k: v for k, v in mark.settings.items() if k != "name" and v is not None},
            "doc": (inspect.getdoc(mark.function) or "").split("\n\n")[0].strip() or None,
            "marked": [mark.path, mark.line],
        },
        "params": [_typed_param(p, tracer) for p in params],
        "steps": steps_of(tracer, names),
        "modules": _users_modules(module),
        "notes": [_note(n) for n in found],
    }


def _check_param(param: inspect.Parameter, spot: Spot, declared: dict[str, Any]) -> dict[str, Any]:
    if param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD):
        refuse("KN612", f"`{param}` of the pipeline takes any number of values", "name each parameter, with its default", spot)
    if param.default is param.empty:
        hint = f"give it one: `{param.name}=...`; `-p {param.name}=...` then sets it for a run"
        refuse("KN612", f"the parameter `{param.name}` has no default", hint, spot)
    try:
        to_source(param.default)
    except ValueError:
        message = f"the default of `{param.name}` is of type {type(param.default).__name__}, which no parameter can have"
        refuse("KN612", message, "take a number, a text, a date, or a list or dict of these, and make the object in a step", spot)
    return {"name": param.name, "default": param.default, "hint": declared.get(param.name), "spot": spot}


def _typed_param(param: dict[str, Any], tracer: Tracer) -> dict[str, Any]:
    """Decide a parameter's type: its own hint, else what the steps that take it as it is declare, else that of its default."""
    default, kind = param["default"], type_name(param["default"])
    optional, where, spot = False, "its hint", param["spot"]
    found = hints.param_type(param["hint"]) if param["hint"] is not None else None
    if param["hint"] is None:
        asked = [(t, s, w) for h, s, w in tracer.wanted.get(param["name"], ()) if (t := hints.param_type(h)) is not None]
        if asked and len({t for t, _, _ in asked}) == 1:
            found, spot, where = asked[0]
    if found is not None and default is None:
        kind, optional = found[0], True
    elif found is not None and not (found[0] in ("float", "complex") and kind in ("int", "float")):
        kind, optional = found
        try:
            default = check_value(Param(name=param["name"], type=kind, default=default, optional=optional), default)
        except UsageError:
            message = f"the default of `{param['name']}` is {to_source(default)}, and {where} says {kind}"
            refuse("KN609", message, "correct the hint or the default", spot)
    elif found is not None:
        kind, optional = found
    return {"name": param["name"], "type": kind, "default": to_source(default), "optional": optional}


def _check_identity(function: Callable[..., Any]) -> None:
    node = functions.node_of(function)
    for check in functions.is_none_checks_of(node) if node is not None else ():
        spot = Spot(path=function.__code__.co_filename, line=check.lineno, column=check.col_offset, end=check.end_col_offset)
        refuse("KN605", "the pipeline's body asks what a parameter or a result is", "let a step decide: it takes the value", spot)


def _users_modules(script: ModuleType) -> list[dict[str, Any]]:
    """The modules beside the script that it imported, itself included."""
    root = search_path(str(script.__file__))[-1]
    made: list[dict[str, Any]] = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py") or name == "__main__" or is_ours(path):
            continue
        if re.search(r"[/\\](site|dist)-packages[/\\]", path) or not os.path.abspath(path).startswith(root + os.sep):
            continue
        made.append({"name": name, "path": os.path.relpath(path, root), "package": hasattr(module, "__path__")})
    return sorted(made, key=lambda m: m["name"])


def _note(note: Note) -> dict[str, Any]:
    spot = note.spot
    made: dict[str, Any] = {"code": note.code, "message": note.message, "hint": note.hint}
    if spot is not None:
        line = source_line(spot.path, spot.line)
        made |= {"path": spot.path, "line": spot.line, "column": spot.column, "end": spot.end, "text": line}
    return made


def main(path: str, target: str, wanted: str | None) -> None:
    """Read a script and write what was found into a file."""
    content = read(path, wanted)
    Path(target).write_text(json.dumps(content, default=repr), encoding="utf-8")
