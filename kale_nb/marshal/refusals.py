"""What must not travel, and why: values that stand for a living thing of one process.

Some of these would pickle without complaint and come back wrong (a `Popen`, a thread, a lock that is held), which is worse than an
error. Everything is named by module and class so that nothing is imported to compare with it.
"""

from __future__ import annotations

import pickle
import sys


class Refused(pickle.PicklingError):
    """A value that cannot travel.

    Attributes:
        value: the value itself.
        why: the end of a sentence that starts with its name: `is an open file (notes.txt)`.
    """

    def __init__(self, value: object, why: str) -> None:
        super().__init__(why)
        self.value = value
        self.why = why


# Class name (looked up along the MRO) -> what to call it.
REFUSED: dict[str, str] = {
    "builtins.generator": "a generator",
    "builtins.coroutine": "a coroutine",
    "builtins.async_generator": "an asynchronous generator",
    "builtins.coroutine_wrapper": "a coroutine",
    "builtins.async_generator_asend": "a coroutine",
    "builtins.frame": "a stack frame",
    "builtins.traceback": "a traceback",
    "builtins.PyCapsule": "a handle of an extension module",
    "builtins.memoryview": "a memoryview",
    "socket.socket": "a socket",
    "_socket.socket": "a socket",
    "ssl.SSLContext": "an SSL context",
    "_ssl._SSLContext": "an SSL context",
    "_ssl._SSLSocket": "a socket",
    "sqlite3.Connection": "a database connection",
    "sqlite3.Cursor": "a database cursor",
    "threading.Thread": "a thread",
    "_thread._localdummy": "thread-local storage",
    "_thread._local": "thread-local storage",
    "_threading_local.local": "thread-local storage",
    "concurrent.futures._base.Executor": "an executor",
    "multiprocessing.process.BaseProcess": "a process",
    "multiprocessing.pool.Pool": "a process pool",
    "multiprocessing.managers.BaseManager": "a process manager",
    "multiprocessing.managers.BaseProxy": "a proxy of another process",
    "multiprocessing.queues.Queue": "a queue between processes",
    "multiprocessing.queues.SimpleQueue": "a queue between processes",
    "multiprocessing.synchronize.SemLock": "a lock between processes",
    "multiprocessing.connection._ConnectionBase": "a connection between processes",
    "multiprocessing.shared_memory.SharedMemory": "shared memory",
    "_queue.SimpleQueue": "a queue",
    "subprocess.Popen": "a running program",
    "tempfile.TemporaryDirectory": "a temporary directory that goes away with its owner",
    "tempfile._TemporaryFileWrapper": "a temporary file",
    "weakref.finalize": "a finalizer",
    "mmap.mmap": "a memory map",
    "_contextvars.Token": "a context token",
    "_contextvars.Context": "a context",
    "contextvars.Context": "a context",
    "_asyncio.Future": "a future of an event loop",
    "_asyncio.Task": "a task of an event loop",
    "asyncio.events.AbstractEventLoop": "an event loop",
    "selectors.BaseSelector": "a selector",
    "zipfile.ZipFile": "an open archive",
    "tarfile.TarFile": "an open archive",
    "_csv.reader": "a reader over an open source",
    "_csv.writer": "a writer to an open target",
    "_ctypes.CFuncPtr": "a pointer to native code",
    "_ctypes._Pointer": "a native pointer",
    "ctypes.CDLL": "a native library",
    "IPython.core.interactiveshell.InteractiveShell": "the IPython shell",
    "traitlets.traitlets.HasTraits": "a live object of the notebook front end",
    "zmq.sugar.socket.Socket": "a socket",
    "zmq.sugar.context.Context": "a messaging context",
    "sys.flags": "a table of the interpreter",
}

_FILES = {"_io._IOBase", "io.IOBase"}
_MEMORY_FILES = {"_io.BytesIO", "_io.StringIO"}


def class_name(cls: type) -> str:
    """Give a class its full name; `type.__module__` may be anything in classes that set it oddly."""
    return f"{cls.__module__}.{cls.__qualname__}"


def shown_name(cls: type) -> str:
    """Give the name people read: without `builtins` or `__main__` before it."""
    module = cls.__module__
    return cls.__qualname__ if module in {"builtins", "__main__"} else f"{module}.{cls.__qualname__}"


def refusal_of(cls: type) -> str | None:
    """Tell what values of this class are when they must not travel, else None; open files are judged by value."""
    names = [class_name(base) for base in type.mro(cls)] if not issubclass(cls, type) else []
    for name in names:
        if name in REFUSED:
            return REFUSED[name]
    return None


def is_file_class(cls: type) -> bool:
    """Tell whether values of this class are files of the system, not files in memory."""
    names = {class_name(base) for base in cls.__mro__}
    return bool(names & _FILES) and not names & _MEMORY_FILES


def a_file(value: object) -> str:
    """Describe a file: `an open file ('notes.txt', mode 'w')`."""
    facts = []
    for attribute in ("name", "mode"):
        try:
            shown = getattr(value, attribute)
        except Exception:  # noqa: BLE001 - a detached or closed file raises what it likes
            continue
        facts.append(repr(shown) if attribute == "name" else f"mode {shown!r}")
    return f"an open file ({', '.join(facts)})" if facts else "an open file"


def is_standard_stream(value: object) -> str | None:
    """Give the name in `sys` of a standard stream."""
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__"):
        if getattr(sys, name, None) is value:
            return name
    return None


def is_closed(value: object) -> bool:
    """Tell whether a file is closed."""
    try:
        return bool(getattr(value, "closed", False))
    except ValueError:
        return True
