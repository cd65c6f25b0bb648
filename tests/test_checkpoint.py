"""Checkpoints: what is saved is what is restored, and what is damaged is never taken for good."""

import contextlib
import errno
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mlstm import checkpoint, checkpoint_files, devices, job
from mlstm.checkpoint import Checkpoints, Unreadable, read_parameters
from mlstm.digests import digests
from mlstm.errors import InputError


def make_state(seed=0):
    key = jax.random.key(seed)
    parameters = {
        "layers": {"0": {"wh": jax.random.normal(key, (8, 4, 8)), "b": jnp.ones((4, 8))}},
        "embedding": jax.random.normal(key, (16, 4)),
    }
    return {
        "parameters": parameters,
        "optimizer": optax.adamw(1e-3).init(parameters),
        "carry": ({"h": jax.random.normal(key, (4, 8))},),
        "key": key,
        "step": jnp.int32(seed),
    }


def abstract(state, place=None):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place or x.sharding), state
    )


def bits(tree):
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        .tobytes()
        for x in jax.tree.leaves(tree)
    ]  # fmt: skip


def saved(folder, steps, **settings):
    checkpoints = Checkpoints(folder, **settings)
    for step in steps:
        assert checkpoints.save(step, make_state(step), metadata={"at": step})
    assert checkpoints.close()
    return folder


def test_the_restored_state_is_the_saved_one_bit_by_bit(tmp_path):
    saved(tmp_path, [3])
    restored = Checkpoints(tmp_path).restore(abstract(make_state()))
    assert restored.step == 3
    assert restored.metadata == {"at": 3}
    assert bits(restored.state) == bits(make_state(3))


def test_an_array_may_be_donated_as_soon_as_save_returns(tmp_path):
    state, want = make_state(3), bits(make_state(3))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state)
    jax.jit(lambda p: jax.tree.map(lambda x: x * 0, p), donate_argnums=0)(state["parameters"])
    checkpoints.close()
    assert bits(Checkpoints(tmp_path).restore(abstract(make_state())).state) == want


def test_a_state_saved_on_one_mesh_is_restored_on_another(tmp_path):
    state = make_state(1)
    one = devices.mesh(2, 4)
    wide = NamedSharding(one, P(None, None, "model"))
    state["parameters"]["layers"]["0"]["wh"] = jax.device_put(
        state["parameters"]["layers"]["0"]["wh"], wide
    )
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    checkpoints.close()
    other = NamedSharding(devices.mesh(4, 1), P())
    restored = Checkpoints(tmp_path).restore(abstract(make_state(), other))
    assert bits(restored.state) == bits(make_state(1))
    assert restored.state["carry"][0]["h"].sharding == other


def test_a_digest_is_the_same_on_every_mesh_and_sees_every_bit():
    x = jax.random.normal(jax.random.key(0), (8, 16))
    want = int(digests(x))
    for shape in ((1, 1), (4, 2), (2, 4)):
        placed = jax.device_put(x, NamedSharding(devices.mesh(*shape), P("data", "model")))
        assert int(digests(placed)) == want
    flat = np.asarray(x).view(np.uint32).copy()
    for element, bit in [(0, 0), (5, 31), (127, 12), (64, 23)]:
        flat.flat[element] ^= np.uint32(1 << bit)
        assert int(digests(jnp.asarray(flat.view(np.float32)))) != want
        flat.flat[element] ^= np.uint32(1 << bit)
    assert int(digests(x[::-1])) != want


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "float16", "int32"])
def test_every_type_has_a_digest_that_changes_with_its_values(dtype):
    x = jnp.arange(6).astype(dtype)
    assert int(digests(x)) != int(digests(x.at[2].set(x[0])))


def test_the_newest_the_best_and_the_log_spaced_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, newest=2, best=1, log_spaced=True)
    for step in range(1, 12):
        checkpoints.save(step, make_state(step), validation=abs(step - 5.0))
    checkpoints.close()
    assert checkpoints.steps() == [1, 2, 4, 5, 8, 10, 11]
    again = Checkpoints(tmp_path, newest=2, best=1, log_spaced=False)
    again.save(12, make_state(12))
    again.close()
    assert again.steps() == [5, 11, 12]


def test_a_validation_that_is_no_number_is_never_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, newest=1, best=1, log_spaced=False)
    for step, validation in ((1, float("nan")), (2, 3.0), (3, float("-inf")), (4, None)):
        assert checkpoints.save(step, make_state(step), validation=validation)
    checkpoints.close()
    assert checkpoints.steps() == [2, 4]
    assert read_parameters(tmp_path, "best")[1] == 2


def test_of_a_step_that_is_saved_already_the_metadata_alone_are_written(tmp_path):
    saved(tmp_path, [3, 4])
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.save(3, make_state(9), metadata={"at": "later"}, validation=1.0)
    assert checkpoints.close()
    assert read_parameters(tmp_path, "best")[1:] == (3, {"at": "later"})
    (tmp_path / "4").rename(tmp_path / "elsewhere")
    restored = Checkpoints(tmp_path).restore(abstract(make_state()))
    assert bits(restored.state) == bits(make_state(3))
    assert restored.metadata == {"at": "later"}


def test_a_score_that_comes_later_decides_at_once_which_is_kept_as_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, newest=1, best=1, log_spaced=False)
    assert checkpoints.save(3, make_state(3), validation=2.0)
    assert checkpoints.save(5, make_state(5))
    assert checkpoints.wait()
    assert checkpoints.steps() == [3, 5]
    assert checkpoints.save(5, make_state(5), validation=1.0)
    assert checkpoints.steps() == [5]
    assert checkpoints.close()


def test_where_only_the_score_cannot_be_written_the_state_is_saved_and_the_former_best_kept(
    tmp_path, monkeypatch, capsys
):
    def fail(path, text):
        raise InputError(f"{path}: cannot be written: No space left on device")

    checkpoints = Checkpoints(tmp_path, newest=1, best=1, log_spaced=False)
    assert checkpoints.save(3, make_state(3), validation=2.0)
    assert checkpoints.save(5, make_state(5))
    assert checkpoints.wait()
    with monkeypatch.context() as full:
        full.setattr(checkpoint_files, "write_whole", fail)
        assert checkpoints.save(5, make_state(5), validation=1.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mlstm: the metadata and the score of checkpoint 5 were NOT saved: ")
    assert checkpoints.steps() == [3, 5]
    damage("truncated", tmp_path / "5" / "metadata" / "metadata")
    assert not checkpoints.save(5, make_state(5), validation=1.0)
    assert checkpoints.close()


def test_no_checkpoint_restores_to_none(tmp_path):
    assert Checkpoints(tmp_path).restore(abstract(make_state())) is None


def damage(kind, path):
    data = bytearray(path.read_bytes())
    if kind == "deleted":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif data:
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)


def test_flipped_bits_that_orbax_does_not_see_are_seen(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    weights = jax.random.normal(jax.random.key(0), (64, 256))
    noise = {"parameters": {"w": weights}, "step": jnp.int32(0)}
    for step in (1, 2):
        assert checkpoints.save(step, noise)
    checkpoints.close()
    (tmp_path / "2" / "files.json").unlink()
    file = max((tmp_path / "2").rglob("d/*"), key=lambda f: f.stat().st_size)
    good = file.read_bytes()
    for position in range(1000, len(good) - 1000, len(good) // 6):
        file.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
        assert Checkpoints(tmp_path).restore(abstract(noise)).step == 1
        (tmp_path / "2.damaged").rename(tmp_path / "2")
    assert "not the bits that were saved" in capsys.readouterr().err


def test_the_list_is_written_when_all_files_are_final_and_before_the_checkpoint_is_there(
    tmp_path, monkeypatch
):
    """So no kill can leave a checkpoint without one; and training does not wait for it."""
    written, goes_on = [], threading.Event()

    def watched(folder):
        assert goes_on.wait(60)
        written.append((folder.name, (tmp_path / "1").exists()))
        write_list(folder)

    write_list = checkpoint_files.write_list
    monkeypatch.setattr(checkpoint_files, "write_list", watched)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.save(1, make_state(1))
    assert checkpoints.steps() == []
    goes_on.set()
    assert checkpoints.close()
    assert written == [("1.orbax-checkpoint-tmp", False)]
    listed = checkpoint_files.read_list(tmp_path / "1")
    checkpoint_files.check_files(tmp_path / "1", listed)
    files = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "1").as_posix() for path in files} - listed.keys() == {
        "files.json", "metadata/metadata", "_CHECKPOINT_METADATA", "commit_success.txt",
    }  # fmt: skip


def test_a_size_on_the_list_is_that_of_the_bytes_that_were_hashed(tmp_path, monkeypatch):
    """Not what a network file system last heard of the name."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "metadata").write_text("{}")
    hashed = checkpoint_files.hashlib.file_digest

    def grows(file, name):
        with (tmp_path / "file").open("ab") as more:
            more.write(b"678")
        return hashed(file, name)

    monkeypatch.setattr(checkpoint_files.hashlib, "file_digest", grows)
    checkpoint_files.write_list(tmp_path)
    monkeypatch.undo()
    listed = checkpoint_files.read_list(tmp_path)
    assert listed["file"][0] == 8
    checkpoint_files.check_files(tmp_path, listed)


def test_where_the_list_cannot_be_written_there_is_no_checkpoint(tmp_path, monkeypatch, capsys):
    def fail(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint_files, "write_list", fail)
        assert checkpoints.save(1, make_state(1))
        assert not checkpoints.wait()
    assert list(tmp_path.iterdir()) == []
    assert "step 1 was NOT saved: OSError: [Errno 28] No space left" in capsys.readouterr().err
    assert checkpoints.save(1, make_state(1))
    assert checkpoints.close()


def test_a_file_that_differs_from_the_list_is_named_before_orbax_reads_any(
    tmp_path, monkeypatch, capsys
):
    folder = saved(tmp_path, [1, 2])
    damage("flipped", folder / "2" / "training" / "_sharding")
    read = checkpoint.ocp.StandardCheckpointHandler.restore

    def watched(self, path, *arguments, **named):
        assert "/2/" not in str(path)
        return read(self, path, *arguments, **named)

    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, "restore", watched)
    assert Checkpoints(folder).restore(abstract(make_state())).step == 1
    assert "damaged (training/_sharding has other bytes than were" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["deleted", "flipped", "truncated"])
def test_without_a_list_that_can_be_believed_the_digests_decide_and_one_line_says_so(
    tmp_path, capsys, kind
):
    folder = saved(tmp_path, [1])
    damage(kind, folder / "1" / "files.json")
    assert bits(Checkpoints(folder).restore(abstract(make_state())).state) == bits(make_state(1))
    read_parameters(folder)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    for line in said:
        assert "files.json" in line
        assert "the digests of its arrays are good" in line


def test_where_all_are_damaged_each_reason_is_given_and_nothing_renamed(tmp_path, capsys):
    folder = saved(tmp_path, [1, 2])
    for step in (1, 2):
        damage("deleted", folder / str(step) / "metadata" / "metadata")
    with pytest.raises(InputError, match=r"every checkpoint is damaged.*\(2: .*; 1: .*\)") as error:
        Checkpoints(folder).restore(abstract(make_state()))
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    assert capsys.readouterr().err == ""
    for step in (1, 2):
        (folder / str(step)).rename(folder / f"{step}.damaged")
    assert checkpoint.begun(folder)
    with pytest.raises(InputError, match=r"1\.damaged; 2\.damaged"):
        Checkpoints(folder).restore(abstract(make_state()))


def wrapped(error):
    try:
        raise RuntimeError("reading failed") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), MemoryError),
        (ValueError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"), Unreadable),
        (ValueError('UNKNOWN: Failed to open: "2/parameters/d": Input/output error'), Unreadable),
        (OSError(errno.EMFILE, "Too many open files"), Unreadable),
        (wrapped(OSError(errno.EIO, "Input/output error")), Unreadable),
    ],
)
def test_trouble_of_the_machine_is_not_called_damage(tmp_path, monkeypatch, error, kind):
    folder = saved(tmp_path, [1, 2])

    def fail(self, path, *_, **__):
        raise error

    checkpoints = Checkpoints(folder)
    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, "restore", fail)
    with pytest.raises(kind):
        checkpoints.restore(abstract(make_state()))
    with pytest.raises(kind):
        read_parameters(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def bad_sector(monkeypatch, folder, *, times=10**9):
    """Nothing under the folder can be opened, so many times."""
    opened, left = pathlib.Path.open, [times]

    def fail(self, *arguments, **named):
        if folder in self.parents and left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error", str(self))
        return opened(self, *arguments, **named)

    monkeypatch.setattr(pathlib.Path, "open", fail)


@pytest.mark.parametrize("part", ["parameters", "metadata"])
def test_a_bad_sector_in_the_newest_falls_back_renames_nothing_and_costs_no_good_checkpoint(
    tmp_path, monkeypatch, capsys, part
):
    folder = saved(tmp_path, [3, 5, 7])
    bad_sector(monkeypatch, folder / "7" / part)
    checkpoints = Checkpoints(folder, newest=1, log_spaced=False)
    restored = checkpoints.restore(abstract(make_state()))
    assert restored.step == 5
    assert bits(restored.state) == bits(make_state(5))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"checkpoint {folder / '7'} is left as it is (" in line
    assert "Input/output error" in line
    assert line.endswith("going on from step 5")
    assert checkpoints.save(6, make_state(6))
    assert checkpoints.wait()
    assert checkpoints.steps() == [6, 7]
    assert checkpoints.save(7, make_state(8))
    assert checkpoints.wait()
    assert "7 could not be read; set aside as 7.damaged, saved anew" in capsys.readouterr().err
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["7", "7.damaged"]
    restored = Checkpoints(folder).restore(abstract(make_state()))
    assert bits(restored.state) == bits(make_state(8))


def test_what_the_disk_gives_when_it_is_asked_again_is_restored(tmp_path, monkeypatch, capsys):
    folder = saved(tmp_path, [1, 2])
    checkpoints = Checkpoints(folder)
    bad_sector(monkeypatch, folder / "2", times=1)
    assert checkpoints.restore(abstract(make_state())).step == 2
    assert checkpoints.save(2, make_state(2), metadata={"at": "later"})
    assert capsys.readouterr().err == ""


def test_damage_that_shows_at_the_second_reading_is_called_damage(tmp_path, monkeypatch, capsys):
    folder = saved(tmp_path, [1, 2])
    damage("flipped", folder / "2" / "training" / "_sharding")
    checkpoints = Checkpoints(folder)
    bad_sector(monkeypatch, folder / "2", times=1)
    assert checkpoints.restore(abstract(make_state())).step == 1
    assert "2 is damaged (training/_sharding" in capsys.readouterr().err


def test_an_unread_checkpoint_that_cannot_be_set_aside_fails_the_save_in_one_line(
    tmp_path, monkeypatch, capsys
):
    def fail(path):
        raise OSError(errno.EBUSY, "Device or resource busy")

    folder = saved(tmp_path, [1, 2])
    bad_sector(monkeypatch, folder / "2")
    monkeypatch.setattr(checkpoint_files, "set_aside", fail)
    checkpoints = Checkpoints(folder)
    assert checkpoints.restore(abstract(make_state())).step == 1
    capsys.readouterr()
    assert not checkpoints.save(2, make_state(2))
    (line,) = capsys.readouterr().err.splitlines()
    assert "step 2 was NOT saved: the one that is there cannot be read, nor set aside" in line
    assert checkpoints.save(3, make_state(3))
    assert checkpoints.close()


def test_where_one_is_damaged_and_one_unread_both_reasons_are_given_and_nothing_renamed(
    tmp_path, monkeypatch
):
    folder = saved(tmp_path, [1, 2])
    damage("deleted", folder / "1" / "metadata" / "metadata")
    bad_sector(monkeypatch, folder / "2" / "parameters")
    with pytest.raises(Unreadable, match=r"damaged or cannot be read.*\(2: .*Input/out.*; 1: "):
        Checkpoints(folder).restore(abstract(make_state()))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    "number", [errno.ENOMEM, errno.EMFILE, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT]
)
def test_other_trouble_of_the_machine_ends_a_restore_at_once(tmp_path, monkeypatch, number):
    folder, tries = saved(tmp_path, [1, 2]), []

    def fail(self, path, *_, **__):
        tries.append(path)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoint.ocp.StandardCheckpointHandler, "restore", fail)
    with pytest.raises(Unreadable, match=os.strerror(number)):
        Checkpoints(folder).restore(abstract(make_state()))
    assert len(tries) == 1


def test_another_model_is_an_error_and_sets_nothing_aside(tmp_path):
    folder = saved(tmp_path, [1])
    other = make_state()
    other["parameters"]["embedding"] = jnp.zeros((16, 5))
    with pytest.raises(InputError, match="parameters/embedding"):
        Checkpoints(folder).restore(abstract(other))
    assert Checkpoints(folder).steps() == [1]


def test_what_a_killed_save_left_is_no_checkpoint_and_is_removed(tmp_path):
    folder = saved(tmp_path, [1])
    (folder / "2.orbax-checkpoint-tmp" / "parameters").mkdir(parents=True)
    (folder / "0.deleting").mkdir()
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == [1]
    assert sorted(p.name for p in folder.iterdir()) == ["1"]
    assert checkpoints.save(2, make_state(2))
    checkpoints.close()
    assert checkpoints.steps() == [1, 2]


def test_what_cannot_be_deleted_is_said_and_the_save_is_good(tmp_path, monkeypatch, capsys):
    def fail(path):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(checkpoint_files, "delete", fail)
    checkpoints = Checkpoints(tmp_path, newest=1, log_spaced=False)
    for step in (1, 2):
        assert checkpoints.save(step, make_state(step))
    assert checkpoints.close()
    assert checkpoints.steps() == [1, 2]
    assert "step 2 is saved, old ones are not deleted: PermissionError" in capsys.readouterr().err


def test_a_process_that_leaves_by_an_error_finishes_its_save_and_asks_no_other(
    tmp_path, monkeypatch
):
    def asked(*_, **__):
        raise AssertionError("the others may be anywhere")

    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.save(1, make_state(1))
    monkeypatch.setattr(job, "count", lambda: 2)
    monkeypatch.setattr(job, "gathered", asked)
    with pytest.raises(ZeroDivisionError), contextlib.closing(checkpoints):
        raise ZeroDivisionError
    assert checkpoints.steps() == [1]


@pytest.mark.parametrize("largest", [256, 20_000])  # nothing at all can be written, or no array
def test_a_full_disk_is_said_and_later_saves_succeed(tmp_path, capsys, largest):
    def large(step):
        weights = jax.random.normal(jax.random.key(step), (256, 256))
        return {"parameters": {"w": weights}, "step": jnp.int32(step)}

    checkpoints = Checkpoints(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert checkpoints.save(1, large(1))
    assert checkpoints.wait()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
        good = checkpoints.save(2, large(2)) and checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not good
    assert "checkpoint of step 2 was NOT saved" in capsys.readouterr().err
    assert checkpoints.steps() == [1]
    assert checkpoints.save(3, large(3))
    assert checkpoints.close()
    assert bits(Checkpoints(tmp_path).restore(abstract(large(0))).state) == bits(large(3))


def test_parameters_are_read_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path, newest=9)
    for step, validation in ((1, 3.0), (2, 1.0), (3, 2.0)):
        checkpoints.save(step, make_state(step), metadata={"n": step}, validation=validation)
    checkpoints.close()
    for asked, step in ((None, 3), ("best", 2), (1, 1)):
        parameters, found, metadata = read_parameters(tmp_path, asked)
        assert (found, metadata) == (step, {"n": step})
        assert bits(parameters) == bits(make_state(step)["parameters"])


def test_reading_parameters_passes_over_a_damaged_checkpoint_and_renames_nothing(tmp_path, capsys):
    folder = saved(tmp_path, [1, 2])
    for path in (folder / "2" / "parameters").rglob("manifest.ocdbt"):
        damage("truncated", path)
    assert read_parameters(folder)[1] == 1
    assert "2 is damaged" in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]
    with pytest.raises(InputError, match="no checkpoint that can be read"):
        read_parameters(folder, 2)


def test_a_step_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match="no checkpoint here yet"):
        read_parameters(tmp_path)
    saved(tmp_path, [1, 2])
    with pytest.raises(InputError, match="no checkpoint of step 7; there are 1, 2"):
        read_parameters(tmp_path, 7)


def test_an_unknown_format_version_is_named(tmp_path):
    folder = saved(tmp_path, [1])
    path = folder / "1" / "metadata" / "metadata"
    body = json.loads(path.read_text())["body"] | {"format_version": 99}
    path.write_text(json.dumps(checkpoint_files.seal(body)))
    with pytest.raises(InputError, match="format_version 99; this version reads 1"):
        Checkpoints(folder).restore(abstract(make_state()))


def test_reading_needs_neither_optax_nor_tensorboard():
    code = "import sys, mlstm.checkpoint; sys.exit(bool({'optax', 'tensorboard'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
