"""What must not travel is refused by name, with the path to it, and spoils nothing else."""

import asyncio
import concurrent.futures
import csv
import ctypes
import functools
import io
import mmap
import queue
import select
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import types
import weakref

import pytest

from kale_nb.errors import MarshalError
from kale_nb.marshal import describe, load, save, trace


class Holder:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("conn",)

    def __init__(self, conn):
        self.conn = conn


def refusal(value, tmp_path, name="x"):
    """Save a value that must fail beside one that must not, and give the failure."""
    saved = save({"before": [1], name: value, "after": {"k": 2}}, tmp_path / "bundle", main={}, by_reference=())
    assert list(saved.failures) == [name]
    assert [entry.name for entry in saved.entries] == ["before", "after"]
    assert load(tmp_path / "bundle", None, main={}) == {"before": [1], "after": {"k": 2}}
    error = saved.failures[name]
    assert isinstance(error, MarshalError)
    assert error.variable == name
    assert trace(value, main={}, by_reference=()).digest is None
    return error


@pytest.fixture
def connection():
    with sqlite3.connect(":memory:") as made:
        yield made
    made.close()


@pytest.fixture
def generator():
    return (i for i in range(3))


def test_generator_is_refused(tmp_path, generator):
    assert refusal(generator, tmp_path).message.startswith("x is a generator")


def test_generator_half_way_is_refused_and_not_moved(tmp_path, generator):
    next(generator)
    refusal([generator], tmp_path)
    assert next(generator) == 1


def test_coroutine_is_refused(tmp_path):
    async def work():
        return 1

    coroutine = work()
    assert "a coroutine" in refusal(coroutine, tmp_path).message
    coroutine.close()


def test_async_generator_is_refused(tmp_path):
    async def work():
        yield 1

    assert "generator" in refusal(work(), tmp_path).message


@pytest.mark.parametrize("mode", ["w", "r", "a", "rb", "wb", "r+b"])
def test_open_file_of_any_mode_is_refused(tmp_path, mode):
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with open(path, mode) as file:
        message = refusal(file, tmp_path, "log").message
    assert "log is an open file" in message
    assert "notes.txt" in message


def test_sockets_are_refused(tmp_path):
    with socket.socket() as made:
        assert "x is a socket" in refusal(made, tmp_path).message


def test_connection_and_cursor_are_refused(tmp_path, connection):
    assert "x is a database connection" in refusal(connection, tmp_path).message
    cursor = connection.cursor()
    assert "x[0] is a database cursor" in refusal([cursor], tmp_path).message


def test_held_locks_are_refused(tmp_path):
    for lock in (threading.Lock(), threading.RLock()):
        with lock:
            assert "x['l'] is a lock that is held" in refusal({"l": lock}, tmp_path).message


def test_condition_that_is_held_is_refused(tmp_path):
    condition = threading.Condition()
    with condition:
        refusal(condition, tmp_path)


def test_threads_are_refused_started_or_not(tmp_path):
    assert "x is a thread" in refusal(threading.Thread(target=print), tmp_path).message
    assert "a thread" in refusal(threading.current_thread(), tmp_path).message
    assert "a thread" in refusal(threading.Timer(100, print), tmp_path).message


def test_popen_is_refused(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert "a running program" in refusal({"p": process}, tmp_path).message
    finally:
        process.communicate(b"\n")


def test_executors_and_pools_are_refused(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert "an executor" in refusal(pool, tmp_path).message


def test_pending_future_is_refused(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        future = pool.submit(gate.wait)
        try:
            refusal(future, tmp_path)
        finally:
            gate.set()


def test_event_loop_is_refused(tmp_path):
    loop = asyncio.new_event_loop()
    try:
        refusal(loop, tmp_path)
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (ssl.create_default_context, "SSL"),
        (lambda: ctypes.pointer(ctypes.c_int(1)), "pointer"),
        (lambda: ctypes.CDLL(None).getpid, "pointer"),
        (lambda: ctypes.CDLL(None), "library"),
        (sys._getframe, "frame"),
        (queue.SimpleQueue, "queue"),
        (threading.local, "thread-local"),
        (lambda: memoryview(b"abc"), "memoryview"),
        (lambda: mmap.mmap(-1, 10), "memory map"),
        (lambda: csv.reader(io.StringIO("a")), "reader"),
        (lambda: csv.writer(io.StringIO()), "writer"),
        (select.poll, "poll"),
        (lambda: weakref.finalize(Holder, print), "finalizer"),
    ],
    ids=[
        "ssl context",
        "pointer",
        "foreign function",
        "library",
        "frame",
        "simple queue",
        "thread local",
        "memoryview",
        "mmap",
        "reader",
        "writer",
        "poll",
        "finalizer",
    ],
)
def test_living_things_of_a_process_are_refused(tmp_path, make, word):
    assert word in refusal(make(), tmp_path).message


def test_traceback_alone_is_refused(tmp_path):
    try:
        raise ValueError
    except ValueError as error:
        tb = error.__traceback__
    assert "a traceback" in refusal(tb, tmp_path).message


def test_temporary_things_are_refused(tmp_path):
    with tempfile.TemporaryDirectory() as _, tempfile.NamedTemporaryFile() as file:
        assert "a temporary file" in refusal(file, tmp_path).message
    directory = tempfile.TemporaryDirectory()
    assert "a temporary directory" in refusal(directory, tmp_path).message
    directory.cleanup()


def test_ipython_shell_is_refused(tmp_path):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    made = shell.__new__(shell)
    assert "the IPython shell" in refusal(made, tmp_path).message


def test_reduction_that_raises_is_refused_with_what_it_said(tmp_path):
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("I will not go")

    error = refusal({"s": [Stubborn()]}, tmp_path)
    assert error.culprit == "x['s'][0]"
    assert "I will not go" in error.message


def test_paths_lead_to_the_culprit(tmp_path, connection, generator):
    def closure(conn):
        return lambda: conn

    cases = {
        "model['cfg'].conn": ("model", {"cfg": Holder(conn=connection)}),
        "m['cfg']['steps'][2]['conn']": ("m", {"cfg": {"steps": [1, 2, {"conn": connection}]}}),
        "s.conn": ("s", Slotted(connection)),
        "t[1][0]": ("t", (1, [connection])),
        "f (its variable conn)": ("f", closure(connection)),
        "p.args[0]": ("p", functools.partial(print, connection)),
        "p.keywords['file']": ("p", functools.partial(print, file=connection)),
        "d.default_factory": ("d", Holder(default_factory=generator)),
        "q[0]": ("q", types.SimpleNamespace and __import__("collections").deque([generator])),
        "b.__self__.conn": ("b", Method(connection).call),
        "e.args[0]": ("e", ValueError(generator)),
    }
    for culprit, (name, value) in cases.items():
        error = refusal(value, tmp_path, name)
        assert error.culprit == culprit
        assert error.message.startswith(f"{culprit} is a ")


class Method:
    def __init__(self, conn):
        self.conn = conn

    def call(self):
        return self.conn


def test_path_into_an_object_array_and_a_frame(tmp_path, generator):
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    array = np.empty((2, 2), object)
    array[1, 0] = generator
    assert refusal(array, tmp_path).culprit == "x[1, 0]"
    frame = pd.DataFrame({"a": [1, 2], "g": pd.Series([None, generator], dtype=object)})
    assert refusal(frame, tmp_path, "df").culprit == "df['g'][1]"


def test_path_into_a_class_by_value(tmp_path, connection):
    scope = {"__name__": "__main__", "conn": connection}
    exec("class Db:\n    handle = conn\n", scope)
    error = save({"db": scope["Db"]()}, tmp_path / "b", main=scope, by_reference=()).failures["db"]
    assert error.culprit is not None
    assert error.culprit.endswith(".handle")


def test_several_culprits_each_have_their_own_error(tmp_path, connection, generator):
    shared = [generator]
    saved = save({"a": shared, "b": {"s": shared}, "c": connection, "d": 1}, tmp_path / "b", main={}, by_reference=())
    assert {n: e.culprit for n, e in saved.failures.items()} == {"a": "a[0]", "b": "b['s'][0]", "c": "c"}
    assert load(tmp_path / "b", None, main={}) == {"d": 1}


def test_nothing_to_save_makes_an_empty_bundle(tmp_path):
    assert save({}, tmp_path / "b", main={}, by_reference=()).entries == ()
    assert describe(tmp_path / "b") == ()
    assert load(tmp_path / "b", None, main={}) == {}
