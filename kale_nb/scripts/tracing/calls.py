"""The listener that notes down the calls of steps while a pipeline's body runs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType, ModuleType
from typing import Any

from kale_nb.pipeline import hints
from kale_nb.scripts.tracing import frames, functions
from kale_nb.scripts.tracing.expressions import Converter
from kale_nb.scripts.tracing.frames import Spot, Unpack, spot_of, user_frame
from kale_nb.scripts.tracing.values import Known, Value, known_of, refuse
from kale_nb.sdk import STEP, StepMark, takes_after

VARIABLE, PARAMETER = "$v", "$p"
_GENERATOR, _COROUTINE = 0x20, 0x80 | 0x200


@dataclass(slots=True, eq=False)
class Variable:
    """A value that a step makes: its whole result, or a part that the body unpacks.

    Attributes:
        asked: the name that the body gives it.
        hint: its declared type.
        uses: how often the body takes it as it is.
        shapes: how it is unpacked, with the variables that come out.
    """

    number: int
    call: Call
    asked: str | None = None
    hint: Any = hints.ANYTHING
    shapes: list[tuple[Unpack, list[Variable], Spot | None]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a step.

    Attributes:
        args, kwargs: expressions.
        after: calls that this one is ordered after, beside those whose results it takes.
        changes: variables whose values the step changes in place, as far as its text shows.
    """

    index: int
    wrapper: Callable[..., Any]
    mark: StepMark
    spot: Spot | None
    name: str = ""
    reference: ast.expr | None = None
    args: list[ast.expr] = field(default_factory=list)
    kwargs: list[tuple[str, ast.expr]] = field(default_factory=list)
    after: list[Call] = field(default_factory=list)
    changes: list[Variable] = field(default_factory=list)
    whole: Variable | None = None

    @property
    def line(self) -> int:
        """The line of the step's definition."""
        code = getattr(self.mark.function, "__code__", None)
        return code.co_firstlineno if code is not None else self.mark.line


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A finding that does not stop the reading."""

    code: str
    message: str
    hint: str | None
    spot: Spot | None


class Tracer:
    """Notes the calls of one pipeline's body."""

    def __init__(self, script: ModuleType, function: Callable[..., Any]) -> None:
        self.converter = Converter(script)
        self.function = function
        self.calls: list[Call] = []
        self.variables: list[Variable] = []
        self.notes: list[Note] = []
        self.wanted: dict[str, list[tuple[Any, Spot | None, str]]] = {}

    # -- what the body calls --------------------------------------------------------------------------------------------------

    def pipeline(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Another pipeline's steps become steps of this one; a pipeline that calls itself has no end."""
        if wrapper is self.function:
            refuse(
                "KN611", f"the pipeline {wrapper.__name__} calls itself", "take the call out; a loop over constants repeats steps"
            )
        return inspect.unwrap(wrapper, stop=lambda f: not hasattr(f, "__kale_pipeline__"))(*args, **kwargs)

    def metric(self, name: str, value: float) -> None:
        """A metric belongs to a step."""
        refuse("KN606", f"log_metric({name!r}, ...) is called outside of a step", "call it in the step that knows the number")

    def step(self, wrapper: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call and return the stand-in of its result."""
        mark: StepMark = getattr(wrapper, STEP)
        frame = user_frame()
        call = Call(len(self.calls), wrapper, mark, spot_of(frame))
        given = kwargs
        if "after" in kwargs and not takes_after(mark.function):
            given = {k: v for k, v in kwargs.items() if k != "after"}
            call.after += self.resolve_after(kwargs["after"], call)
        call.reference = self.locate(call)
        call.name = self.unique_name(str(mark.settings.get("name") or _name_of(call.reference, self.converter)))
        call.after += self.resolve_after(mark.settings.get("after"), call)
        bound = self.bind(call, args, given)
        self.convert_arguments(call, args, given, spread=frame is not None and frames.spreads(frame))
        self.note_use(call, bound)
        self.note_function(call)
        self.calls.append(call)
        call.whole = self.variable(call, hints.hints_of(mark.function).get("return", hints.ANYTHING))
        self.name_whole(call, frame)
        return self.stand_in(call.whole)

    def locate(self, call: Call) -> ast.expr:
        """Return where the step's function can be imported from."""
        function, name = call.mark.function, getattr(call.mark.function, "__qualname__", "it")
        code = getattr(function, "__code__", None)
        flags = code.co_flags if code is not None else 0
        if flags & _GENERATOR:
            refuse(
                "KN606",
                f"{name} is a generator: what it yields cannot be kept for another process",
                "return a list: `return list(...)`, or collect what it yields",
            )
        if flags & _COROUTINE:
            refuse("KN606", f"{name} is an async function, and nobody would wait for it", "make it a plain function")
        found = self.converter.importable(call.wrapper)
        if found is None:
            found = self._held_by(call)
        if found is not None:
            if "." in name and "<locals>" not in name and _first_parameter(function) == "self":
                refuse(
                    "KN606",
                    f"{name} is a method: its object is not there in the step",
                    "make it a function that takes the object",
                )
            return found
        if "<locals>" in name:
            message = f"{name.rpartition('.')[2]} is defined inside of {name.partition('.<locals>')[0]}: no step could import it"
        elif name == "<lambda>":
            message = "a lambda that has no name of its own in the script is a step: no step could import it"
        else:
            message = f"{name} is a step under no name that could be imported"
        return refuse("KN606", message, "define the step at the top level of a module, with its own name")

    def _held_by(self, call: Call) -> ast.expr | None:
        import sys

        module = sys.modules.get(call.mark.module)
        for name, value in vars(module).items() if module is not None else ():
            if value is call.wrapper:
                return self.converter.reference(call.mark.module, name)
        return None

    def unique_name(self, asked: str) -> str:
        """Return a step's name, numbered when another step has it."""
        used = {call.name for call in self.calls}
        name, number = asked, 1
        while name in used:
            number += 1
            name = f"{asked}-{number}"
        return name

    def resolve_after(self, asked: Any, call: Call) -> list[Call]:
        """Return the calls that `after=` means: results, functions or names."""
        if asked is None:
            return []
        if type(asked) in (list, tuple, set):
            return [found for one in asked for found in self.resolve_after(one, call)]
        if type(asked) is Value:
            node = known_of(asked).node
            return [
                self.variables[int(n.id[2:])].call for n in ast.walk(node) if isinstance(n, ast.Name) and n.id[:2] == VARIABLE
            ]
        found = [
            c
            for c in self.calls
            if asked in (c.name, c.mark.settings.get("name")) or asked is c.wrapper or asked is c.mark.function
        ]
        if found:
            return found
        name = asked if isinstance(asked, str) else getattr(asked, "__name__", repr(asked))
        import difflib

        near = difflib.get_close_matches(name, [c.name for c in self.calls], n=1)
        hint = f"did you mean `{near[0]}`?" if near else "the body must call that step first"
        return refuse("KN617", f"`after` names `{name}`, and no such step was called before", hint)

    def bind(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Match arguments with the function's parameters."""
        if any(type(a) is Value and isinstance(known_of(a).node, ast.Starred) for a in args):
            return {}  # how many they are is not known
        try:
            return dict(inspect.signature(call.mark.function).bind(*args, **kwargs).arguments)
        except TypeError as error:
            where = f"{_file(call.mark.path)}:{call.line}"
            return refuse("KN607", f"{call.mark.function.__name__}() cannot be called so: {error}", f"it is defined at {where}")
        except ValueError:
            return {}

    def convert_arguments(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], *, spread: bool) -> None:
        """Turn arguments into expressions."""
        convert = self.converter.argument
        call.args = [convert(v, f"argument {i} of {call.name}", spread=spread) for i, v in enumerate(args, 1)]
        call.kwargs = [(k, convert(v, f"argument `{k}` of {call.name}")) for k, v in kwargs.items()]

    def note_use(self, call: Call, bound: dict[str, Any]) -> None:
        """Compare declared types with what comes, and note what the step changes in place."""
        node = functions.node_of(call.mark.function)
        changed = functions.changed_parameters(node) if node is not None else set()
        declared = hints.hints_of(call.mark.function)
        for parameter, value in bound.items():
            for root in _roots(value) if parameter in changed else ():
                call.changes.append(self.variables[int(root[2:])])
            if parameter not in declared or type(value) is not Value:
                continue
            at = known_of(value).node
            if not isinstance(at, ast.Name):
                continue
            if at.id.startswith(PARAMETER):
                self.wanted.setdefault(at.id[2:], []).append((declared[parameter], call.spot, f"`{parameter}` of {call.name}"))
            elif not hints.suits(self.variables[int(at.id[2:])].hint, declared[parameter]):
                maker = self.variables[int(at.id[2:])]
                self.notes.append(
                    Note(
                        code="KN609",
                        message=f"{call.name} takes `{parameter}` as {hints.spelled(declared[parameter])}, and {maker.call.name} "
                        f"({_file(maker.call.mark.path)}:{maker.call.line}) returns {hints.spelled(maker.hint)}",
                        hint=f"correct one of the hints; {call.name} is defined at {_file(call.mark.path)}:{call.line}",
                        spot=call.spot,
                    )
                )

    def note_function(self, call: Call) -> None:
        """Say what in the step's text means something else in a process of its own."""
        node = functions.node_of(call.mark.function)
        if node is None or any(c.mark is call.mark for c in self.calls):
            return
        for name, line in functions.set_globals(node):
            self.notes.append(
                Note(
                    code="KN615",
                    message=f"{call.name} sets the global `{name}`, which no other step sees: each runs in a process of its own",
                    hint=f"return `{name}` and pass it on",
                    spot=Spot(path=getattr(call.mark.function, "__code__").co_filename, line=line),  # noqa: B009 - any callable
                )
            )

    # -- what becomes of results ----------------------------------------------------------------------------------------------

    def variable(self, call: Call, hint: Any, asked: str | None = None) -> Variable:
        """Make a variable."""
        made = Variable(len(self.variables), call, asked, hint)
        self.variables.append(made)
        return made

    def stand_in(self, variable: Variable) -> Value:
        """Return the stand-in of a variable."""
        node = ast.Name(id=f"{VARIABLE}{variable.number}", ctx=ast.Load())
        what = f"the result of step `{variable.call.name}`"
        return Value(Known(node, what, False, self.converter.convert, self.unpack, self.converter.mark))

    def parameter(self, name: str) -> Value:
        """Return the stand-in of a parameter."""
        node = ast.Name(id=f"{PARAMETER}{name}", ctx=ast.Load())
        return Value(Known(node, f"the parameter `{name}`", True, self.converter.convert, self.unpack, self.converter.mark))

    def name_whole(self, call: Call, frame: FrameType | None) -> None:
        """Take the name that the result is assigned to."""
        target = frames.targets_of_call(frame) if frame is not None else None
        if isinstance(target, ast.Name) and call.whole is not None:
            call.whole.asked = target.id

    def unpack(self, value: Value, shape: Unpack, frame: FrameType) -> list[Any]:
        """Return the values of an unpacking."""
        known = known_of(value)
        if not isinstance(known.node, ast.Name) or not known.node.id.startswith(VARIABLE):
            return self.unpack_expression(value, shape)
        variable = self.variables[int(known.node.id[2:])]
        targets = frames.unpacked_targets(frame) or []
        names = [_target_name(t) for t in targets]
        spot = spot_of(frame)
        count = self.count_of(variable, shape, spot)
        rest = None
        if shape.starred:
            star = names.pop(shape.before) if len(names) == shape.values + 1 else None
            if count is None:
                rest = self.variable(variable.call, hints.ANYTHING, star)
            else:
                extra = [f"{star}_{i}" if star else None for i in range(count - shape.values)]
                names[shape.before : shape.before] = extra
                shape = Unpack(count, False, 0)
        items = hints.items_of(variable.hint)
        fitting = items if items is not None and len(items) == shape.values and not shape.starred else None
        made = [
            self.variable(variable.call, fitting[i] if fitting else hints.ANYTHING, names[i] if i < len(names) else None)
            for i in range(shape.values)
        ]
        parts = [self.stand_in(v) for v in made]
        if rest is not None:
            made.insert(shape.before, rest)
            whole = known_of(self.stand_in(rest))
            parts.insert(shape.before, whole.derived(ast.Starred(value=whole.node, ctx=ast.Load())))
        variable.shapes.append((shape, made, spot))
        return parts

    def count_of(self, variable: Variable, shape: Unpack, spot: Spot | None) -> int | None:
        """Return how many values there are, if that is known; refuse when it cannot be unpacked so."""
        items = hints.items_of(variable.hint)
        count, line = (len(items), variable.call.line) if items is not None else (None, 0)
        node = functions.node_of(variable.call.mark.function) if variable.call.whole is variable else None
        if count is None and node is not None:
            count, line = functions.returned_count(node) or (None, 0)
        if count is not None and (count < shape.values if shape.starred else count != shape.values):
            where = f"{_file(variable.call.mark.path)}:{line}"
            least = "at least " if shape.starred else ""
            refuse(
                "KN608",
                f"{variable.call.name} returns {_values(count)} ({where}), and the body unpacks {least}{shape.values}",
                "let both have the same number; `_` takes what is not needed",
                spot,
            )
        return count

    def unpack_expression(self, value: Value, shape: Unpack) -> list[Any]:
        """Unpack what is no plain result: each part is an expression of its own."""
        if shape.starred:
            refuse("KN605", "a starred name takes what is left of an expression", "unpack it in the step that takes it")
        return [value[i] for i in range(shape.values)]


def _roots(value: Any) -> Iterable[str]:
    """The variables whose objects an argument is, or holds."""
    if type(value) in (list, tuple):
        for item in value:
            yield from _roots(item)
    elif type(value) is dict:
        yield from _roots(list(value.values()))
    elif type(value) is Value:
        node = known_of(value).node
        while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        if isinstance(node, ast.Name) and node.id.startswith(VARIABLE):
            yield node.id


def _target_name(target: ast.expr) -> str | None:
    inner = target.value if isinstance(target, ast.Starred) else target
    return inner.id if isinstance(inner, ast.Name) else None


def _name_of(reference: ast.expr, converter: Converter) -> str:
    while isinstance(reference, ast.Attribute):
        return reference.attr
    number = int(reference.id[2:]) if isinstance(reference, ast.Name) else 0
    return list(converter.imports)[number][1]


def _first_parameter(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return code.co_varnames[0] if code is not None and code.co_argcount else None


def _file(path: str) -> str:
    import os

    return os.path.basename(path)


def _values(count: int) -> str:
    return f"{count} value{'s' if count != 1 else ''}"


__all__ = ["PARAMETER", "VARIABLE", "Call", "Note", "Tracer", "Variable"]
