"""Values of the standard library."""

from tests.marshal.battery import case

CASES = {
    "big_int": case("x = 2**3000; y = -2**64", "assert x == 2**3000 and y == -2**64"),
    "nan_and_infinity": case(
        "x = float('nan'); y = [x, x, -0.0, float('inf')]",
        "import math; assert math.isnan(x) and math.isnan(y[1]) and str(y[2]) == '-0.0'",
    ),
    "nan_by_identity": case(
        "nan = float('nan'); xs = [nan, 1.0]; m = math.nan; d = {'k': nan}",
        "assert nan in xs and xs[0] is nan and m is math.nan and d['k'] is nan",
        "import math",
    ),
    "one_object_many_names": case(
        "a = 'some words'; b = a; n = 10**20; m = n; t = (1, 2); u = t; mode = 'train'",
        "assert a is b and n is m and t is u and mode is __import__('sys').intern('train')",
    ),
    "none_true_ellipsis": case(
        "x = (None, True, ..., NotImplemented)", "assert x == (None, True, ..., NotImplemented) and x[2] is ..."
    ),
    "text_with_surrogates": case("x = 'a\\ud800b\\0\\n' + chr(0x1f600)", "assert x == 'a\\ud800b\\0\\n' + chr(0x1f600)"),
    "bytes_and_bytearray": case("x = bytes(range(256)); y = bytearray(x); z = y", "assert x == bytes(y) and z is y"),
    "large_bytes": case("x = bytes(300_000); y = bytearray(300_000)", "assert x == bytes(300_000) == y"),
    "complex_range_slice": case(
        "x = [1+2j, range(1, 9, 2), slice(1, None, -1)]", "assert x == [1+2j, range(1, 9, 2), slice(1, None, -1)]"
    ),
    "nested_containers": case("x = {'a': [1, (2, {3}), frozenset([4])]}", "assert x == {'a': [1, (2, {3}), frozenset([4])]}"),
    "list_in_itself": case("x = [1]; x.append(x)", "assert x[1] is x"),
    "dict_in_itself": case("x = {}; x['me'] = x; y = x", "assert x['me'] is x and y is x"),
    "tuple_cycle": case("l = []; x = (l,); l.append(x)", "assert x[0] is l and l[0] is x"),
    "set_cycle": case("class N: pass\nn = N(); n.s = {n}", "assert n in n.s and len(n.s) == 1"),
    "shared_list": case("a = [1]; b = {'k': a}", "b['k'].append(2); assert a == [1, 2]"),
    "shared_deeply": case("cfg = {'lr': 1}; m = [[cfg]]; n = (cfg,)", "cfg['lr'] = 2; assert m[0][0]['lr'] == n[0]['lr'] == 2"),
    "same_object_three_names": case("a = b = c = {1}", "assert a is b is c"),
    "equal_but_not_same": case("a = [1]; b = [1]", "assert a == b and a is not b"),
    "shared_empty_list": case("a = b = []", "assert a is b"),
    "defaultdict_lambda": case(
        "from collections import defaultdict\nx = defaultdict(lambda: [0]); x['a'].append(1)",
        "x['b'].append(2); assert x == {'a': [0, 1], 'b': [0, 2]}",
        save="x",
    ),
    "nested_defaultdict": case(
        "tree = lambda: defaultdict(tree)\nx = tree(); x['a']['b'] = 1",
        "assert x['q']['r'] == {} and x['a']['b'] == 1",
        "from collections import defaultdict",
    ),
    "deque_maxlen": case(
        "from collections import deque\nx = deque([1, 2, 3], maxlen=2)", "assert list(x) == [2, 3] and x.maxlen == 2", save="x"
    ),
    "ordereddict": case(
        "from collections import OrderedDict\nx = OrderedDict(b=1, a=2); x.move_to_end('b')",
        "assert list(x) == ['a', 'b']",
        save="x",
    ),
    "counter": case("from collections import Counter\nx = Counter('hello')", "assert x.most_common(1) == [('l', 2)]", save="x"),
    "chainmap": case(
        "from collections import ChainMap\na = {}; x = ChainMap(a, {'k': 1})", "x['n'] = 1; assert a == {'n': 1}", save="a x"
    ),
    "mappingproxy": case(
        "import types\na = {'k': 1}; x = types.MappingProxyType(a)", "a['n'] = 2; assert x['n'] == 2", save="a x"
    ),
    "class_namespace": case("class C: k = 1\nx = vars(C)", "assert x['k'] == 1 and x == C.__dict__"),
    "dict_views": case(
        "d = {'a': 1}; k, v, i = d.keys(), d.values(), d.items()",
        "d['b'] = 2; assert list(k) == ['a', 'b'] and list(v) == [1, 2] and ('b', 2) in i",
    ),
    "odict_views": case(
        "from collections import OrderedDict\nd = OrderedDict(a=1); k = d.keys()",
        "d['b'] = 2; assert list(k) == ['a', 'b']",
        save="d k",
    ),
    "userdict": case(
        "from collections import UserDict, UserList\nx = UserDict(a=1); y = UserList([1])",
        "assert x['a'] == 1 and y == [1]",
        save="x y",
    ),
    "simplenamespace": case("import types\nx = types.SimpleNamespace(a=[1])", "assert x.a == [1]", save="x"),
    "datetimes": case(
        "import datetime as dt, zoneinfo\nx = [dt.datetime(2024, 2, 29, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')), dt.date(1, 1, 1), dt.timedelta(1, 2, 3), dt.time(1, fold=1), dt.timezone.utc]",
        "assert x[0].utcoffset().seconds == 3600 and x[3].fold == 1 and str(x[0].tzinfo) == 'Europe/Berlin'; import datetime; assert x[4] is datetime.timezone.utc",
        save="x",
    ),
    "numbers": case(
        "from decimal import Decimal\nfrom fractions import Fraction\nx = [Decimal('1.10'), Fraction(1, 3)]",
        "assert str(x[0]) == '1.10' and x[1].denominator == 3",
        save="x",
    ),
    "regex": case("import re\nx = re.compile('a(b)', re.I)", "assert x.match('AB').group(1) == 'B'", save="x"),
    "regex_match": case(
        "import re\nx = re.search(r'(\\d+)-(?P<n>\\w+)', 'ab 12-cd'); y = re.compile('b').match('abc', 1)",
        "assert x.group('n') == 'cd' and x.span() == (3, 8) and y.start() == 1",
        save="x y",
    ),
    "paths_and_uuid": case(
        "import pathlib, uuid\nx = pathlib.Path('a b/ü'); y = uuid.UUID(int=5); z = pathlib.PureWindowsPath('c:/x')",
        "assert x.name == 'ü' and y.int == 5 and z.drive == 'c:'",
        save="x y z",
    ),
    "array_array": case(
        "import array\nx = array.array('d', [1, 2]); y = [x]", "x.append(3); assert list(y[0]) == [1, 2, 3]", save="x y"
    ),
    "memory_files": case(
        "import io\nx = io.StringIO('abc'); x.read(1); y = io.BytesIO(b'abc'); y.seek(2)",
        "assert x.read() == 'bc' and y.read() == b'c'",
        save="x y",
    ),
    "closed_file": case(
        "f = open('closed.txt', 'w'); f.write('x'); f.close()", "assert f.closed and f.name == 'closed.txt' and f.mode == 'w'"
    ),
    "standard_stream": case(
        "import sys\nx = [sys.stdout, sys.stderr]", "import sys; assert x[0] is sys.stdout and x[1] is sys.stderr", save="x"
    ),
    "modules_as_values": case(
        "import json, os.path, xml.dom\nx = [json, os.path, xml.dom]",
        "import json, os.path; assert x[0] is json and x[1] is os.path and x[2].__name__ == 'xml.dom'",
    ),
    "main_module": case("import __main__ as m\nx = m", "import sys; assert x is sys.modules['__main__']", save="x"),
    "handmade_module": case(
        "import types\nm = types.ModuleType('hand'); m.k = 1; exec('def f(): return k', m.__dict__)",
        "m.k = 5; assert m.f() == 5 and m.f.__globals__ is m.__dict__",
        save="m",
    ),
    "globals_dict": case("g = globals(); x = {'g': g}", "assert g is globals() and x['g'] is g", save="x g"),
    "builtin_functions": case(
        "x = [len, print, int, str.upper, [].append, dict.fromkeys, max]",
        "assert x[0] is len and x[2] is int and x[3]('a') == 'A' and x[5]('a') == {'a': None}",
    ),
    "bound_builtin_keeps_its_list": case("l = []; push = l.append", "push(1); assert l == [1]"),
    "operators": case(
        "import operator as op\nx = [op.itemgetter(1, 2), op.attrgetter('a.b'), op.methodcaller('upper'), op.add]",
        "assert x[0]('abc') == ('b', 'c') and x[2]('a') == 'A'",
        save="x",
    ),
    "types_of_interpreter": case(
        "import types\nx = [type(None), type(...), types.FunctionType, types.GeneratorType, type(len), type({}.keys())]",
        "import types; assert x[2] is types.FunctionType and x[0] is type(None)",
        save="x",
    ),
    "generic_aliases": case(
        "import typing\nx = [list[int], dict[str, list[int]], typing.Optional[int], int | None, typing.Callable[[int], str], typing.Any, typing.Literal['a']]",
        "import typing; assert x == [list[int], dict[str, list[int]], typing.Optional[int], int | None, typing.Callable[[int], str], typing.Any, typing.Literal['a']]",
        save="x",
    ),
    "list_iterator": case("l = [1, 2, 3]; it = iter(l); next(it)", "l.append(4); assert list(it) == [2, 3, 4]"),
    "zip_enumerate_map": case(
        "l = [1, 2, 3]; z = zip(l, 'abc'); next(z); e = enumerate(l, 5); next(e); m = map(str, l); next(m); r = reversed(l); next(r)",
        "assert list(z) == [(2, 'b'), (3, 'c')] and list(e) == [(6, 2), (7, 3)] and list(m) == ['2', '3'] and list(r) == [2, 1]",
    ),
    "filter_with_lambda": case("f = filter(lambda x: x > 1, [1, 2, 3]); next(f)", "assert list(f) == [3]"),
    "dict_and_set_iterator": case(
        "d = {'a': 1, 'b': 2}; i = iter(d); next(i); j = iter(d.items()); next(j)",
        "assert list(i) == ['b'] and list(j) == [('b', 2)]",
    ),
    "shared_iterator": case("i = iter('abc'); a = [i]; next(i)", "assert next(a[0]) == 'b' and next(i) == 'c'"),
    "random_state": case(
        "import random\nr = random.Random(3); r.random(); expected = random.Random(3); expected.random(); e = expected.random()",
        "assert r.random() == e",
        save="r e",
    ),
    "exception_with_cause": case(
        "try:\n    try:\n        1/0\n    except ZeroDivisionError as e:\n        raise ValueError('bad', 3) from e\nexcept ValueError as e:\n    err = e\n    err.extra = [1]; err.add_note('n')",
        "assert err.args == ('bad', 3) and type(err.__cause__) is ZeroDivisionError and err.__traceback__ is None and err.extra == [1] and err.__notes__ == ['n'] and err.__suppress_context__",
        save="err",
    ),
    "exception_of_author": case(
        "class MyError(Exception):\n    def __init__(self, code, *, where):\n        super().__init__(f'{code} at {where}')\n        self.code = code\nerr = MyError(3, where='x')",
        "assert str(err) == '3 at x' and err.code == 3 and isinstance(err, MyError)",
    ),
    "native_exceptions": case(
        "x = [FileNotFoundError(2, 'no', 'f.txt'), KeyError('k'), UnicodeDecodeError('utf8', b'a', 0, 1, 'r'), ImportError('m', name='n'), ExceptionGroup('g', [ValueError(1)]), StopIteration(3)]",
        "assert x[0].filename == 'f.txt' and x[0].errno == 2 and x[2].reason == 'r' and x[3].name == 'n' and x[4].exceptions[0].args == (1,) and x[5].value == 3",
    ),
    "weak_references": case(
        "import weakref\nclass C: pass\nc = C(); r = weakref.ref(c); w = weakref.WeakValueDictionary(k=c); s = weakref.WeakSet([c]); k = weakref.WeakKeyDictionary({c: 1})",
        "assert r() is c and w['k'] is c and c in s and k[c] == 1; del c; import gc; gc.collect(); assert r() is None and not w",
        save="C c r w s k",
    ),
    "weak_proxy": case("import weakref\nclass C: x = 1\nc = C(); p = weakref.proxy(c)", "c.x = 5; assert p.x == 5", save="C c p"),
    "dead_weak_reference": case("import weakref\nclass C: pass\nr = weakref.ref(C())", "assert r() is None", save="r"),
    "unlocked_locks": case(
        "import threading\nclass C:\n    def __init__(self): self.l = threading.Lock(); self.r = threading.RLock(); self.e = threading.Event()\nc = C(); l = c.l; c.e.set()",
        "assert c.l is l and l.acquire(blocking=False) and c.r.acquire() and c.e.is_set()",
        save="C c l",
    ),
    "idle_queue": case("import queue\nq = queue.Queue(); q.put(1)", "assert q.get() == 1", save="q"),
    "logger": case(
        "import logging\nx = logging.getLogger('my.log')", "import logging; assert x is logging.getLogger('my.log')", save="x"
    ),
    "partial": case(
        "import functools\nl = []\np = functools.partial(lambda x, y, z=0: (x, y, z), 1, z=l)",
        "l.append(1); assert p(2) == (1, 2, [1])",
        save="p l",
    ),
    "deep_list": case(
        "x = []\nfor _ in range(20_000): x = [x]", "n = 0\nwhile x: x = x[0]; n += 1\nassert n == 20_000", save="x"
    ),
    "long_linked_list": case(
        "class N:\n    def __init__(s, n): s.n = n\nhead = None\nfor _ in range(3000): head = N(head)",
        "n = 0\nwhile head: head = head.n; n += 1\nassert n == 3000",
        save="head",
    ),
    "object_sentinel_shared": case("MISSING = object(); x = [MISSING]", "assert x[0] is MISSING"),
    "object_sentinel_of_prelude": case("x = [MISSING]", "assert x[0] is MISSING", prelude="MISSING = object()"),
    "odd_names": case(
        "größe = 1; x_ = [1]; globals()['a b/../c'] = x_; globals()['名'] = 2",
        "assert größe == 1 and globals()['a b/../c'] is x_ and 名 == 2",
    ),
    "many_variables": case(
        "for i in range(300): globals()[f'v{i}'] = [i]", "assert all(globals()[f'v{i}'] == [i] for i in range(300))"
    ),
    "contextvar_free_event": case("import string\nx = string.Template('$a')", "assert x.substitute(a=1) == '1'", save="x"),
    "http_and_url": case(
        "import urllib.parse as u, ipaddress as ip\nx = [u.urlparse('http://a/b'), ip.ip_address('1.2.3.4')]",
        "assert x[0].netloc == 'a' and int(x[1]) == 16909060",
        save="x",
    ),
    "ast_and_etree": case(
        "import ast, xml.etree.ElementTree as e\nx = ast.parse('a+1'); y = e.fromstring('<a><b/></a>')",
        "import ast; assert ast.unparse(x) == 'a + 1' and y[0].tag == 'b'",
        save="x y",
    ),
    "argparse_namespace": case(
        "import argparse, configparser\nx = argparse.Namespace(a=1); y = configparser.ConfigParser(); y['s'] = {'k': 'v'}",
        "assert x.a == 1 and y['s']['k'] == 'v'",
        save="x y",
    ),
    "string_formatter_and_statistics": case("import statistics\nx = statistics.NormalDist(1, 2)", "assert x.mean == 1", save="x"),
    "itertools": case(
        "import itertools as i\nc = i.count(5); next(c); y = i.cycle('ab'); next(y); s = i.islice([1,2,3,4], 1, None); next(s); h = i.chain([1], [2]); next(h)",
        "assert next(c) == 6 and next(y) == 'b' and list(s) == [3, 4] and list(h) == [2]",
        save="c y s h",
    ),
}
