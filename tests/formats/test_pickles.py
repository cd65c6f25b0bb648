"""Pickles are read without running what is in them."""

import collections
import pickle
import time
import tracemalloc

import numpy as np
import pytest

from mlstm.errors import InputError
from mlstm.formats.pickles import Object, numpy_globals, python_globals, restricted, stand_in

SHORT = b"\x8c"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def planted(marker) -> dict[str, bytes]:
    """Pickles that make the file `marker` when they are read by pickle.loads."""
    command = text(f"touch {marker}")
    code = text(f"open({str(marker)!r}, 'w').close()")
    return {
        "REDUCE of os.system": b"\x80\x02cos\nsystem\n" + command + b"\x85R.",
        "REDUCE of posix.system by STACK_GLOBAL": b"\x80\x04"
        + text("posix")
        + text("system")
        + b"\x93"
        + command
        + b"\x85R.",
        "INST": b"(S" + repr(f"touch {marker}").encode() + b"\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + command + b"o.",
        "NEWOBJ of a class with effects": b"\x80\x02csubprocess\nPopen\n("
        + b"]("
        + text("touch")
        + text(str(marker))
        + b"e"
        + b"t\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n]("
        + text("touch")
        + text(str(marker))
        + b"e"
        + b"\x85}\x92.",
        "eval": b"\x80\x02cbuiltins\neval\n" + text(f"open({str(marker)!r}, 'w')") + b"\x85R.",
        "exec of Python 2": b"c__builtin__\nexec\n" + code + b"\x85R.",
        "getattr, to reach what is not named": b"\x80\x02cbuiltins\ngetattr\ncos\npath\n"
        + text("os")
        + b"\x86R.",
        "importlib": b"\x80\x02cimportlib\nimport_module\n" + text("os") + b"\x85R.",
        "a name with dots": b"\x80\x04"
        + text("collections")
        + text("OrderedDict.__init__")
        + b"\x93.",
        "runpy behind a good part": pickle.dumps({"a": 1}, 2)[:-1]
        + b"0crunpy\nrun_path\n"
        + text(str(marker))
        + b"\x85R.",
    }


@pytest.mark.parametrize("kind", planted("x"))
def test_what_a_pickle_would_run_is_refused_and_not_run(kind, tmp_path):
    marker = tmp_path / "ran"
    data = planted(marker)[kind]
    with pytest.raises(InputError, match=r"^f\.pkl: .*(no part of this format|no model's)") as met:
        restricted(data, {**numpy_globals(), ("a", "Thing"): stand_in("a.Thing")}, "f.pkl")
    assert "\n" not in str(met.value)
    assert not marker.exists()


def test_the_planted_pickles_do_run_what_they_hold(tmp_path):
    for kind in ("REDUCE of os.system", "REDUCE of posix.system by STACK_GLOBAL", "INST", "OBJ"):
        marker = tmp_path / kind
        pickle.loads(
            planted(f"'{marker}'" if kind != "INST" else str(marker).replace(" ", "\\ "))[kind]
        )
        assert marker.exists(), kind


class Thing:
    """Pickled in the tests, never unpickled."""

    def __init__(self):
        self.__dict__["__class__"] = "another"
        self.weight = 3


def test_an_object_is_read_as_what_was_in_it():
    for protocol in range(2, 6):
        data = pickle.dumps([Thing()], protocol)
        (found,) = restricted(data, {(__name__, "Thing"): stand_in("Thing")}, "f")
        assert type(found) is Object
        assert (found.kind, found.get("weight"), found.get("no such")) == ("Thing", 3, None)
        with pytest.raises(InputError, match=r"asks for .*Thing"):
            restricted(data, {}, "f")


def test_what_is_given_is_not_changed_by_a_state():
    def made():
        return []

    states = (b"}" + text("__defaults__") + b"Ns", b"N}" + text("__code__") + b"Ns\x86")
    for state in states:
        for start in (b"ca\nmade\n", b"ca\nmade\n)R", b"]", b"K\x01"):
            with pytest.raises(InputError):
                restricted(b"\x80\x02" + start + state + b"b.", {("a", "made"): made}, "f")
    assert made.__defaults__ is None


def test_what_was_not_given_is_not_called():
    for data in (b"K\x01)R.", b"\x80\x02]" + b")R.", text("print") + b")R.", b"ca\nb\n)R)R."):
        with pytest.raises(InputError, match="calls what is no part"):
            restricted(data, {("a", "b"): lambda: print}, "f")


def test_python_and_numpy_values_come_back():
    values = {
        "a": [1, -5, 2**70, 1.5, None, True, (), (1,), (1, 2, 3, 4), "ü", b"\xff\x00"],
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "ordered": collections.OrderedDict(x=1, y=2),
    }
    for protocol in range(6):
        found = restricted(pickle.dumps(values, protocol), numpy_globals(), "f")
        assert found == values
        assert list(found["ordered"]) == ["x", "y"]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpy_arrays_come_back(protocol):
    arrays = [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
        np.zeros((0, 5)),
        np.float64(2.5),
        np.array(["a", "bc"]),
    ]
    objects = np.empty(3, object)
    objects[:] = [np.ones(3, "f4"), "x", np.arange(4)]
    found, again, same = restricted(
        pickle.dumps([arrays, objects, arrays[0]], protocol), numpy_globals(), "f"
    )
    for was, now in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(was, now)
        assert was.dtype == now.dtype
    assert same is found[0]
    np.testing.assert_array_equal(again[0], objects[0])
    assert again[1] == "x"


def test_an_array_that_is_not_there_is_refused_before_memory_is_taken():
    good = pickle.dumps(np.zeros((3, 5), "f4"), 2)
    at = good.index(b"K\x03K\x05\x86")
    huge = good[:at] + b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + good[at + 5 :]
    tracemalloc.start()
    with pytest.raises(InputError, match="an array of"):
        restricted(huge, numpy_globals(), "f")
    kind = b"cnumpy\ndtype\n" + text("S0") + b"\x85R"
    with pytest.raises(InputError, match="a type S0"):
        restricted(b"\x80\x02" + kind + b".", numpy_globals(), "f")
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


BOMBS = {
    "a memo far away": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a string of two gigabytes": b"\x80\x02X\xff\xff\xff\x7fa.",
    "bytes of 2^62": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"a.",
    "a bytearray of 2^40": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"a.",
    "a frame of 2^60": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",
    "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7fa.",
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "never ending": b"\x80\x02" + b"N0" * 1_000_000,
    "very many sets": b"\x80\x04" + b"\x8f" * 10_000_000 + b".",
    "no end": b"\x80\x02]",
    "nothing": b"",
    "the stack runs out": b"\x80\x02R.",
    "a mark alone": b"(.",
    "no mark": b"\x80\x02Nt.",
    "an extension": b"\x80\x02\x82\x01.",
    "a buffer outside": b"\x80\x05\x97.",
    "a persistent id": b"\x80\x02NQ.",
    "an unknown protocol": b"\x80\x7fN.",
    "a name of many lines": b"\x80\x04" + text("a\nb") + text("c" * 10_000) + b"\x93.",
    "a key that is deep": b"}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "encoding one text for ever": b"\x80\x02c_codecs\nencode\nq\x00"
    + text("a" * 1_000_000)
    + b"q\x010"
    + b"h\x00h\x01\x85R0" * 40_000
    + b"N.",
    "memos that collide": b"\x80\x02N" + b"".join(
        b"p%d\n" % (k * (2**61 - 1)) for k in range(1, 50_000)
    ) + b".",
    "a call of very many arguments for ever": b"\x80\x02cbuiltins\nset\nq\x00(" + b"N" * 100_000
    + b"tq\x010" + b"h\x00h\x01R0" * 15_000 + b"N.",
    "sets of one list for ever": b"\x80\x02cbuiltins\nset\nq\x00](" + b"N" * 100_000 + b"eq\x010"
    + b"h\x00h\x01\x85R0" * 15_000 + b"N.",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_pickle_that_is_damaged_or_a_bomb_gets_one_line(kind):
    start = time.monotonic()
    tracemalloc.start()
    if kind == "a memo far away":
        assert restricted(BOMBS[kind], {}, "f") is None
    else:
        with pytest.raises(InputError, match=r"^f: ") as met:
            restricted(BOMBS[kind], numpy_globals(), "f")
        assert "\n" not in str(met.value)
        assert len(str(met.value)) < 250
    assert tracemalloc.get_traced_memory()[1] < 4 * len(BOMBS[kind]) + 60_000_000
    tracemalloc.stop()
    assert time.monotonic() - start < 60, "a hang"


def test_deep_nesting_and_doubling_do_no_harm():
    deep = restricted(b"\x80\x02" + b"]" * 90_000 + b"a" * 89_999 + b".", {}, "f")
    assert len(deep) == 1
    doubled = restricted(b"\x80\x02N\x85" + b"q\x00h\x00\x86" * 60 + b".", {}, "f")
    assert len(doubled) == 2


def test_persistent_ids_go_to_the_caller():
    def persistent(found):
        raise KeyError(f"storage {found}")

    assert restricted(b"\x80\x02K\x05Q.", {}, "f", lambda found: found + 1) == 6
    assert restricted(b"P12\n.", {}, "f", lambda found: found) == "12"
    with pytest.raises(InputError, match="f: persistent id in its pickle: 'storage 7'"):
        restricted(b"\x80\x02K\x07Q.", python_globals(), "f", persistent)


def test_damaged_bytes_give_a_value_or_one_line():
    data = pickle.dumps([Thing(), np.arange(20.0), {"a": [1, 2, (3, "x")]}, b"y" * 30], 2)
    allowed = {**numpy_globals(), (__name__, "Thing"): stand_in("Thing")}
    random = np.random.default_rng(0)
    refused, lines = 0, set()
    for _ in range(5000):
        damaged = bytearray(data)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(data))] = random.integers(256)
        try:
            restricted(bytes(damaged[: random.integers(1, len(data) + 200)]), allowed, "f")
        except InputError as error:
            lines.add(str(error).count("\n"))
            refused += 1
    assert lines == {0}
    assert 1000 < refused < 5000
