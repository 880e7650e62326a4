"""One step in its kernel, from load to save.

After `load` a session knows what it brought in and what the prelude made: each such value with its trace. At `save` it takes the traces
again. A name that still holds the same, unchanged value keeps the version it came with; what is new, bound again or changed in place is
written, together with anything that shares objects with it, as one object graph; what is gone is noted as deleted.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kale_nb import marshal
from kale_nb.errors import ConflictError, MarshalError
from kale_nb.marshal import Trace
from kale_nb.runtime import randomness
from kale_nb.runtime.aliases import reshaped, shared
from kale_nb.runtime.choice import find_twins, refuse_conflicts, with_companions
from kale_nb.runtime.manifest import Manifest, Version, join, read_manifest, write_manifest
from kale_nb.runtime.metrics import MetricsRecorder
from kale_nb.runtime.namespace import is_foreign, is_shell_name, shown_value
from kale_nb.runtime.sources import cell_sources, show_sources
from kale_nb.runtime.state import apply_state, baseline_of, has_state, state_of
from kale_nb.runtime.surroundings import PREFIX, Surroundings, spoken

STATE_PREFIX = "state:"
_LARGE = 1 << 20
_OF_THE_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})


@dataclass(frozen=True, slots=True)
class _Held:
    """A value as the step's own code found it. `state`: it is a class or function of the prelude, traced by its state."""

    value: object
    trace: Trace
    state: bool = False


class Session:
    """What passes between one step and the others. `data` is the run's data folder, `namespace` the notebook's."""

    def __init__(
        self, data: str, step: str, after: Sequence[str], namespace: dict[str, object], around: Surroundings | None = None
    ) -> None:
        self.data = Path(data).absolute()
        self.step = step
        self.namespace = namespace
        self.prelude = {n: v for n, v in namespace.items() if not n.startswith("_") or not is_shell_name(n)}
        self.definitions = {n: v for n, v in self.prelude.items() if has_state(v, namespace)}
        self.baselines = {n: baseline_of(v) for n, v in self.definitions.items()}
        self.incoming = join(step, [read_manifest(self.data, p) for p in after])
        self.held: dict[str, _Held] = {}
        self.used: set[str] = set()
        self.metrics = MetricsRecorder()
        self.warnings: list[str] = []
        self.twins = dict(self.incoming.twins)
        self.alive: list[object] = []
        self.objects: dict[str, frozenset[int]] = {}
        self.turned: list[str] = []
        self.random: dict[str, Any] = {}
        self.around = Surroundings() if around is None else around
        self.everything = False
        self.modules: dict[str, Trace] = {}
        self.once: Sequence[str] = ()
        self._own_folder().mkdir(parents=True, exist_ok=True)
        (self._own_folder() / "step.json").unlink(missing_ok=True)

    def _own_folder(self) -> Path:
        return self.data / self.step

    # -- load -------------------------------------------------------------------------------------------------------------

    def load(
        self,
        needs: Sequence[str],
        maybe: Sequence[str],
        possible: Sequence[str],
        touches: Sequence[str],
        once: Sequence[str],
        modules: Sequence[str],
    ) -> None:
        """Bring the names in, and note the state of what the step may change."""
        show_sources(self.incoming.sources)
        refuse_conflicts(self.incoming, [*needs, *maybe])
        for name in needs:
            version = self.incoming.names.get(name)
            if version is not None and version.kind == "failed":
                raise MarshalError(f"step `{self.step}` needs `{name}` of step `{version.step}`: {version.reason}", variable=name)
        asked = [n for n in (*needs, *maybe, *possible) if n in self.incoming.names and n not in self.incoming.conflicts]
        asked += [*self._outdated_prelude(once), *self._surroundings()]
        self.used.update(n for n in (*needs, *maybe) if n in self.incoming.names)
        wanted = with_companions(self.incoming, asked)
        self.twins |= find_twins(self.incoming, wanted)
        for name in wanted:
            self.held.pop(name, None)
        self._bring(wanted)
        for module in modules:
            if module.split(".")[0] in wanted:
                __import__(module)
        for name in (*wanted, *touches, *(n for n in self.prelude if n not in _OF_THE_SHELL)):
            if name in self.namespace and name not in self.held:
                self._hold(name)
        self._bring_randomness()
        self.modules = {n: self._trace(state) for n, state in self.around.modules().items()}
        self.around.note()

    def _surroundings(self) -> list[str]:
        """Settings and modules beside the notebook that steps before have changed; of two versions, that of the lower step."""
        found = [n for n in self.incoming.names if n.startswith(PREFIX)]
        conflicts = {n: self.incoming.conflicts[n] for n in found if n in self.incoming.conflicts}
        order = list(self.incoming.after)
        last = {n: max(versions, key=lambda v: order.index(v.step)) for n, versions in conflicts.items()}
        for name, versions in conflicts.items():
            steps = " and ".join(f"`{v.step}`" for v in versions)
            told = f"steps {steps} run in parallel and both change {spoken(name)}"
            self.warnings.append(f"{told}: step `{self.step}` has that of `{last[name].step}`")
        if conflicts:
            others = {n: v for n, v in self.incoming.conflicts.items() if n not in conflicts}
            self.incoming = replace(self.incoming, names={**self.incoming.names, **last}, conflicts=others)
        return found

    def _outdated_prelude(self, once: Sequence[str]) -> list[str]:
        """Names of the prelude that steps before have changed, and those that came out otherwise than in the first step.

        Whoever holds a function or an object can reach what it is made of, so all that the prelude makes must be as the notebook would
        have it here, named in the step or not.
        """
        self.once = [n for n in once if n in self.prelude]
        found = []
        for name, version in self.incoming.names.items():
            if name not in self.prelude or name in _OF_THE_SHELL or name in self.incoming.conflicts:
                continue
            if version.origin or version.digest is not None and version.digest != self._digest(name):
                found.append(name)
        return found

    def _digest(self, name: str) -> str | None:
        self._hold(name)
        digest = self.held[name].trace.digest
        return None if digest is None else digest.hex()

    def _bring(self, wanted: Sequence[str]) -> None:
        bundles: dict[str, list[str]] = {}
        for name in wanted:
            version = self.incoming.names[name]
            if version.kind == "deleted":
                self.namespace.pop(name, None)
            elif version.kind in ("value", "state"):
                bundles.setdefault(version.step, []).append(name)
        around: dict[str, Any] = {}
        order = sorted(bundles, key=lambda s: (len(self.incoming.ancestors(s)), s))
        for step in order:
            keys = {_key(n, self.incoming.names[n]): n for n in bundles[step]}
            found = self._read(step, list(keys))
            for key, value in found.items():
                name = keys[key]
                if name.startswith(PREFIX):
                    around[name] = value
                elif key != name:
                    apply_state(self.namespace[name], value)  # type: ignore[arg-type]
                else:
                    self.namespace[name] = value
        self.around.bring(around)

    def _read(self, step: str, keys: list[str]) -> dict[str, object]:
        try:
            return marshal.load(self.data / step / "values", keys, main=self.namespace, renew=True)
        except MarshalError as error:
            variables = [k for k in keys if not k.startswith(PREFIX)]
            if len(variables) < len(keys):
                self.warnings.append(f"settings that step `{step}` left cannot be read here: {error.message}")
                return self._read(step, variables) if variables else {}
            raise MarshalError(
                f"what step `{step}` left cannot be read: {error.message}", variable=error.variable, hint=error.hint
            ) from error

    def _hold(self, name: str) -> None:
        value = self.namespace[name]
        if is_foreign(value):
            self.held[name] = _Held(value, Trace(digest=b"", objects=frozenset()))
        elif name in self.definitions and self.definitions[name] is value:
            self.held[name] = _Held(value, self._trace(self._state(name)), state=True)
        else:
            self.held[name] = _Held(value, self._trace(value))

    def _state(self, name: str) -> dict[str, Any]:
        state = state_of(self.definitions[name], self.baselines[name])
        self.alive.append(state)  # traces tell objects by identity, which a new object must not take over
        return state

    def _trace(self, value: object) -> Trace:
        return marshal.trace(value, main=self.namespace, by_reference=self.definitions)

    def _bring_randomness(self) -> None:
        for name in randomness.NAMES:
            version = self.incoming.names.get(name)
            if version is None:
                continue
            versions = self.incoming.conflicts.get(name)
            if versions is not None:
                version = max(versions, key=lambda v: list(self.incoming.after).index(v.step))
                steps = " and ".join(f"`{v.step}`" for v in versions)
                self.warnings.append(
                    f"steps {steps} run in parallel and both draw from {randomness.SPOKEN[name]}: the numbers differ from the notebook's; "
                    "seed the generator in each of them"
                )
            found = marshal.load(self.data / version.step / "values", [name], main=self.namespace)
            randomness.restore(name, found[name])
        self.random = randomness.current()

    # -- save -------------------------------------------------------------------------------------------------------------

    def save(
        self,
        needs: Mapping[str, Sequence[str]],
        maybe: Sequence[str],
        possible: Sequence[str],
        told: Sequence[str],
        result: str | None,
        *,
        last: bool,
    ) -> None:
        """Write what descendants may need, and the manifest last."""
        possible = [*possible, *(self._made() if self.everything else ())]
        names = dict(self.incoming.names)
        for name, versions in self.incoming.conflicts.items():
            names[name] = versions[0]
        changed: list[str] = []
        values: dict[str, object] = {}
        kinds: dict[str, str] = {}
        for name in dict.fromkeys((*needs, *maybe, *possible, *self.held)):
            outcome = self._outcome(name)
            if outcome is None:
                continue
            kind, value = outcome
            if kind in ("deleted", "new"):
                self.twins.pop(name, None)
            if kind == "deleted":
                names[name] = Version(step=self.step, origin=self.step, kind="deleted")
                continue
            if kind == "changed":
                changed.append(name)
                self._refuse_torn_change(name)
            kinds[name] = (
                "state"
                if name in self.held and self.held[name].state and self.namespace[name] is self.held[name].value
                else "value"
            )
            values[name] = value
        for name in self._reshaped(values):
            values[name] = self._state(name) if self.held[name].state else self.held[name].value
            kinds[name] = "state" if self.held[name].state else "value"
        for name, state in self._changed_surroundings(values, told, last=last):
            values[name], kinds[name] = state, "value"
        origins = self._add_first_values(values, kinds)
        origins |= self._add_companions(values, kinds)
        for name, state in randomness.current().items():
            if state != self.random.get(name):
                values[name], kinds[name] = state, "value"
        names.update(self._write(values, kinds, origins, needs))
        if result is not None:
            self.metrics.record(result, self.namespace.get(result))
        self._warn_of_caches(dict.fromkeys((*needs, *maybe, *possible, *self.held)))
        unsettled = {n: v for n, v in self.incoming.conflicts.items() if n not in values and n not in randomness.NAMES}
        for name, versions in unsettled.items():
            reason = f"`{name}` was changed in steps {' and '.join(f'`{v.step}`' for v in versions)}, which run in parallel"
            names[name] = Version(step=self.step, origin=self.step, kind="failed", reason=reason)
        manifest = Manifest(
            step=self.step,
            after=self.incoming.after,
            names=names,
            twins=self.twins,
            sources={**self.incoming.sources, **cell_sources()},
        )
        write_manifest(self.data, manifest, self._report(changed, values, result))

    def _changed_surroundings(
        self, values: Mapping[str, object], told: Sequence[str], *, last: bool
    ) -> Iterator[tuple[str, object]]:
        """Settings and modules that go along, if they changed or share objects with what is written; tell of what does not go along."""
        for setting, state in () if last else self.around.changed():
            if setting.write is not None:
                yield PREFIX + setting.name, state
            elif not any(setting.spoken in what for what in told):
                self.warnings.append(
                    f"step `{self.step}` sets {setting.spoken} for itself only: later steps will not have it; "
                    "set it in an imports cell, which runs in every step"
                )
        modules = {} if last else self.around.modules()
        touched = frozenset().union(*(self._trace(v).objects for v in values.values())) if modules else frozenset()
        for name, state in modules.items():
            before, now = self.modules.get(name), self._trace(state)
            if now.digest is not None and (before is None or now.digest != before.digest or now.objects & touched):
                yield name, state

    def _made(self) -> list[str]:
        """Names that the step's own cells bound, but for modules and what comes from them."""
        return [
            n
            for n, v in self.namespace.items()
            if n not in self.prelude and not is_foreign(v) and not (n[:1] == "_" and is_shell_name(n))
        ]

    def _outcome(self, name: str) -> tuple[str, object] | None:
        """Tell what became of a name: `new`, `changed` or `deleted`; None when it is as it was, or not there at all."""
        held = self.held.get(name)
        if name not in self.namespace:
            return ("deleted", None) if held is not None or name in self.prelude else None
        value = self.namespace[name]
        if held is None:
            return None if name in self.prelude and self.prelude[name] is value else ("new", value)
        if held.value is not value:
            return "new", value
        if is_foreign(value) or held.trace.digest is None and name in self.incoming.names:
            return None
        now = self._state(name) if held.state else value
        trace = self._trace(now)
        if held.trace.digest is not None and trace.digest == held.trace.digest:
            self.objects[name] = trace.objects
            if trace.order != held.trace.order:
                self.turned.append(name)
            return None
        if held.trace.digest is None and name in self.prelude:
            return None
        return "changed", now

    def _reshaped(self, values: Mapping[str, object]) -> list[str]:
        """Names of equal content that share objects with others than they did. `objects` holds what the unchanged ones reach now."""
        before = {n: h.trace.objects for n, h in self.held.items()}
        now = {
            n: self.objects.get(n, before[n])
            for n, h in self.held.items()
            if n not in values and self.namespace.get(n) is h.value
        }
        turned = [n for n in self.turned if n in now and shared(n, now)]
        return sorted({*reshaped(before, now), *turned})

    def _refuse_torn_change(self, name: str) -> None:
        if name in self.twins:
            steps = " and ".join(f"`{s}`" for s in self.twins[name])
            raise ConflictError(
                f"step `{self.step}` changes `{name}` in place, which shares objects with values that steps {steps} made in parallel: "
                "each of these has its own copy, so the change would not reach all of them as it does in the notebook",
                variable=name,
                hint="copy the value before changing it, or put the branches one after the other with `prev:`",
            )

    def _warn_of_caches(self, names: Iterable[str]) -> None:
        """The cache of an `lru_cache` stays behind: its values are computed again, with whatever that prints."""
        for name in names:
            value = self.namespace.get(name)
            if type(value) is functools._lru_cache_wrapper and value.cache_info().currsize:
                self.warnings.append(f"the cache of `{name}` stays in step `{self.step}`: later steps compute its values again")

    def _add_first_values(self, values: dict[str, object], kinds: dict[str, str]) -> dict[str, str]:
        """In a step that follows none, add what the prelude computed, for the steps where it may come out otherwise."""
        origins: dict[str, str] = {}
        for name in () if self.incoming.names else self.once:
            held = self.held.get(name)
            if name in values or held is None or held.state or held.trace.digest in (None, b"") or held.trace.size > _LARGE:
                continue
            values[name], kinds[name], origins[name] = held.value, "value", ""
        return origins

    def _add_companions(self, values: dict[str, object], kinds: dict[str, str]) -> dict[str, str]:
        """Add unchanged values that share objects with those to be written; return whose content they are."""
        origins: dict[str, str] = {}
        kept = {n: h for n, h in self.held.items() if n not in values and h.trace.objects and self.namespace.get(n) is h.value}
        if not kept or not values:
            return origins
        touched = frozenset().union(*(self._trace(v).objects for v in values.values()))
        while True:
            more = [n for n, h in kept.items() if h.trace.objects & touched]
            if not more:
                return origins
            for name in more:
                held = kept.pop(name)
                version = self.incoming.names.get(name)
                if version is None and name in self.prelude and not held.state:
                    origins[name] = ""
                else:
                    origins[name] = version.origin if version is not None else ""
                values[name] = self._state(name) if held.state else held.value
                kinds[name] = "state" if held.state else "value"
                touched |= held.trace.objects

    def _write(
        self, values: dict[str, object], kinds: dict[str, str], origins: dict[str, str], needs: Mapping[str, Sequence[str]]
    ) -> dict[str, Version]:
        bundle = self._own_folder() / "values"
        if not values:
            shutil.rmtree(bundle, ignore_errors=True)
            return {}
        keyed = {(STATE_PREFIX + n if kinds[n] == "state" else n): v for n, v in values.items()}
        saved = marshal.save(keyed, bundle, main=self.namespace, by_reference=self.definitions)
        made: dict[str, Version] = {}
        for entry in saved.entries:
            name = entry.name.removeprefix(STATE_PREFIX)
            origin = origins.get(name, self.step)
            made[name] = Version(
                step=self.step,
                origin=origin,
                kind=kinds[name],
                group=entry.group,
                globals=tuple(sorted(entry.globals)),
                digest=self._digest(name) if not origin and name in self.once else None,
            )
        for key, error in saved.failures.items():
            name = key.removeprefix(STATE_PREFIX)
            if name in needs:
                readers = " and ".join(f"`{r}`" for r in needs[name]) or "a later step"
                raise MarshalError(
                    f"step `{self.step}` made `{name}`, which {readers} reads, but it cannot travel: {error.message}",
                    variable=name,
                    culprit=error.culprit,
                    hint=error.hint or "pass what it stands for (a list, a path, settings), or use it only in this step",
                )
            made[name] = Version(step=self.step, origin=self.step, kind="failed", reason=error.message)
            if name.startswith(PREFIX):
                self.warnings.append(f"what step `{self.step}` changed of {spoken(name)} stays in this step: {error.message}")
        return made

    def _report(self, changed: Sequence[str], written: Iterable[str], result: str | None) -> dict[str, Any]:
        shown: list[str] | None = None
        if result is not None and result in self.namespace:
            shown = [result, shown_value(self.namespace[result])]
        return {
            "metrics": self.metrics.values,
            "result": shown,
            "warnings": self.warnings,
            "changed": sorted(changed),
            "used": sorted(self.used),
            "origins": {n: self.incoming.names[n].origin for n in sorted({*changed, *self.used}) if n in self.incoming.names},
            "written": sorted(written),
        }


def _key(name: str, version: Version) -> str:
    return STATE_PREFIX + name if version.kind == "state" else name
