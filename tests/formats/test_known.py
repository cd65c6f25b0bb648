"""All formats together: each is recognised as itself, and a user finds it in the documentation."""

import errno
import inspect
import os
import re
from pathlib import Path

import pytest

from mlstm.corpus.cleaning import RECIPES
from mlstm.errors import InputError
from mlstm.formats import known
from mlstm.formats.found import Found
from mlstm.loading import load_one

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def test_every_module_is_a_format():
    names = [module.NAME for module in known.modules()]
    assert len(set(names)) == len(names)
    for module in known.modules():
        assert module.__name__.endswith(f".{module.NAME}")
        first, *options = inspect.signature(module.read, eval_str=True).parameters.values()
        assert first.annotation is Path
        assert all(option.annotation in (str, float, int) for option in options)
        assert inspect.signature(module.read, eval_str=True).return_annotation is Found


def test_every_format_has_its_section_and_its_arrays_in_the_documentation():
    page = " ".join(PAGE.read_text().split())
    for module in known.modules():
        assert f"## `{module.NAME}`" in page
        for line in re.findall(r"^    (.*)$", str(module.__doc__), re.MULTILINE):
            assert " ".join(line.split()) in page, f"{module.NAME}: {line}"


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\0" * 600, b"PK\x03\x04" + b"\0" * 40, b"\x80\x02}q\x00.", b"\x89HDF\r\n\x1a\n",
     b"\x93NUMPY\x01\x00v\x00{", b"CDF\x01", b"{}", b"1,2\n", bytes(range(256)) * 20],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", ".pt", ".npy", ".npz", ".h5", ".safetensors", ".pkl"])
def test_a_file_that_is_nothing_gets_one_line(tmp_path, data, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_one(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_folders_that_are_nothing_get_one_line(tmp_path):
    for name in ("empty", "texts", "config"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "config" / "config.json").write_text('{"architectures": []}')
    for folder in tmp_path.iterdir():
        with pytest.raises(InputError) as caught:
            load_one(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.pt", "folder"])
def test_what_may_not_be_read_gets_one_line(tmp_path, monkeypatch, name):
    """As of a user without the permission, which the user of a test may always have."""
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_bytes(b"x")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("os.scandir", refuse)
    wanted = re.escape(f"{path}: cannot be read (Permission denied)")
    with pytest.raises(InputError, match=wanted):
        load_one(path)
    with pytest.raises(InputError, match=wanted):
        known.locate(path)


def test_an_unknown_path_lists_what_can_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError) as caught:
        load_one(tmp_path / "a.txt")
    for module in known.modules():
        assert module.NAME in str(caught.value)


def test_options_are_of_the_format_and_of_its_types(tmp_path):
    nvidia, tensorflow = known.named("nvidia"), known.named("tensorflow")
    with pytest.raises(InputError, match="nvidia has no option 'forget_bias'; it has gates"):
        known.read(nvidia, tmp_path, {"forget_bias": "1"})
    with pytest.raises(InputError, match="forget_bias=much: it is a number"):
        known.read(tensorflow, tmp_path, {"forget_bias": "much"})
    with pytest.raises(InputError, match="openai has no option 'gates', nor any other"):
        known.read(known.named("openai"), tmp_path, {"gates": "ifog"})


def test_formats_that_are_not_there_or_are_not_written_are_named():
    with pytest.raises(InputError, match="no format 'runes'; there are safetensors, openai"):
        known.named("runes")
    with pytest.raises(InputError, match="no format 'unirep'; there are safetensors, openai"):
        known.named("unirep", writes=True)
    assert known.named("char_rnn", writes=True).NAME == "char_rnn"


def test_programs_name_every_cleaning():
    from launch.naming import CLEANINGS

    assert set(RECIPES) <= set(CLEANINGS)
