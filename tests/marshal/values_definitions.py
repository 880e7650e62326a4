"""Functions and classes of step cells, by value; of imports and functions cells, by reference."""

from tests.marshal.battery import case

PRELUDE = """
import enum, dataclasses, functools, typing, collections
class Base:
    registry = []
    class Inner:
        pass
    def __init__(self, x): self.x = x
    def double(self): return self.x * 2
    @classmethod
    def make(cls): return cls(1)
    @staticmethod
    def help(): return 'help'
class Color(enum.Enum):
    RED = 1
    BLUE = [2]
class Flag(enum.Flag):
    A = 1
    B = 2
@dataclasses.dataclass
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)
P = collections.namedtuple('Pt', 'a b')
def helper(x): return x + OFFSET
square = lambda x: x * x
@functools.lru_cache
def cached(x): return x
@functools.wraps(helper)
def wrapped(x): return helper(x)
@functools.singledispatch
def show(x): return 'any'
T = typing.TypeVar('T')
OFFSET = 10
"""

CASES = {
    "function_sees_readers_globals": case(
        "k = 1\ndef f(): return k", "k = 7; assert f() == 7 and f.__globals__ is globals()", save="f"
    ),
    "function_writes_readers_globals": case("n = 0\ndef f():\n    global n\n    n += 1", "f(); f(); assert n == 2"),
    "function_parts": case(
        "def f(a, b=[1], *, c={'k': 1}) -> int:\n    'doc'\n    return b, c\nf.calls = [1]",
        "assert f.__doc__ == 'doc' and f(1) == ([1], {'k': 1}) and f.calls == [1] and f.__annotations__ == {'return': int} and f.__qualname__ == 'f' and f.__module__ == '__main__'",
    ),
    "default_shared_with_variable": case("l = []\ndef f(x, acc=l): acc.append(x)", "f(1); assert l == [1]"),
    "recursive": case("def fact(n): return 1 if n < 2 else n * fact(n - 1)", "assert fact(5) == 120"),
    "mutually_recursive": case(
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)", "assert even(10) and not odd(4)"
    ),
    "recursive_closure": case(
        "def make():\n    def walk(n): return 0 if n == 0 else 1 + walk(n - 1)\n    return walk\nw = make()",
        "assert w(4) == 4",
        save="w",
    ),
    "shared_cells": case(
        "def counter():\n    n = 0\n    def inc():\n        nonlocal n\n        n += 1\n    def get(): return n\n    return inc, get\ninc, get = counter(); inc()",
        "inc(); assert get() == 2",
        save="inc get",
    ),
    "empty_cell": case(
        "def outer():\n    def f(): return late\n    if False: late = 1\n    return f\nf = outer()",
        "try: f()\nexcept NameError: ok = 1\nassert ok",
        save="f",
    ),
    "lambda_in_dict": case("x = {'sq': lambda v: v * v}", "assert x['sq'](3) == 9"),
    "lambda_sort_key_list": case("steps = [lambda x: x + 1, lambda x: x * 2]", "assert steps[1](steps[0](1)) == 4"),
    "partial_of_local": case(
        "import functools\ndef add(a, b): return a + b\np = functools.partial(add, 1)",
        "assert p(2) == 3 and p.func is add",
        save="p add",
    ),
    "bound_method": case(
        "class C:\n    def __init__(s): s.n = 0\n    def inc(s): s.n += 1\nc = C(); f = c.inc", "f(); assert c.n == 1", save="c f"
    ),
    "bound_method_alone": case(
        "class C:\n    n = 0\n    def inc(s): s.n += 1; return s.n\nf = C().inc", "assert f() == 1 and f() == 2", save="f"
    ),
    "bound_method_held_by_self": case(
        "class C:\n    def __init__(s): s.cb = s.hit\n    def hit(s): return s\nf = C().cb",
        "assert f() is f.__self__ and f.__self__.cb() is f()",
        save="f",
    ),
    "bound_classmethod": case(
        "class C:\n    @classmethod\n    def make(cls): return cls()\nm = C.make", "assert isinstance(m(), C)"
    ),
    "decorated_wraps": case(
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a) + 1\n    return inner\n@deco\ndef g(x):\n    'doc'\n    return x",
        "assert g(1) == 2 and g.__wrapped__(1) == 1 and g.__doc__ == 'doc'",
        save="g",
    ),
    "lru_cache": case(
        "import functools\n@functools.lru_cache(maxsize=3)\ndef f(x): return x + k\nk = 1; f(1)",
        "assert f(1) == 2 and f.cache_info().maxsize == 3 and f.cache_info().misses == 1",
        save="f k",
    ),
    "cache_recursive": case(
        "import functools\n@functools.cache\ndef fib(n): return n if n < 2 else fib(n-1) + fib(n-2)",
        "assert fib(50) == 12586269025",
        save="fib",
    ),
    "singledispatch": case(
        "import functools\n@functools.singledispatch\ndef f(x): return 'any'\n@f.register\ndef _(x: int): return 'int'\nf(1); f('a')",
        "assert f(1) == 'int' and f('') == 'any'\nf.register(str, lambda x: 'str'); assert f('') == 'str'",
        save="f",
    ),
    "async_function": case("async def f(x): return x + 1", "import asyncio; assert asyncio.run(f(1)) == 2"),
    "generator_function": case("def g(n):\n    for i in range(n): yield i * k\nk = 2", "assert list(g(3)) == [0, 2, 4]"),
    "async_generator_function": case(
        "async def g():\n    yield 1",
        "import asyncio\nasync def c(): return [x async for x in g()]\nassert asyncio.run(c()) == [1]",
    ),
    "function_in_own_namespace": case(
        "ns = {'k': 2}; exec('def f(): return k', ns); f = ns['f']", "ns['k'] = 3; assert f() == 3"
    ),
    "wrapper_of_workspace_module": case(
        "import workmod\n@workmod.timed\ndef f(x): return x",
        "assert f(2) == 2 and f.calls == ['f'] and f.__globals__ is __import__('workmod').__dict__",
        save="f",
    ),
    "lambda_of_workspace_module": case("import workmod\nx = workmod.times_two", "assert x(2) == 4", save="x"),
    "workspace_classes_by_reference": case(
        "import workmod\nx = workmod.Thing([1]); y = workmod.Thing.Inner(); c = workmod.Thing; f = workmod.plain; k = workmod.MARK",
        "import workmod; assert type(x) is workmod.Thing and type(y) is workmod.Thing.Inner and c is workmod.Thing and f is workmod.plain",
        save="x y c f",
    ),
    "code_object": case("c = compile('a = 1 + b', '<c>', 'exec')", "b = 1; exec(c); assert a == 2"),
    "class_and_instance": case(
        "class C:\n    k = [1]\n    def __init__(s, x): s.x = x\n    def get(s): return s.x\nc = C(3)",
        "assert isinstance(c, C) and c.get() == 3 and C(4).get() == 4 and C.__module__ == '__main__' and c.k is C.k",
    ),
    "instance_without_class_name": case(
        "def make():\n    class Local:\n        def hi(self): return 'hi'\n    return Local()\nx = make()",
        "assert x.hi() == 'hi' and type(x).__qualname__ == 'make.<locals>.Local'",
        save="x",
    ),
    "inheritance_and_super": case(
        "class A:\n    def hi(s): return ['A']\nclass B(A):\n    def hi(s): return super().hi() + ['B']\nclass C(B):\n    def hi(s): return super().hi() + [__class__.__name__]\nc = C()",
        "assert c.hi() == ['A', 'B', 'C'] and C.__mro__[1] is B",
        save="c C B",
    ),
    "multiple_inheritance": case(
        "class A: pass\nclass B(A): pass\nclass C(A): pass\nclass D(B, C): pass\nd = D()",
        "assert [c.__name__ for c in type(d).__mro__] == ['D', 'B', 'C', 'A', 'object']",
        save="d",
    ),
    "inherits_builtin": case(
        "class L(list):\n    def total(s): return sum(s)\nclass D(dict):\n    def __missing__(s, k): return k\nclass S(str): pass\nclass I(int): pass\nx = L([1, 2]); x.tag = 't'; y = D(a=1); z = S('s'); i = I(5); i.u = 1",
        "assert x.total() == 3 and x.tag == 't' and y['q'] == 'q' and type(z).__name__ == 'S' and i + 1 == 6 and i.u == 1",
        save="x y z i",
    ),
    "dataclass": case(
        "from dataclasses import dataclass, field\n@dataclass(order=True)\nclass D:\n    a: int\n    b: list = field(default_factory=list)\nd = D(1)",
        "import dataclasses; assert d == D(1) and D(0) < d and dataclasses.asdict(d) == {'a': 1, 'b': []} and dataclasses.replace(d, a=2).a == 2 and repr(d) == 'D(a=1, b=[])'\n@dataclasses.dataclass\nclass E(D):\n    c: int = 0\nassert E(1).c == 0",
        save="D d",
    ),
    "frozen_slots_dataclass": case(
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass D:\n    a: int = 0\nd = D(1); s = {d}",
        "assert d in s and hash(d) == hash(D(1))\ntry: d.a = 2\nexcept AttributeError: ok = 1\nassert ok",
        save="D d s",
    ),
    "frozen_with_handmade_slots": case(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass D:\n    __slots__ = ('a',)\n    a: int\nd = D(1)",
        "assert d.a == 1 and d == D(1)",
        save="D d",
    ),
    "dataclass_kw_initvar": case(
        "from dataclasses import dataclass, InitVar, KW_ONLY\nfrom typing import ClassVar\n@dataclass\nclass D:\n    a: int\n    _: KW_ONLY\n    b: InitVar[int] = 2\n    c: ClassVar[int] = 3\n    def __post_init__(self, b): self.a += b\nd = D(1)",
        "assert d.a == 3 and D(1, b=5).a == 6 and D.c == 3",
        save="D d",
    ),
    "enum_identity": case(
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = [2]\n    C = A\n    def up(s): return s.name.lower()\ne = E.A; l = [E.B]",
        "assert e is E.A and E(1) is e and E['C'] is e and l[0] is E.B and E([2]) is E.B and e.up() == 'a' and list(E) == [E.A, E.B] and e.name == 'A' and repr(e) == '<E.A: 1>'",
        save="E e l",
    ),
    "enum_member_alone": case(
        "import enum\nclass E(enum.Enum):\n    A = 1\ne = E.A",
        "assert e is type(e)(1) and e.name == 'A' and e.value == 1",
        save="e",
    ),
    "enum_kinds": case(
        "import enum\nclass I(enum.IntEnum):\n    A = 1\nclass S(str, enum.Enum):\n    B = 'b'\nclass F(enum.Flag):\n    X = enum.auto()\n    Y = enum.auto()\nclass G(enum.StrEnum):\n    Z = enum.auto()\nf = F.X | F.Y; i = I.A; s = S.B; z = G.Z",
        "assert f is F.X | F.Y and F.X in f and i == 1 and I(1) is i and s == 'b' and S('b') is s and z == 'z' and i + 1 == 2 and isinstance(s, str)",
        save="I S F G f i s z",
    ),
    "enum_with_init": case(
        "import enum\nclass Planet(enum.Enum):\n    EARTH = (5.9, 6.3)\n    MARS = (6.4, 3.3)\n    def __init__(self, mass, radius): self.mass = mass\n    @property\n    def heavy(self): return self.mass > 6\np = Planet.MARS",
        "assert p.heavy and p is Planet.MARS and Planet((6.4, 3.3)) is p and not Planet.EARTH.heavy",
        save="Planet p",
    ),
    "enum_as_dict_key": case("import enum\nclass E(enum.Enum):\n    A = 1\nd = {E.A: 'x'}", "assert d[E.A] == 'x'", save="E d"),
    "namedtuples": case(
        "import collections, typing\nP = collections.namedtuple('P', 'x y', defaults=[5])\nclass Q(typing.NamedTuple):\n    a: int\n    b: str = 'b'\n    def both(self): return (self.b, self.a)\np = P(1); q = Q(1)",
        "assert p.x == 1 and p._replace(x=2) == (2, 5) and P(3).y == 5 and q.both() == ('b', 1) and Q(2).b == 'b' and isinstance(q, Q) and p._asdict() == {'x': 1, 'y': 5}",
        save="P Q p q",
    ),
    "abc": case(
        "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n    @property\n    @abc.abstractmethod\n    def p(self): ...\nclass B(A):\n    def f(self): return 1\n    p = 2\nclass R: pass\nA.register(R)\nb = B(); r = R()",
        "assert isinstance(b, A) and isinstance(r, A) and b.f() == 1\ntry: A()\nexcept TypeError: ok = 1\nassert ok and B().f() == 1",
        save="A B R b r",
    ),
    "generic_class": case(
        "import typing\nT = typing.TypeVar('T', bound=int)\nclass Box(typing.Generic[T]):\n    def __init__(s, v: T): s.v = v\nb = Box[int](1); alias = Box[int]\nclass IntBox(Box[int]): pass\nc = IntBox(2)",
        "assert b.v == 1 and isinstance(b, Box) and alias(3).v == 3 and Box.__parameters__ == (T,) and T.__bound__ is int and isinstance(c, Box)",
        save="T Box b alias c IntBox",
    ),
    "protocol": case(
        "import typing\n@typing.runtime_checkable\nclass Sized(typing.Protocol):\n    def size(self) -> int: ...\nclass C:\n    def size(self): return 1\nc = C()",
        "assert isinstance(c, Sized) and not isinstance(1, Sized)",
        save="Sized c C",
    ),
    "typeddict_newtype": case(
        "import typing\nclass TD(typing.TypedDict, total=False):\n    a: int\nU = typing.NewType('U', int)\nd = TD(a=1); u = U(3)",
        "assert d == {'a': 1} and TD(a=2) == {'a': 2} and TD.__optional_keys__ == frozenset({'a'}) and U(3) == u and U.__name__ == 'U'",
        save="TD U d u",
    ),
    "metaclass": case(
        "class Meta(type):\n    made = []\n    def __new__(m, name, bases, ns, **kw):\n        c = super().__new__(m, name, bases, ns); m.made.append(name); return c\n    def __init__(c, name, bases, ns, **kw): super().__init__(name, bases, ns)\n    def shout(c): return c.__name__.upper()\nclass C(metaclass=Meta, tag=1): pass\nc = C()",
        "assert C.shout() == 'C' and type(C) is Meta and Meta.made == ['C'] and isinstance(c, C)",
        save="Meta C c",
    ),
    "init_subclass_not_run_again": case(
        "class Plugin:\n    names = []\n    def __init_subclass__(cls, *, tag, **kw):\n        super().__init_subclass__(**kw); Plugin.names.append((cls.__name__, tag))\nclass A(Plugin, tag='a'): pass\na = A()",
        "assert Plugin.names == [('A', 'a')]\nclass B(Plugin, tag='b'): pass\nassert Plugin.names[1] == ('B', 'b')",
        save="Plugin A a",
    ),
    "super_object_and_forwarding_wrapper": case(
        "class A:\n    def hi(s): return 'A'\nclass W(A):\n    def __init__(s, i): s._i = i\n    def __getattr__(s, n): return getattr(s._i, n)\nw = W([1]); u = super(W, w)",
        "assert w.pop() == 1 and u.hi() == 'A' and u.__self__ is w",
        save="A W w u",
    ),
    "slots": case(
        "class S:\n    __slots__ = ('a', '__b', '__weakref__')\n    def __init__(s): s.a = 1; s.__b = 2\n    def b(s): return s.__b\ns = S()",
        "assert s.a == 1 and s.b() == 2 and not hasattr(s, '__dict__')\ntry: s.z = 1\nexcept AttributeError: ok = 1\nassert ok",
        save="S s",
    ),
    "slots_inherited": case(
        "class A:\n    __slots__ = 'x'\nclass B(A):\n    __slots__ = ['y']\nb = B(); b.x = 1; b.y = 2",
        "assert (b.x, b.y) == (1, 2)",
        save="b",
    ),
    "properties": case(
        "class C:\n    def __init__(s): s._v = 1\n    @property\n    def v(s):\n        'doc'\n        return s._v\n    @v.setter\n    def v(s, x): s._v = x\n    @v.deleter\n    def v(s): s._v = None\nc = C()",
        "c.v = 5; assert c.v == 5 and C.v.__doc__ == 'doc'; del c.v; assert c.v is None",
        save="C c",
    ),
    "cached_property": case(
        "import functools\nclass C:\n    n = 0\n    @functools.cached_property\n    def v(s): s.n += 1; return s.n\nc = C(); c.v",
        "assert c.v == 1 and C().v == 1",
        save="C c",
    ),
    "static_and_class_methods": case(
        "class C:\n    k = 1\n    @staticmethod\n    def s(x): return x\n    @classmethod\n    def c(cls): return cls.k\nf = C.s",
        "C.k = 2; assert C.s(1) == 1 and C.c() == 2 and C().c() == 2 and f(3) == 3",
        save="C f",
    ),
    "descriptors": case(
        "class Typed:\n    def __set_name__(s, o, n): s.n = '_' + n; s.calls = getattr(s, 'calls', 0) + 1\n    def __get__(s, i, o=None): return s if i is None else getattr(i, s.n)\n    def __set__(s, i, v): setattr(i, s.n, int(v))\nclass C:\n    x = Typed()\nc = C(); c.x = '3'",
        "c.x = '4'; assert c.x == 4 and C.x.calls == 1",
        save="C c",
    ),
    "nested_classes": case(
        "class Outer:\n    class Inner:\n        def hi(s): return type(s).__qualname__\n    def make(s): return self_inner()\ni = Outer.Inner()",
        "assert i.hi() == 'Outer.Inner' and type(i) is Outer.Inner",
        save="Outer i",
    ),
    "class_attribute_shared_mutable": case(
        "class C:\n    seen = []\n    def __init__(s): s.seen.append(1)\na = C(); l = C.seen",
        "C(); assert l == [1, 1] and a.seen is l is C.seen",
        save="C a l",
    ),
    "class_refers_to_itself": case(
        "class Node:\n    root = None\n    def child(s): return Node()\nNode.root = Node(); Node.alias = Node; n = Node.root",
        "assert Node.root is n and Node.alias is Node and isinstance(n.child(), Node)",
        save="Node n",
    ),
    "instance_in_class_with_setstate": case(
        "class C:\n    def __init__(s): s.a = 1\n    def __getstate__(s): return {'b': s.a}\n    def __setstate__(s, d): s.a = d['b'] + 10\nC.default = C(); x = C.default",
        "assert x.a == 11 and C.default is x",
        save="x C",
    ),
    "instance_with_getnewargs": case(
        "class C:\n    def __new__(cls, a): o = super().__new__(cls); o.a = a; return o\n    def __getnewargs__(s): return (s.a,)\nc = C(5)",
        "assert c.a == 5",
        save="c",
    ),
    "instance_with_reduce": case(
        "class C:\n    def __init__(s, a): s.a = a\n    def __reduce__(s): return (C, (s.a * 2,))\nc = C(5)",
        "assert c.a == 10",
        save="C c",
    ),
    "singleton_pattern": case(
        "class S:\n    one = None\n    def __new__(cls):\n        if cls.one is None: cls.one = super().__new__(cls)\n        return cls.one\ns = S()",
        "assert S() is s",
        save="S s",
    ),
    "operators_on_class": case(
        "class V:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return V(s.x + o.x)\n    def __eq__(s, o): return s.x == o.x\n    def __hash__(s): return hash(s.x)\n    def __len__(s): return 3\n    def __bool__(s): raise ValueError\nv = V(1); d = {v: 1}",
        "assert (v + V(2)).x == 3 and len(v) == 3 and d[V(1)] == 1",
        save="V v d",
    ),
    "class_with_hostile_getattr": case(
        "class C:\n    def __getattr__(s, n): return lambda *a: n\nc = C(); c.real = 1",
        "assert c.real == 1 and c.foo() == 'foo'",
        save="c",
    ),
    "class_annotations_and_doc": case(
        "class C:\n    'the doc'\n    x: int\n    y: 'C' = None",
        "assert C.__doc__ == 'the doc' and C.__annotations__ == {'x': int, 'y': 'C'}",
    ),
    "context_manager_and_iterator_class": case(
        "class It:\n    def __init__(s): s.i = 0\n    def __iter__(s): return s\n    def __next__(s):\n        s.i += 1\n        if s.i > 3: raise StopIteration\n        return s.i\n    def __enter__(s): return s\n    def __exit__(s, *a): s.i = 0\ni = It(); next(i)",
        "assert list(i) == [2, 3]",
        save="i",
    ),
    "contextmanager_function": case(
        "import contextlib\n@contextlib.contextmanager\ndef cm(x): yield x + k\nk = 1", "with cm(1) as v: assert v == 2"
    ),
    "total_ordering": case(
        "import functools\n@functools.total_ordering\nclass C:\n    def __init__(s, x): s.x = x\n    def __lt__(s, o): return s.x < o.x\n    def __eq__(s, o): return s.x == o.x\nc = C(1)",
        "assert c <= C(1) and c >= C(0)",
        save="C c",
    ),
    "class_decorated_and_replaced": case(
        "def deco(cls):\n    class New(cls):\n        extra = 1\n    New.__name__ = New.__qualname__ = cls.__name__\n    return New\n@deco\nclass C:\n    def __init__(s): super().__init__(); s.a = 1\nc = C.__new__(C)",
        "assert c.extra == 1 and len(C.__mro__) == 3",
        save="C c",
    ),
    "user_dict_of_functions_and_classes": case(
        "def f(): return C()\nclass C:\n    def g(s): return f\nx = {'f': f, 'C': C}",
        "assert isinstance(x['f'](), C) and C().g() is f and x['f'] is f",
    ),
    "prelude_instance": case(
        "b = Base([1]); l = [b]", "assert type(b) is Base and l[0] is b and b.double() == [1, 1]", prelude=PRELUDE
    ),
    "prelude_class_function_method": case(
        "x = [Base, Base.Inner, helper, square, cached, wrapped, Base.double, Base.make, Base.help, P, show, T, Color, Base(2).double]",
        "assert x[:7] == [Base, Base.Inner, helper, square, cached, wrapped, Base.double] and x[7]().x == 1 and x[8] is Base.help and x[9] is P and x[10] is show and x[11] is T and x[12] is Color and x[13]() == 4",
        prelude=PRELUDE,
    ),
    "prelude_inner_instance": case("x = Base.Inner()", "assert type(x) is Base.Inner", prelude=PRELUDE),
    "prelude_enum": case(
        "x = [Color.RED, Color.BLUE, Flag.A | Flag.B]",
        "assert x[0] is Color.RED and x[1] is Color.BLUE and x[2] is Flag.A | Flag.B",
        prelude=PRELUDE,
    ),
    "prelude_dataclass_equality": case(
        "x = Point(1); y = P(1, 2)", "assert x == Point(1) and y == P(1, 2) and isinstance(y, P)", prelude=PRELUDE
    ),
    "prelude_subclass_by_value": case(
        "class Sub(Base):\n    def double(s): return super().double() + helper(0)\ns = Sub(1)",
        "OFFSET = 100; assert isinstance(s, Base) and s.double() == 102",
        prelude=PRELUDE,
        save="Sub s",
    ),
    "shadowed_prelude_function": case(
        "def helper(x): return 'mine'\nx = [helper]", "assert x[0](1) == 'mine'", prelude=PRELUDE, save="x"
    ),
    "shadowed_prelude_class": case(
        "old = Base(1)\nclass Base:\n    def double(s): return 'mine'\nnew = Base()",
        "assert new.double() == 'mine' and old.double() == 2 and type(old) is not type(new)",
        prelude=PRELUDE,
        save="old new",
    ),
    "method_put_on_prelude_class": case(
        "def triple(self): return self.x * 3\nBase.double = triple\nf = triple; b = Base(1)",
        "assert f(b) == 3 and b.double() == 2",
        prelude=PRELUDE,
        save="f b",
    ),
    "prelude_wraps_inner_by_value": case("x = wrapped.__wrapped__", "assert x is helper", prelude=PRELUDE),
}
