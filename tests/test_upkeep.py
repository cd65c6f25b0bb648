"""What is said of a run's checkpoints, and what is mended."""

import errno
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm import checkpoint_files, upkeep
from mlstm.checkpoint import Checkpoints, read_parameters
from mlstm.errors import InputError
from mlstm.training import workdir as workdirs


def make_state(seed):
    key = jax.random.key(seed)
    return {
        "parameters": {"layers": {"0": {"wmx": jax.random.normal(key, (32, 32))}}},
        "optimizer": (jnp.int32(seed), {"m": jax.random.normal(key, (32, 32))}, None),
        "key": key,
    }


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of steps 1, 2 and 3, of which 2 is the best."""
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "model": {}}))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step, score in ((1, 3.0), (2, 1.0), (3, 2.0)):
        assert checkpoints.save(step, make_state(step), validation=score)
    assert checkpoints.close()
    return tmp_path


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_arrays(item):
    """So that an array is another one, and nothing but its digest says so."""
    for path in item.glob("**/d/*"):
        if path.stat().st_size > 2000:
            flip(path)


def repair(run, **named):
    return upkeep.repair(run, workdirs.locked(run), **named)


def bad_sector(monkeypatch, folder):
    """Nothing under the folder can be opened."""
    opened = pathlib.Path.open

    def fail(self, *arguments, **named):
        if folder in self.parents:
            raise OSError(errno.EIO, "Input/output error", str(self))
        return opened(self, *arguments, **named)

    monkeypatch.setattr(pathlib.Path, "open", fail)


def states(run):
    return {entry.name: entry.state for entry in upkeep.listing(run).entries}


def test_a_listing_names_the_best_and_whatever_is_not_as_it_should_be(run):
    folder = run / "checkpoints"
    (folder / "1" / "files.json").unlink()
    (folder / "3" / "parameters" / "manifest.ocdbt").unlink()
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    (folder / "2.damaged").mkdir()
    listing = upkeep.listing(run)
    assert states(run) == {
        "1": "no list",
        "2": "listed",
        "3": "damaged: parameters/manifest.ocdbt is not there",
        "2.damaged": "set aside",
        "4.orbax-checkpoint-tmp": "unfinished",
    }
    assert [entry.name for entry in listing.entries if entry.best] == ["2"]
    assert [entry.validation for entry in listing.entries[:3]] == [3.0, 1.0, 2.0]
    assert listing.entries[1].bytes > 4096
    assert "(best)" in str(listing).splitlines()[3]


def test_verify_finds_what_a_listing_cannot_see(run):
    flip(run / "checkpoints" / "2" / "training" / "_METADATA")
    (run / "checkpoints" / "3" / "files.json").unlink()
    read = []
    one, two, three = upkeep.verify(run, progress=lambda *work: read.append(work))
    assert (one.fault, one.doubt) == (None, None)
    assert two.fault == "training/_METADATA has other bytes than were written"
    assert three.fault is None
    assert "no list" in three.doubt
    assert [done for done, _ in read] == sorted(done for done, _ in read)
    assert read[-1][0] <= read[-1][1]
    assert [verdict.step for verdict in upkeep.verify(run, 3)] == [3]
    with pytest.raises(InputError, match="no checkpoint of step 9; there are 1, 2, 3"):
        list(upkeep.verify(run, 9))


def test_verify_sees_an_array_of_the_training_state_that_is_not_what_was_saved(run):
    checkpoint = run / "checkpoints" / "2"
    flip_arrays(checkpoint / "training")
    checkpoint_files.write_list(checkpoint)
    assert [bool(v.fault) for v in upkeep.verify(run)] == [False, True, False]


@pytest.mark.parametrize(("step", "found"), [("best", 2), (3, 3)])
def test_an_export_is_read_without_pickle_and_has_the_bits_of_the_parameters(
    run, tmp_path, step, found
):
    assert upkeep.export(run, step, tmp_path / "model.npz") == found
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert set(file) == {"layers/0/wmx", "config"}
        assert json.loads(str(file["config"])) == {"format_version": 1, "model": {}}
        want = make_state(found)["parameters"]["layers"]["0"]["wmx"]
        assert file["layers/0/wmx"].tobytes() == np.asarray(want).tobytes()
    assert not list(tmp_path.glob(".*part"))


def test_repair_puts_every_kind_of_disorder_in_order_and_a_dry_run_changes_nothing(run):
    folder = run / "checkpoints"
    flip_arrays(folder / "1" / "parameters")
    (folder / "2" / "files.json").unlink()
    (folder / "3").rename(folder / "3.damaged")
    flip(folder / "3.damaged" / "files.json")
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    before = sorted(str(path) for path in folder.rglob("*"))
    planned = list(repair(run, dry_run=True))
    assert sorted(str(path) for path in folder.rglob("*")) == before
    done = list(repair(run))
    assert [line.replace("would be ", "") for line in planned] == done
    assert [line.partition(" (")[0] for line in done] == [
        "4.orbax-checkpoint-tmp: removed, it is unfinished",
        "1: set aside as 1.damaged",
        "2: given a new list of files, its arrays are good",
        "3.damaged: brought back as 3, its arrays are good",
        "3: given a new list of files, its arrays are good",
    ]
    assert states(run) == {"2": "listed", "3": "listed", "1.damaged": "set aside"}
    assert [str(verdict) for verdict in upkeep.verify(run)] == ["2: good", "3: good"]
    assert read_parameters(folder)[1] == 3
    again = list(repair(run))
    assert len(again) == 1
    assert again[0].startswith("1.damaged: stays aside (")


def test_repair_gives_good_arrays_a_new_list_where_a_file_that_holds_none_has_changed(run):
    flip(run / "checkpoints" / "2" / "parameters" / "commit_success.txt")
    (line,) = repair(run)
    assert line.startswith("2: given a new list of files, its arrays are good (parameters/commit_")
    assert not list(repair(run))


def test_what_is_set_aside_and_good_is_not_brought_back_over_a_good_one(run):
    folder = run / "checkpoints"
    (folder / "2").rename(folder / "3.damaged")
    (line,) = repair(run)
    assert line.startswith("3.damaged: stays aside, its arrays are good")


def test_repair_is_refused_while_the_run_goes_on(run):
    (run / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()
    with (
        workdirs.locked(run),
        pytest.raises(InputError, match="another process is training in it"),
    ):
        list(repair(run))
    assert (run / "checkpoints" / "4.orbax-checkpoint-tmp").exists()


def test_what_is_no_run_is_refused_and_a_run_without_checkpoints_is_not(tmp_path):
    for act in (upkeep.listing, lambda path: list(repair(path))):
        with pytest.raises(InputError, match="not a run"):
            act(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "config.json").write_text('{"format_version": 1}')
    assert "no checkpoint here yet" in str(upkeep.listing(tmp_path))
    assert list(repair(tmp_path)) == []


def test_what_cannot_be_read_now_is_named_and_the_others_are_read(run, monkeypatch):
    folder = run / "checkpoints"
    shutil.copytree(folder / "2", folder / "2.damaged")
    flip_arrays(folder / "3" / "parameters")
    bad_sector(monkeypatch, folder / "2")
    one, two, three = upkeep.verify(run)
    assert str(one) == "1: good"
    assert str(two).startswith("2: UNREADABLE (")
    assert "Input/output error" in str(two)
    assert str(three).startswith("3: DAMAGED (")
    assert states(run)["2"].startswith("unreadable: ")
    two, three, aside = repair(run)
    assert two.startswith("2: stays as it is, unreadable (")
    assert three.startswith("3: set aside as 3.damaged (")
    assert aside == "2.damaged: stays aside, its arrays are good, and 2 cannot be read now"
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2", "2.damaged", "3.damaged"]


@pytest.mark.parametrize("number", [errno.ENOTEMPTY, errno.EBUSY])
def test_what_cannot_be_removed_is_said_in_one_line_and_repair_goes_on(run, monkeypatch, number):
    def fail(path):
        raise OSError(number, "it is in use")

    folder = run / "checkpoints"
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    (folder / "3").rename(folder / "3.damaged")
    monkeypatch.setattr(upkeep.shutil, "rmtree", fail)
    assert list(repair(run)) == [
        "4.orbax-checkpoint-tmp: could NOT be removed, it is unfinished: "
        f"OSError: [Errno {number}] it is in use",
        "3.damaged: brought back as 3, its arrays are good",
    ]


def test_where_nothing_can_be_renamed_each_is_said_and_left(run, monkeypatch):
    def fail(self, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    folder = run / "checkpoints"
    flip_arrays(folder / "1" / "parameters")
    (folder / "2").rename(folder / "1.damaged")
    (folder / "3").rename(folder / "3.damaged")
    (folder / "3.damaged" / "files.json").unlink()
    monkeypatch.setattr(pathlib.Path, "rename", fail)
    one, kept, three = repair(run)
    assert one.startswith("1: could NOT be set aside as 1.damaged2 (")
    assert kept == "1.damaged: stays aside, its arrays are good, and 1 is in its place"
    assert three.startswith("3.damaged: could NOT be brought back as 3")
    assert three.endswith("PermissionError: [Errno 1] Operation not permitted")


@pytest.mark.parametrize("field", ["format_version", "step", "validation", "leaves", "content"])
@pytest.mark.parametrize("wrong", ["missing", "of another type"])
def test_metadata_with_a_good_seal_and_not_all_fields_are_damaged(run, field, wrong):
    path = run / "checkpoints" / "2" / "metadata" / "metadata"
    body = checkpoint_files.read_metadata(path.parents[1])
    del body[field]
    if wrong != "missing" and field != "format_version":
        body[field] = "?"
    path.write_text(json.dumps(checkpoint_files.seal(body)))
    assert states(run)["2"].startswith("damaged: metadata/metadata: ")
    assert field in states(run)["2"]
    assert [bool(v.fault) for v in upkeep.verify(run)] == [False, True, False]


def test_a_list_with_a_good_seal_and_other_entries_is_no_list(run):
    path = run / "checkpoints" / "2" / "files.json"
    for entries in ({"a": 1}, {"a": [1]}, {"a": ["1", "2"]}, []):
        path.write_text(json.dumps(checkpoint_files.seal({"format_version": 1, "files": entries})))
        assert states(run)["2"] == "no list"


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_checkpoints_that_are_no_folder_are_named(tmp_path, kind):
    (tmp_path / "config.json").write_text('{"format_version": 1}')
    if kind == "a file":
        (tmp_path / "checkpoints").write_text("")
    else:
        (tmp_path / "checkpoints").symlink_to(tmp_path / "nowhere")
    acts = [upkeep.listing, lambda run: list(repair(run)), lambda run: list(upkeep.verify(run))]
    for act in acts:
        with pytest.raises(InputError, match="checkpoints: it is no folder"):
            act(tmp_path)
