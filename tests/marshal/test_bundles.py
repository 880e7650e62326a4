"""The bundle on disk: whole or not there, and never believed when damaged."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest
import xxhash

from kale_nb.errors import MarshalError
from kale_nb.marshal import describe, load, save


def write(folder, values=None, **keywords):
    return save({"a": [1, 2], "b": {"k": "v" * 500}} if values is None else values, folder, main={}, by_reference=(), **keywords)


def message_of(folder, names=None):
    with pytest.raises(MarshalError) as caught:
        load(folder, names, main={})
    return str(caught.value)


def reseal(folder, **changes):
    """Rewrite the index of a bundle with other facts and a right checksum."""
    index = json.loads((folder / "index.json").read_bytes())
    del index["checksum"]
    text = json.dumps({**index, **changes}, separators=(",", ":")).encode()
    (folder / "index.json").write_bytes(text[:-1] + b',"checksum":"' + xxhash.xxh3_64_hexdigest(text).encode() + b'"}\n')


def test_missing_bundle_says_so(tmp_path):
    assert "there are no values at" in message_of(tmp_path / "nowhere")
    with pytest.raises(MarshalError, match="there are no values"):
        describe(tmp_path / "nowhere")


def test_file_or_foreign_folder_is_not_a_bundle(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "not a bundle" in message_of(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    assert "not a bundle" in message_of(tmp_path / "folder")
    (tmp_path / "folder" / "index.json").write_text("{}")
    (tmp_path / "folder" / "values.bin").write_text("")
    assert "not a bundle" in message_of(tmp_path / "folder")


def test_cut_short_at_any_length(tmp_path):
    write(tmp_path / "b")
    for name in ("values.bin", "index.json"):
        whole = (tmp_path / "b" / name).read_bytes()
        for length in {0, 1, len(whole) // 2, len(whole) - 1}:
            (tmp_path / "b" / name).write_bytes(whole[:length])
            text = message_of(tmp_path / "b")
            assert "cut short" in text or "not a bundle" in text
        (tmp_path / "b" / name).write_bytes(whole)
    assert load(tmp_path / "b", None, main={})["a"] == [1, 2]


def test_every_flipped_byte_is_found_or_does_not_matter(tmp_path):
    np = pytest.importorskip("numpy")
    values = {"a": [1, 2], "b": np.arange(20), "c": "text"}
    write(tmp_path / "b", values)
    for name in ("values.bin", "index.json"):
        path = tmp_path / "b" / name
        whole = bytearray(path.read_bytes())
        for at in range(0, len(whole), 7):
            whole[at] ^= 0x10
            path.write_bytes(whole)
            try:
                read = load(tmp_path / "b", None, main={})
            except MarshalError as error:
                assert str(tmp_path) in str(error)  # noqa: PT017
            else:  # the padding between sections
                assert name == "values.bin"
                assert read["a"] == [1, 2]
                assert read["b"].sum() == 190
            whole[at] ^= 0x10
        path.write_bytes(whole)


def test_damage_of_one_value_leaves_the_others_readable(tmp_path):
    write(tmp_path / "b", {"a": "x" * 1000, "b": "y" * 1000})
    path = tmp_path / "b" / "values.bin"
    path.write_bytes(path.read_bytes().replace(b"x" * 1000, b"z" * 1000))
    assert load(tmp_path / "b", ["b"], main={}) == {"b": "y" * 1000}
    assert "is corrupt" in message_of(tmp_path / "b", ["a"])


def test_another_python_is_refused_before_unpickling(tmp_path):
    write(tmp_path / "b")
    reseal(tmp_path / "b", python="3.999")
    assert "was written by Python 3.999" in message_of(tmp_path / "b")
    assert [entry.name for entry in describe(tmp_path / "b")] == ["a", "b"]
    reseal(tmp_path / "b", python=f"{sys.version_info.major}.{sys.version_info.minor}", version=77)
    assert "format version 77" in message_of(tmp_path / "b")


def test_unknown_name_is_named(tmp_path):
    write(tmp_path / "b")
    assert "no value named nope" in message_of(tmp_path / "b", ["a", "nope"])
    assert load(tmp_path / "b", [], main={}) == {}
    assert load(tmp_path / "b", ["b"], main={}).keys() == {"b"}


def test_describe_does_not_unpickle(tmp_path):
    scope = {"__name__": "__main__"}
    exec("class Bomb:\n    def __reduce__(self): return (exec, ('raise SystemExit(9)',))", scope)
    save({"bomb": scope["Bomb"](), "l": [1]}, tmp_path / "b", main=scope, by_reference=())
    bomb, other = describe(tmp_path / "b")
    assert (bomb.name, bomb.type, other.facts) == ("bomb", "__main__.Bomb", {"length": "1"})


def test_entries_tell_groups_sizes_globals_and_facts(tmp_path):
    np = pytest.importorskip("numpy")
    main = {"__name__": "__main__", "np": np}
    exec(
        "l = []\ndef f(x): return g(x) + len(K) + [y for y in Z]\na = np.zeros((1000, 10))\nv = a[5:]\nd = {'l': l}\nalone = 'x'",
        main,
    )
    names = ["l", "f", "a", "v", "d", "alone"]
    saved = save({n: main[n] for n in names}, tmp_path / "b", main=main, by_reference=())
    assert saved.entries == describe(tmp_path / "b")
    entry = {e.name: e for e in saved.entries}
    assert list(entry) == names
    assert entry["l"].group == entry["d"].group != entry["a"].group == entry["v"].group
    assert len({entry[n].group for n in ("f", "alone", "l", "a")}) == 4
    assert entry["f"].globals == ("K", "Z", "g")
    assert entry["a"].size >= 80_000 > entry["v"].size
    assert entry["a"].facts == {"shape": "(1000, 10)", "dtype": "float64"}
    assert entry["a"].type == "numpy.ndarray"


def test_bundle_replaces_what_was_there(tmp_path):
    write(tmp_path / "b", {"old": 1})
    write(tmp_path / "b", {"new": 2})
    assert load(tmp_path / "b", None, main={}) == {"new": 2}
    (tmp_path / "file").write_text("in the way")
    write(tmp_path / "file", {"new": 3})
    assert load(tmp_path / "file", None, main={}) == {"new": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "file"]


def test_readers_never_see_half_while_a_bundle_is_replaced(tmp_path):
    write(tmp_path / "b", {"x": [0] * 100})
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            try:
                seen.append(len(set(load(tmp_path / "b", None, main={})["x"])))
            except MarshalError as error:  # opened in one bundle, read in the next: an error, never a wrong value
                seen.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        write(tmp_path / "b", {"x": [number] * 100})
    stop.set()
    reader.join()
    assert 1 in seen
    assert not [s for s in seen if s != 1 and "no values" in str(s)]


def test_names_and_folders_with_odd_characters(tmp_path):
    folder = tmp_path / "mit Leerzeichen" / "größe\n'\"" / ("x" * 200)
    values = {"größe": 1, "名": [2], "a b/../c": 3, "": 4, "\udc80": 5}
    write(folder, values)
    assert load(folder, None, main={}) == values
    assert [e.name for e in describe(folder)] == list(values)


def test_files_are_private(tmp_path):
    write(tmp_path / "b")
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    assert all(p.stat().st_mode & 0o077 == 0 for p in (tmp_path / "b").iterdir())


def test_relative_folder_and_text_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("here")
    assert load("here", ["a"], main={}) == {"a": [1, 2]}


def test_place_that_cannot_be_written_is_named_and_left_clean(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MarshalError, match=r"cannot write .*file/sub"):
        write(tmp_path / "file" / "sub")
    if os.geteuid() != 0:
        (tmp_path / "ro").mkdir(mode=0o500)
        with pytest.raises(MarshalError, match="cannot write"):
            write(tmp_path / "ro" / "b")


FULL = """
import resource, sys, pathlib
from kale_nb.errors import MarshalError
from kale_nb.marshal import load, save
where = pathlib.Path(sys.argv[1])
save({"old": 1}, where, main={}, by_reference=())
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save({"big": bytes(300_000)}, where, main={}, by_reference=())
except MarshalError as error:
    print(error)
    print(load(where, None, main={}), [p.name for p in where.parent.iterdir()])
"""


def test_full_disk_names_the_folder_keeps_the_old_bundle_and_leaves_nothing_half(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "b")], capture_output=True, text=True, check=True)
    assert f"cannot write {tmp_path / 'b'}: the disk is full" in done.stdout
    assert "{'old': 1} ['b']" in done.stdout


KILLED = """
import os, pathlib, signal, sys
from kale_nb.marshal import save
class Slow:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)
where = pathlib.Path(sys.argv[1])
from kale_nb.marshal import bundle
real = bundle._replace
bundle._replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
save({"x": 1}, where, main={}, by_reference=())
"""


def test_kill_before_the_rename_leaves_no_bundle(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "b")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert "there are no values" in message_of(tmp_path / "b")


def test_errors_at_load_name_the_variable(tmp_path):
    main = {"__name__": "__main__"}
    exec("class Foo:\n    pass\nx = [Foo()]", main)
    save({"x": main["x"]}, tmp_path / "b", main=main, by_reference=["Foo"])
    with pytest.raises(MarshalError) as caught:
        load(tmp_path / "b", None, main={})
    assert caught.value.variable == "x"
    assert "Foo" in str(caught.value)


def test_module_that_the_reader_lacks_is_named(tmp_path):
    (tmp_path / "goneaway.py").write_text("class C: pass")
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import goneaway; from kale_nb.marshal import save\n"
        "save({'x': goneaway.C()}, pathlib.Path(sys.argv[1]) / 'b', main={}, by_reference=())"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert "x needs the module goneaway" in message_of(tmp_path / "b")


MEMORY = """
import pathlib, resource, sys
import numpy as np
from kale_nb.marshal import load, save
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verb, where, bundle = sys.argv[1:]
if verb == "save":
    a = np.ones(16_000_000); w = a.reshape(4000, 4000).T
    before = peak()
    save({"a": a, "w": w}, pathlib.Path(bundle), main={}, by_reference=())
else:
    before = peak()
    got = load(pathlib.Path(bundle), None, main={})
    assert got["a"].sum() == 16_000_000 and got["w"].base is got["a"]
print((peak() - before) // 1024)
"""


def test_saving_and_loading_large_arrays_take_no_second_copy(tmp_path):
    pytest.importorskip("numpy")
    used = {}
    for verb in ("save", "load"):
        command = [sys.executable, "-c", MEMORY, verb, str(tmp_path), str(tmp_path / "b")]
        used[verb] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert used["save"] <= 32
    assert used["load"] <= 128 + 40


def test_limit_of_this_process_is_untouched():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
