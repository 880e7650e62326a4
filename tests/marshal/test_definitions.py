"""One definition is one object in a process, whatever bundles bring it, and references lead to the reader's own."""

import json
import subprocess
import sys

import pytest

from kale_nb.errors import MarshalError
from kale_nb.marshal import load, save

CHILD = """
import json, pathlib, sys, types
from kale_nb.marshal import load, save, trace
module = types.ModuleType("__main__"); sys.modules["__main__"] = module; main = module.__dict__
folder = pathlib.Path(sys.argv[1])
steps = json.loads(sys.argv[2])
for what, *rest in steps:
    if what == "run":
        exec(compile(rest[0], "<cell>", "exec", dont_inherit=True), main)
    elif what == "save":
        saved = save({n: main[n] for n in rest[1].split()}, folder / rest[0], main=main, by_reference=rest[2:])
        assert not saved.failures, saved.failures
    elif what == "load":
        main.update(load(folder / rest[0], None, main=main, renew="renew" in rest))
"""


def processes(folder, *steps_of_each):
    for steps in steps_of_each:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), json.dumps(steps)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


MAKE = """
class C:
    total = 0
    seen = []
    def hit(self):
        C.total += 1
        self.seen.append(1)
def counter():
    n = 0
    def inc():
        nonlocal n
        n += 1
        return n
    def get(): return n
    return inc, get
inc, get = counter()
import enum
class E(enum.Enum):
    A = 1
c = C(); d = C(); e = E.A
"""


def test_two_bundles_bring_one_class_one_enum_one_closure(tmp_path):
    processes(
        tmp_path,
        [["run", MAKE], ["save", "one", "c inc e"], ["save", "two", "d get E C"]],
        [
            ["load", "one"],
            ["load", "two"],
            [
                "run",
                "assert type(c) is type(d) is C and e is E.A and isinstance(e, E); inc(); assert get() == 1; c.hit(); assert d.seen == [1]",
            ],
        ],
    )


def test_identity_goes_on_through_steps_that_pass_it_on(tmp_path):
    processes(
        tmp_path,
        [["run", MAKE], ["save", "a", "c d inc get"]],
        [["load", "a"], ["save", "left", "c inc"]],
        [["load", "a"], ["save", "right", "d get"]],
        [["load", "left"], ["load", "right"], ["run", "assert type(c) is type(d); inc(); assert get() == 1"]],
    )


def test_state_of_definitions_is_the_first_loaded_or_that_of_a_renewing_load(tmp_path):
    processes(
        tmp_path,
        [["run", MAKE], ["save", "a", "C c inc get"]],
        [["load", "a"], ["run", "c.hit(); C.extra = 1; inc(); inc()"], ["save", "changed", "C c inc get"]],
        [["load", "a"], ["run", "d = C(); C.unwanted = 2"], ["save", "same", "d C"]],
        [["load", "changed"], ["load", "same"], ["run", "assert C.total == 1 and type(d) is C is type(c) and get() == 2"]],
        [
            ["load", "same"],
            ["run", "old = C"],
            ["load", "changed", "renew"],
            [
                "run",
                "assert C is old is type(d) and d.total == 1 and d.seen == [1] and C.extra == 1 and not hasattr(C, 'unwanted') and get() == 2",
            ],
        ],
    )


def test_redefined_class_is_another_class(tmp_path):
    processes(
        tmp_path,
        [["run", MAKE], ["save", "one", "c"], ["run", MAKE], ["save", "two", "d"]],
        [["load", "one"], ["load", "two"], ["run", "assert type(c) is not type(d)"]],
    )


def test_loading_in_the_process_that_saved_gives_the_same_class(tmp_path):
    processes(tmp_path, [["run", MAKE], ["save", "one", "c"], ["run", "k = C"], ["load", "one"], ["run", "assert type(c) is k"]])


def test_prelude_of_the_reader_is_used(tmp_path):
    processes(
        tmp_path,
        [["run", "class P:\n    who = 'writer'\ndef f(): return 'writer'\np = P(); g = [f]"], ["save", "a", "p g", "P", "f"]],
        [
            ["run", "class P:\n    who = 'reader'\ndef f(): return 'reader'"],
            ["load", "a"],
            ["run", "assert type(p) is P and p.who == 'reader' and g[0]() == 'reader'"],
        ],
    )


def test_prelude_name_given_to_something_else_goes_by_value_when_the_prelude_is_known(tmp_path):
    main = {"__name__": "__main__"}
    exec("def f(): return 'prelude'", main)
    prelude = {"f": main["f"]}
    exec("def f(): return 'step'\nx = [f]", main)
    save({"x": main["x"]}, tmp_path / "b", main=main, by_reference=prelude)
    assert load(tmp_path / "b", None, main={"f": prelude["f"]})["x"][0]() == "step"


def test_reader_without_the_prelude_is_told_what_it_lacks(tmp_path):
    main = {"__name__": "__main__"}
    exec("class Outer:\n    class Inner: pass\nx = Outer.Inner()", main)
    save({"x": main["x"]}, tmp_path / "b", main=main, by_reference=["Outer"])
    with pytest.raises(MarshalError, match=r"needs Outer.Inner, which the imports and functions cells"):
        load(tmp_path / "b", None, main={"Outer": object})


def test_function_of_the_reader_sees_later_names(tmp_path):
    main = {"__name__": "__main__"}
    exec("def f(): return later", main)
    save({"f": main["f"]}, tmp_path / "b", main=main, by_reference=())
    reader = {}
    got = load(tmp_path / "b", None, main=reader)["f"]
    reader["later"] = 5
    assert got is main["f"] or got() == 5


def test_tokens_are_not_seen_by_the_user(tmp_path):
    main = {"__name__": "__main__"}
    exec("class C:\n    pass\ndef f(): pass", main)
    before = (sorted(vars(main["C"])), dict(vars(main["f"])), sorted(main))
    save({"C": main["C"], "f": main["f"]}, tmp_path / "b", main=main, by_reference=())
    assert (sorted(vars(main["C"])), dict(vars(main["f"])), sorted(main)) == before
