"""Files of torch.save: containers, tensors, and what is refused before memory is taken."""

import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from torch_writer import SAVE, Module, Ordered, Parameter, Strided, save_legacy, save_zip

from mlstm.errors import InputError
from mlstm.formats import torch_files, torch_writing
from mlstm.formats.pickles import Object

A = np.arange(24, dtype="f4").reshape(4, 6)


def arrays(path, classes=()):
    found = torch_files.named_tensors(torch_files.read(path, classes), "f")
    return {name: tensor.array() for name, tensor in found.items()}


@pytest.mark.parametrize("container", SAVE)
def test_dicts_in_dicts_modules_and_parameters_are_named_as_torch_names_them(container, tmp_path):
    inner = Module.of("torch.nn.modules.linear", "Linear", {"weight": Parameter(A), "bias": None})
    outer = Module.of("models", "Net", {"g": Parameter(A[0], old=True)}, {"top": inner, "no": None})
    saved = {"net": outer, "sd": Ordered(x=Ordered({"a.b": A.T.copy()})), "step": 3, 7: A, "l": [A]}
    SAVE[container](tmp_path / "a.pt", saved)
    assert torch_files.recognises(tmp_path / "a.pt")
    found = arrays(tmp_path / "a.pt", [("models", "Net")])
    assert sorted(found) == ["net.g", "net.top.weight", "sd.x.a.b"]
    np.testing.assert_array_equal(found["net.top.weight"], A)
    np.testing.assert_array_equal(found["net.g"], A[0])
    np.testing.assert_array_equal(found["sd.x.a.b"], A.T)
    assert all(a.flags.c_contiguous and a.flags.writeable for a in found.values())


@pytest.mark.parametrize("container", SAVE)
def test_views_have_their_offset_and_strides(container, tmp_path):
    saved = {
        "transposed": Strided(A, 0, (6, 4), (1, 6)),
        "part": Strided(A, 8, (2, 3), (12, 1)),
        "row": Strided(A, 18, (6,), (1,)),
        "number": Strided(A, 23, (), ()),
        "nothing": Strided(A, 24, (0, 5), (5, 1)),
        "expanded": Strided(A, 2, (3, 2), (0, 1)),
    }
    SAVE[container](tmp_path / "a.pt", saved)
    found = arrays(tmp_path / "a.pt")
    np.testing.assert_array_equal(found["transposed"], A.T)
    np.testing.assert_array_equal(found["part"], A.reshape(-1)[[[8, 9, 10], [20, 21, 22]]])
    np.testing.assert_array_equal(found["row"], A[3])
    assert found["number"] == 23
    assert found["nothing"].shape == (0, 5)
    np.testing.assert_array_equal(found["expanded"], [[2, 3]] * 3)


HUGE = {
    "a stride of 0 and a huge shape": Strided(A, 0, (1 << 20, 1 << 20), (0, 0)),
    "an empty one of a huge shape": Strided(A, 0, (1 << 49, 0, 1 << 49), (0, 0, 0)),
    "beyond the storage": Strided(A, 1, (4, 6), (6, 1)),
    "an offset beyond it": Strided(A, 1 << 40, (1,), (1,)),
    "a negative stride": Strided(A, 23, (24,), (-1,)),
    "a negative shape": Strided(A, 0, (-1, -24), (1, 1)),
    "strides that overflow": Strided(A, 0, (2, 2), ((1 << 49), (1 << 49))),
    "very many axes": Strided(A, 0, (1,) * 65, (1,) * 65),
    "a storage that is longer than the file": Strided(A, 0, (1 << 30,), (1,), count=1 << 30),
    "a storage of 2^60": Strided(A, 0, (1 << 40,), (1,), count=1 << 60),
}


@pytest.mark.parametrize("container", SAVE)
@pytest.mark.parametrize("kind", HUGE)
def test_a_tensor_that_is_not_there_is_refused_before_memory_is_taken(kind, container, tmp_path):
    SAVE[container](tmp_path / "a.pt", {"w": HUGE[kind]})
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.pt|^f") as met:
        arrays(tmp_path / "a.pt")
    assert tracemalloc.get_traced_memory()[1] < 3e6
    tracemalloc.stop()
    assert "\n" not in str(met.value)


@pytest.mark.parametrize("container", SAVE)
def test_one_storage_cannot_be_read_for_ever(container, tmp_path):
    base = np.zeros(200_000, "f4")
    many = {f"w{k}": Strided(base, 0, (200_000,), (1,)) for k in range(100)}
    SAVE[container](tmp_path / "a.pt", many)
    with pytest.raises(InputError, match="hold more than the file could"):
        arrays(tmp_path / "a.pt")


def test_parts_in_one_another_for_ever_are_refused(tmp_path):
    deep = {"w": A}
    for _ in range(40):
        deep = {"d": deep}
    save_zip(tmp_path / "deep.pt", deep)
    # x0 = {}, x1 = {a: x0, b: x0}, ...: written in 40 steps, walked in 2^40
    pickled = b"\x80\x02" + b"}q\x00" + b"".join(
        b"}(" + b"X\x01\x00\x00\x00ah\x00" + b"X\x01\x00\x00\x00bh\x00" + b"uq\x00"
        for _ in range(25)
    ) + b"."  # fmt: skip
    itself = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."
    for name, data in (("twice.pt", pickled), ("itself.pt", itself)):
        save_zip(tmp_path / name, {}, change=lambda e, d=data: e.update({"model/data.pkl": d}))
    for name in ("deep.pt", "twice.pt", "itself.pt"):
        with pytest.raises(InputError, match="more parts in one another"):
            arrays(tmp_path / name)


def test_very_many_names_of_one_part_are_not_kept():
    part = {}
    part |= {str(number): part for number in range(90_000)}
    tracemalloc.start()
    with pytest.raises(InputError, match="f: more parts than a model has"):
        torch_files.named_tensors(part, "f")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_names_that_grow_are_not_kept(tmp_path):
    long = {"w": A}
    for _ in range(3):
        long = {"d" * 600: long}
    save_zip(tmp_path / "a.pt", long)
    with pytest.raises(InputError, match="more parts in one another"):
        arrays(tmp_path / "a.pt")
    save_zip(tmp_path / "a.pt", {"d" * 10_000: A, "w": A})
    assert list(arrays(tmp_path / "a.pt")) == ["w"]


def broken(tmp_path, change, message):
    save_zip(tmp_path / "a.pt", {"w": A}, change=change)
    with pytest.raises(InputError, match=message):
        arrays(tmp_path / "a.pt")


def test_a_damaged_zip_container_is_named(tmp_path):
    broken(tmp_path, lambda e: e.pop("model/data/0"), "data/0 is not in the file")
    broken(tmp_path, lambda e: e.update({"model/data/0": b"abc"}), "has 3 bytes, not the 96")
    broken(tmp_path, lambda e: e.update({"model/byteorder": b"pdp"}), "neither little nor big")
    broken(tmp_path, lambda e: e.pop("model/data.pkl"), r"no data\.pkl")
    save_zip(tmp_path / "a.pt", {"w": A})
    good = (tmp_path / "a.pt").read_bytes()
    place = good.index(A.tobytes())
    (tmp_path / "a.pt").write_bytes(good[:place] + b"\xff" + good[place + 1 :])
    with pytest.raises(InputError, match=r"data/0 is damaged: its check sum"):
        arrays(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(good[:-30])
    with pytest.raises(InputError, match="a damaged zip file"):
        arrays(tmp_path / "a.pt")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02N.")
        archive.writestr("model/data/0", bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(InputError, match="is compressed"):
        torch_files.read(tmp_path / "a.pt")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_directory_larger_than_any_is_not_read(tmp_path):
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHH", 0, 0, 0) + bytes(12)
    entries = entry * 200_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(entries), 4, 0)
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04" + entries + end)
    tracemalloc.start()
    with pytest.raises(InputError, match="a directory of more than"):
        torch_files.read(tmp_path / "a.pt")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_damaged_legacy_container_is_named(tmp_path):
    save_legacy(tmp_path / "a.pt", {"w": A, "v": A[0].copy()})
    good = (tmp_path / "a.pt").read_bytes()
    for data, message in [
        (good[:-1], "cut short"),
        (good[:-30], "cut short"),
        (good.replace(struct.pack("<q", 24), struct.pack("<q", 1 << 40)), "cut short or damaged"),
        (good.replace(struct.pack("<i", 1001), struct.pack("<i", 1002)), "another protocol"),
        (good.replace(b"FloatStorage", b"ShortStorage"), "cut short"),
        (good[:3], "damaged pickle"),
        (good[:40], "damaged pickle|does not end"),
        (b"", "an empty file"),
        (b"hello", "no file of torch.save"),
        (bytes(257) + b"ustar" + bytes(250), "a tar file of torch's first versions"),
    ]:
        (tmp_path / "a.pt").write_bytes(data)
        with pytest.raises(InputError, match=message) as met:
            arrays(tmp_path / "a.pt")
        assert "\n" not in str(met.value)
    with pytest.raises(InputError, match="is not a file"):
        torch_files.read(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        torch_files.read(tmp_path / "none.pt")
    assert not torch_files.recognises(tmp_path)
    assert not torch_files.recognises(tmp_path / "none.pt")


@pytest.mark.parametrize("container", SAVE)
def test_code_in_a_model_is_not_run(container, tmp_path):
    marker = tmp_path / "ran"
    command = f"touch {marker}".encode()
    body = b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(command)) + command + b"\x85R."
    if container == "zip":
        save_zip(tmp_path / "a.pt", {}, change=lambda e: e.update({"model/data.pkl": body}))
    else:
        save_legacy(tmp_path / "a.pt", {})
        good = (tmp_path / "a.pt").read_bytes()
        empty = b"\x80\x02}(u."
        assert empty in good
        (tmp_path / "a.pt").write_bytes(good.replace(empty, body))
    with pytest.raises(InputError, match=r"a\.pt: its pickle asks for os\.system"):
        torch_files.read(tmp_path / "a.pt")
    assert not marker.exists()
    pickle.loads(body)
    assert marker.exists(), "what was planted would have run"


def test_other_classes_are_refused_and_those_of_torch_are_inert(tmp_path):
    inert = Module("torch.nn.modules.rnn", "LSTM", {"mode": "LSTM"})
    save_zip(tmp_path / "a.pt", {"a": inert})
    found = torch_files.read(tmp_path / "a.pt")["a"]
    assert (type(found), found.kind, found.get("mode")) == (
        Object,
        "torch.nn.modules.rnn.LSTM",
        "LSTM",
    )
    for where, name in [
        ("torch.hub", "load"),
        ("torch", "load"),
        ("torch.nn.x", "a.b"),
        ("x", "Y"),
    ]:
        save_zip(tmp_path / "a.pt", {"a": Module(where, name, {})})
        with pytest.raises(InputError, match=f"asks for {where}.{name}"):
            torch_files.read(tmp_path / "a.pt")


def test_what_is_written_is_read_and_the_same_each_time(tmp_path):
    saved = {"a.weight": A, "b": A[0].copy(), "tied": A, "c": np.zeros((0, 3), "f4")}
    torch_writing.write(saved, tmp_path / "a.pt")
    found = arrays(tmp_path / "a.pt")
    assert sorted(found) == sorted(saved)
    for name, array in saved.items():
        np.testing.assert_array_equal(found[name], array)
    first = (tmp_path / "a.pt").read_bytes()
    assert first.index(A.tobytes()) % 64 == 0
    assert first.count(A.tobytes()) == 1
    torch_writing.write(saved, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == first
