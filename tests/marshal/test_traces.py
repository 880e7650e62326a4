"""A trace stays the same while a value is only read, and changes with anything that is changed in it."""

import functools
import types

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kale_nb.marshal import trace

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")


def traced(value, main=None, by_reference=()):
    return trace(value, main=main or {}, by_reference=by_reference)


def notebook(source):
    main = types.ModuleType("__main__").__dict__
    exec(source, main)
    return main


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=15
)


def containers(value):
    if isinstance(value, list | dict):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


@settings(max_examples=60, deadline=None)
@given(values)
def test_same_while_untouched(value):
    assert traced(value) == traced(value)


@settings(max_examples=60, deadline=None)
@given(values, st.data())
def test_any_nested_change_is_seen(value, data):
    places = list(containers(value))
    if not places:
        return
    before = traced(value)
    place = data.draw(st.sampled_from(places))
    match place:
        case list():
            place.insert(data.draw(st.integers(0, len(place))), "new")
        case dict():
            place["new"] = object
    assert traced(value).digest != before.digest
    assert {id(p) for p in containers(value)} == traced(value).objects


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30), st.data())
def test_change_of_one_array_element_is_seen(items, data):
    array = np.array(items)
    holder = {"deep": [array[::-1]]}
    before = traced(holder)
    assert traced(holder) == before
    at = data.draw(st.integers(0, len(items) - 1))
    array[at] = -1.5 if items[at] != -1.5 else 2.5
    assert traced(holder).digest != before.digest


READS = {
    "list": ("[3, 1, 2]", "len(x); sorted(x); [i for i in x]; sum(i for i in x); x.index(1); x[0]; x == [3]; str(x); 3 in x"),
    "dict": ("{'a': [1]}", "x.get('b'); list(x.items()); dict(x); x | {}; 'a' in x; {**x}; hash(tuple(x))"),
    "array": (
        "np.arange(12.).reshape(3, 4)",
        "x.T; x.sum(0); x.shape; x.flags; x.base; x[1:]; x + 1; x.ravel(); repr(x); x.dtype; x.flat; x.view()",
    ),
    "array with gaps": ("np.arange(100.)[::7]", "x.mean(); x.copy(); np.sort(x)"),
    "object array": ("np.array(['a', None, [1]], dtype=object)", "x.tolist(); x == 'a'; str(x)"),
    "frame": (
        "pd.DataFrame({'a': [1, 2], 'b': ['x', 'y'], 'c': [1., 2.], 'd': [3, 4]}).assign(e=1)",
        (
            "x.describe(); x.values; x['a']; x.a; x.mean(numeric_only=True); x.groupby('b').sum(); x.corr(numeric_only=True); x.T; x.loc[0]; repr(x); "
            "x.dtypes; x.info(buf=__import__('io').StringIO()); x.index; x.isna().sum(); x[x.a > 1]; x.to_dict(); x.head(); x.columns; x.query('a > 1'); "
            "x.quantile(numeric_only=True); x.index.is_unique; x.to_numpy(); x._consolidate_inplace()"
        ),
    ),
    "series": (
        "pd.Series([1, 2, 3], name='s')",
        "x.mean(); x.value_counts(); x[0]; x.index.get_loc(1); x.loc[1]; x.is_unique; x.map(str); x.values",
    ),
    "multiindex": (
        "pd.MultiIndex.from_product([[1, 2], ['a', 'b']])",
        "x.get_loc((1, 'a')); x.levels; x.is_monotonic_increasing; len(x); x.values",
    ),
    "random state": ("np.random.default_rng(1)", "x.bit_generator; repr(x)"),
    "class": (
        "type('C', (), {'k': 1})",
        "x(); x.k; x.__annotations__; x.__subclasses__(); isinstance(1, x); x.__doc__; x.__mro__; vars(x)",
    ),
    "function": (
        "(lambda: (lambda a, b=[1]: a))()",
        "x(1); x.__annotations__; x.__dict__; x.__defaults__; x.__code__; x.__closure__",
    ),
    "regex": ("__import__('re').compile('a')", "x.match('a'); x.sub('b', 'a')"),
    "namespace": ("types.SimpleNamespace(a=1)", "x.a; vars(x); repr(x)"),
}


@pytest.mark.parametrize("name", READS)
def test_reading_changes_nothing(name):
    make, read = READS[name]
    scope = {"np": np, "pd": pd, "types": types, "__name__": "__main__"}
    x = scope["x"] = eval(make, scope)
    before = traced(x, scope)
    assert before.digest is not None
    exec(read, scope)
    assert traced(x, scope) == before


def test_using_estimators_changes_nothing_and_fitting_does():
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data, target = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    for model in (LogisticRegression(), RandomForestRegressor(5), make_pipeline(StandardScaler(), LogisticRegression())):
        model.fit(data, target)
        before, of_data = traced(model), traced(data)
        model.predict(data)
        model.score(data, target)
        repr(model)
        model.get_params()
        assert traced(model) == before
        assert traced(data) == of_data
        model.fit(data[:20], target[:20])
        assert traced(model).digest != before.digest


CHANGES = {
    "frame cell": ("pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})", "x.loc[0, 'a'] = 9"),
    "frame text": ("pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})", "x.loc[0, 'b'] = 'z'"),
    "frame column": ("pd.DataFrame({'a': [1, 2]})", "x['n'] = 1"),
    "frame names": ("pd.DataFrame({'a': [1, 2]})", "x.columns = ['b']"),
    "frame attrs": ("pd.DataFrame({'a': [1, 2]})", "x.attrs['k'] = 1"),
    "frame index": ("pd.DataFrame({'a': [1, 2]})", "x.index = [3, 4]"),
    "frame dtype": ("pd.DataFrame({'a': [1, 2]})", "x['a'] = x['a'].astype(float)"),
    "frame object inside": ("pd.DataFrame({'a': pd.Series([[1]], dtype=object)})", "x.loc[0, 'a'].append(2)"),
    "frame column inserted": ("pd.DataFrame({'a': [2, 1]})", "x.insert(0, 'n', 1)"),
    "series": ("pd.Series([1, 2])", "x[0] = 5"),
    "categorical": ("pd.Series(pd.Categorical(['a', 'b']))", "x[0] = 'b'"),
    "array shape": ("np.zeros(4)", "x.shape = (2, 2)"),
    "array flag": ("np.zeros(4)", "x.flags.writeable = False"),
    "array through view": ("np.zeros(4)", "x[1:][0] = 1"),
    "object array": ("np.array([[1], 2], dtype=object)", "x[0].append(1)"),
    "random draw": ("np.random.default_rng(1)", "x.random()"),
    "random module": ("__import__('random').Random(1)", "x.random()"),
    "function attribute": ("lambda: 0", "x.n = 1"),
    "function default": ("lambda a=[]: a", "x().append(1)"),
    "class attribute": ("type('C', (), {'k': []})", "x.k.append(1)"),
    "method put on a class": ("type('C', (), {})", "x.m = lambda s: 1"),
    "set": ("{1, 2}", "x.add(3)"),
    "bytearray": ("bytearray(b'ab')", "x[0] = 0"),
    "deque": ("__import__('collections').deque([1])", "x.rotate(); x.append(2)"),
    "generator object of iterator": ("iter([1, 2])", "next(x)"),
    "memory file": ("__import__('io').StringIO('abc')", "x.read(1)"),
    "partial": ("__import__('functools').partial(print, [])", "x.args[0].append(1)"),
    "dict order": ("{'a': 1, 'b': 2}", "x['a'] = x.pop('a')"),
    "alias made": ("[[1], [1]]", "x[1] = x[0]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_is_seen(name):
    make, change = CHANGES[name]
    scope = {"np": np, "pd": pd, "types": types, "__name__": "__main__"}
    x = scope["x"] = eval(make, scope)
    before = traced(x, scope).digest
    exec(change, scope)
    assert before is not None
    assert traced(scope["x"], scope).digest != before
    assert scope["x"] is x


def test_enclosed_state_is_part_of_a_function():
    main = notebook(
        "def counter():\n    n = 0\n    def inc():\n        nonlocal n\n        n += 1\n    return inc\ninc = counter()"
    )
    before = trace(main["inc"], main=main, by_reference=())
    main["inc"]()
    assert trace(main["inc"], main=main, by_reference=()).digest != before.digest


def test_globals_are_told_and_not_followed():
    main = notebook("big = [1]\ndef f(): return big, len, later\nclass C:\n    def m(self):\n        global w\n        w = f()")
    got = trace([main["f"], main["C"]()], main=main, by_reference=())
    assert got.globals == ("big", "f", "later", "w")
    assert id(main["big"]) not in got.objects
    before = got.digest
    main["big"].append(2)
    assert trace([main["f"], main["C"]()], main=main, by_reference=()).objects & {id(main["f"]), id(main["C"])}
    assert trace(main["f"], main=main, by_reference=()) == trace(main["f"], main=main, by_reference=())
    assert before is not None


def test_prelude_definitions_never_count_as_shared():
    main = notebook(
        "import enum\nclass P: pass\nclass E(enum.Enum):\n    A = 1\ndef h(): pass\na = [P(), h, E.A, P]\nb = [P(), h, E.A, P]"
    )
    a, b = (trace(main[n], main=main, by_reference=["P", "E", "h"]) for n in "ab")
    assert not a.objects & b.objects
    assert a.globals == ()


def test_step_definitions_count_as_shared():
    main = notebook("class P: pass\na = P()\nb = P()")
    a, b = (trace(main[n], main=main, by_reference=()) for n in "ab")
    assert a.objects & b.objects == {id(main["P"])}


@pytest.mark.parametrize(
    ("make", "share"),
    [
        ("l = []; a = [l]; b = {'k': l}", True),
        ("t = ([],); a = t; b = t", True),
        ("a = np.zeros(4); b = a[1:]", True),
        ("base = np.zeros(4); a = base[:2]; b = base[2:]", True),
        ("buf = bytearray(4); a = np.frombuffer(buf, 'u1'); b = buf", True),
        ("df = pd.DataFrame({'x': [1]}); a = df; b = [df]", True),
        ("df = pd.DataFrame({'x': [1], 'y': ['u']}); a = df; b = df[:]", False),
        ("a = pd.DataFrame({'x': [1], 'y': ['u']}); b = pd.DataFrame({'x': [1], 'y': ['u']})", False),
        ("a = pd.DataFrame({'x': [1]}); b = a[a.x > 0]", False),
        ("a = pd.Series([1]); b = a.index", False),
        ("s = 'text' * 99; t = (1, 2, s); a = [s, t]; b = [s, t]", False),
        (
            "import json, re, datetime as dt; u = dt.timezone.utc; r = re.compile('x'); a = [json, r, u, len, dict]; b = [json, r, u, len, dict]",
            False,
        ),
        ("a = np.zeros(3); b = np.zeros(3)", False),
        ("a = np.float64(1); b = a", False),
        ("d = np.dtype('f8'); a = [d]; b = [d]", False),
        ("c = functools.partial(print); a = [c]; b = [c]", True),
        ("def f(): return 1\na = f; b = [f]", True),
        ("a = np.random.RandomState(1); b = np.random.RandomState(1)", False),
        ("import fractions, decimal, pathlib\nx = decimal.Decimal(1); y = pathlib.Path('a'); a = [x, y]; b = [x, y]", False),
    ],
)
def test_which_values_share_objects(make, share):
    scope = {"np": np, "pd": pd, "functools": functools, "__name__": "__main__"}
    exec(make, scope)
    a, b = (trace(scope[n], main=scope, by_reference=()) for n in "ab")
    assert bool(a.objects & b.objects) is share


def test_what_cannot_travel_has_no_digest_but_objects():
    inner = []
    got = traced([inner, (i for i in inner)])
    assert got.digest is None
    assert id(inner) in got.objects


def test_deep_nesting_is_traced():
    deep = []
    for _ in range(20_000):
        deep = [deep]
    before = traced(deep)
    assert before.digest is not None
    assert len(before.objects) == 20_001
    assert traced(deep) == before


def test_trace_copies_no_large_array():
    import tracemalloc

    array = np.zeros(4_000_000)
    gaps = array.reshape(2000, 2000)[:, :1500]
    tracemalloc.start()
    traced([array, gaps])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_reading_a_cached_property_is_no_change_and_setting_an_attribute_is():
    main = notebook(
        "import functools\nclass Graph:\n    def __init__(self): self.edges = [1]\n"
        "    @functools.cached_property\n    def size(self): return len(self.edges)\ng = Graph()"
    )
    before = trace(main["g"], main=main, by_reference=[])
    assert main["g"].size == 1
    assert trace(main["g"], main=main, by_reference=[]).digest == before.digest
    main["g"].edges.append(2)
    assert trace(main["g"], main=main, by_reference=[]).digest != before.digest
