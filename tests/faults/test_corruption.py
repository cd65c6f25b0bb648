"""Every file of the newest checkpoint flipped, truncated and deleted: never a wrong state."""

import shutil
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm import checkpoint_files
from mlstm.checkpoint import Checkpoints


def make_state(seed):
    key = jax.random.key(seed)
    return {
        "parameters": {"w": jax.random.normal(key, (64, 64)), "b": jnp.ones(64)},
        "optimizer": (jnp.int32(seed), {"w": jax.random.normal(key, (64, 64)) ** 2}),
        "key": key,
    }


def bits(state):
    return [
        np.asarray(jax.random.key_data(x) if x.dtype == state["key"].dtype else x).tobytes()
        for x in jax.tree.leaves(state)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with steps 1 and 2, and the bits that each of them holds."""
    folder = tmp_path_factory.mktemp("whole")
    checkpoints = Checkpoints(folder)
    for step in (1, 2):
        assert checkpoints.save(step, make_state(step))
    assert checkpoints.close()
    return folder, {step: bits(make_state(step)) for step in (1, 2)}


def flipped(data, place, places):
    """One bit flipped, at one of some places spread over the bytes."""
    position = (2 * place + 1) * len(data) // (2 * places)
    changed = bytearray(data)
    changed[position] ^= 1 << (place % 8)
    return bytes(changed)


def damages(data, places):
    """What is done to a file's bytes, by its name; None deletes it."""
    yield "deleted", None
    yield "truncated", data[: len(data) // 2]
    if data:
        yield from ((f"flipped {n}", flipped(data, n, places)) for n in range(places))


def tried(whole, folder, places, capsys):
    """Damage each file in each way: how often a restore ended how."""
    source, want = whole
    shutil.copytree(source, folder, dirs_exist_ok=True)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), make_state(0)
    )
    files = sorted(path for path in (folder / "2").rglob("*") if path.is_file())
    assert len(files) > 20
    ends = Counter()
    for path in files:
        data = path.read_bytes()
        for what, damaged in damages(data, places):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            restored = Checkpoints(folder).restore(abstract)
            assert restored is not None, (what, path)
            said = capsys.readouterr().err
            ends["tries"] += 1
            if bits(restored.state) != want[restored.step]:
                ends["wrong"] += 1
            elif restored.step == 2:
                ends["restored bitwise"] += 1
            else:
                assert "2 is damaged (" in said, (what, path)
                name = path.relative_to(folder / "2").as_posix()
                ends["named and fell back"] += 1
                ends["the file is named"] += name in said
                (folder / "2.damaged").rename(folder / "2")
            path.write_bytes(data)
    return ends


def report(ends, record_property, capsys):
    for name, count in ends.items():
        record_property(name, count)
    with capsys.disabled():
        print(f"\ncorruption: {', '.join(f'{count} {name}' for name, count in ends.items())}")


@pytest.mark.parametrize("places", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_whatever_happens_to_a_file_the_state_is_right_and_the_file_is_named(
    whole, tmp_path, capsys, record_property, places
):
    ends = tried(whole, tmp_path, places, capsys)
    report(ends, record_property, capsys)
    assert ends["wrong"] == 0
    assert ends["the file is named"] == ends["named and fell back"]
    # Two files of Orbax that nobody reads, and the list itself: without it the digests decide.
    assert ends["restored bitwise"] == 3 * (places + 2)
    assert ends["tries"] == ends["named and fell back"] + ends["restored bitwise"]


@pytest.mark.parametrize("places", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_without_a_list_of_files_the_digests_see_every_wrong_state(
    whole, tmp_path, capsys, record_property, places
):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    for step in ("1", "2"):
        (tmp_path / step / checkpoint_files.LIST).unlink()
    ends = tried((tmp_path, whole[1]), tmp_path / "again", places, capsys)
    report(ends, record_property, capsys)
    assert ends["wrong"] == 0
    assert ends["named and fell back"] > 10
    assert ends["tries"] == ends["named and fell back"] + ends["restored bitwise"]
