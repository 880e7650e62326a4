"""Runs the cases of a battery in a process of their own: `python child.py make|check FOLDER BATTERY.json`.

Each case has a `__main__` of its own, as in a kernel: its namespace is `sys.modules["__main__"].__dict__`. `make` runs prelude and snippet, traces
and saves every name that the snippet binds; `check` runs the prelude again, loads, and runs the assertions. What happened to each case
goes to standard output as JSON.
"""

import json
import pathlib
import sys
import traceback
import types

from kale_nb.marshal import describe, load, save, trace


def fresh_main(prelude):
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    main = module.__dict__
    exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), main)
    return module, main, {n: v for n, v in main.items() if not n.startswith("__")}


def make(folder, case):
    module, main, prelude_names = fresh_main(case["prelude"])
    before = dict(main)
    exec(compile(case["make"], "<cell>", "exec", dont_inherit=True), main)
    names = [n for n in main if not n.startswith("_") and (n not in before or main[n] is not before[n])]
    values = {n: main[n] for n in names if n in case["save"] or not case["save"]}
    traced = [{n: trace(v, main=main, by_reference=prelude_names) for n, v in values.items()} for _ in range(2)]
    saved = save(values, folder, main=main, by_reference=prelude_names)
    after = {n: trace(v, main=main, by_reference=prelude_names) for n, v in values.items()}
    return {
        "failures": {n: [e.message, e.culprit] for n, e in saved.failures.items()},
        "unstable": [n for n in values if not traced[0][n] == traced[1][n] == after[n]],
        "untraced": [n for n in values if traced[0][n].digest is None],
        "module": len(vars(module)),
    }


def check(folder, case):
    _, main, _ = fresh_main(case["prelude"])
    assert describe(folder)
    main.update(load(folder, None, main=main))
    exec(compile(case["check"], "<check>", "exec", dont_inherit=True), main)
    return {}


def run():
    verb, folder, battery = sys.argv[1:]
    cases = json.loads(pathlib.Path(battery).read_text())
    outcome = {}
    for name, case in cases.items():
        place = pathlib.Path(folder) / f"{list(cases).index(name)}"
        try:
            outcome[name] = {"make": make, "check": check}[verb](place, case)
        except BaseException:
            outcome[name] = {"error": traceback.format_exc()}
    sys.stdout.write("\n=== outcome ===\n" + json.dumps(outcome))


if __name__ == "__main__":
    run()
