"""OpenAI's folder of fifteen arrays: read as its own program reads it, and written back."""

import numpy as np
import pytest
from mutations import survives
from ours import logits_of

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.formats import arrays, openai
from mlstm.formats.found import Found
from mlstm.model import language_model
from mlstm.model.config import ModelConfig

E, H = 5, 6
SHAPES = [
    (256, E), (E, 4 * H), (H, H), (H, H), (H, H), (H, H), (E, H), (H, H), (4 * H,), (4 * H,),
    (4 * H,), (H,), (H,), (H, 256), (256,),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(3)
    (tmp_path / "model").mkdir()
    for number, shape in enumerate(SHAPES):
        np.save(tmp_path / "model" / f"{number}.npy", draw.normal(size=shape).astype(np.float32))
    return tmp_path / "model"


def as_published(folder, ids_TB):
    """Logits and cell states in the original's own layout, in float64."""
    a = [np.load(folder / f"{k}.npy").astype(np.float64) for k in range(15)]
    a[2] = np.concatenate(a[2:6], axis=1)
    embd, wx, wh, wmx, wmh, b, gx, gh, gmx, gmh, w, b_out = a[0], a[1], a[2], *a[6:15]

    def normalised(v, g):
        return v / np.sqrt((v**2).sum(0)) * g

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    wx, wh = normalised(wx, gx), normalised(wh, gh)
    wmx, wmh = normalised(wmx, gmx), normalised(wmh, gmh)
    c = h = np.zeros((ids_TB.shape[1], wmh.shape[0]))
    logits, cells = [], []
    for ids in ids_TB:
        x = embd[ids]
        m = (x @ wmx) * (h @ wmh)
        i, f, o, u = np.split(x @ wx + m @ wh + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        h = sigmoid(o) * np.tanh(c)
        logits.append(h @ w + b_out)
        cells.append(c)
    return np.stack(logits), np.stack(cells)


def test_the_logits_are_those_of_the_published_equations(folder):
    found = openai.read(folder)
    ids = np.random.default_rng(0).integers(0, 256, (20, 3)).astype(np.int32)
    wanted, _ = as_published(folder, ids)
    np.testing.assert_allclose(logits_of(found, ids), wanted, rtol=1e-5, atol=1e-5)
    assert found.cleaning == "openai"
    assert isinstance(found.vocabulary, Bytes)


def test_what_is_written_is_read_bit_for_bit(folder, tmp_path):
    openai.write(openai.read(folder), tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == sorted(openai.NAMES)
    for name in openai.NAMES:
        wanted, written = np.load(folder / name), np.load(tmp_path / "again" / name)
        assert written.dtype == np.float32
        assert written.tobytes() == wanted.tobytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_folder_that_is_there_is_not_written_over(folder):
    with pytest.raises(InputError, match="is there already"):
        openai.write(openai.read(folder), folder)


@pytest.mark.parametrize(
    "change", [{"cell": "lstm"}, {"layers": 2}, {"weight_norm": False}, {"vocabulary": 26}]
)
def test_a_model_that_the_format_has_no_place_for_is_not_written(tmp_path, change):
    config = ModelConfig(embedding=E, hidden=H, **change)
    with pytest.raises(InputError, match=f"no place for {next(iter(change))}"):
        openai.write(Found(config, {}, Bytes()), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_missing_files_says_which(folder):
    assert openai.recognises(folder)
    for name in ("3.npy", "13.npy"):
        (folder / name).unlink()
    assert openai.recognises(folder)
    with pytest.raises(InputError, match=r"model: no 3\.npy, 13\.npy; the model is the fifteen"):
        openai.read(folder)


def test_arrays_that_do_not_fit_together_are_named(folder):
    np.save(folder / "9.npy", np.ones(4 * H + 1, np.float32))
    with pytest.raises(InputError, match=r"9\.npy has the shape \(25,\).* it has to be \(24,\)"):
        openai.read(folder)


def test_the_published_model_has_as_many_parameters_as_its_files():
    assert language_model.parameter_count(ModelConfig(embedding=64, hidden=4096)) == 86_319_360


def test_the_published_arrays_are_what_they_are_known_to_be(mlstm_data):
    pieces = mlstm_data / "openai_pieces"
    a = {k: arrays.read_npy(pieces / f"{k}.npy") for k in (0, 6, 8, 9, 10, 11, 12, 14)}
    assert {k: array.shape for k, array in a.items()} == {
        0: (256, 64), 6: (64, 4096), 8: (16384,), 9: (16384,), 10: (16384,), 11: (4096,),
        12: (4096,), 14: (256,),
    }  # fmt: skip
    norms = {0: 80.22944, 6: 151.62167, 8: 35.39280, 9: 109.69030, 10: 225.44647, 11: 119.57704,
             12: 119.57704, 14: 37.23528}  # fmt: skip
    for k, norm in norms.items():
        assert a[k].dtype == np.float32
        assert np.linalg.norm(a[k].astype(np.float64)) == pytest.approx(norm, rel=1e-6)
    # The product of m makes the gradients of its two gains equal.
    np.testing.assert_allclose(a[11], a[12], rtol=0, atol=1e-5)
    assert a[14].argmax() == ord(" ")
    b, gh = a[8].reshape(4, 4096), a[10].reshape(4, 4096)
    np.testing.assert_allclose(b[:, 2388], [-1.40093, 1.22852, -0.34981, 0.08324], atol=1e-5)
    np.testing.assert_allclose(gh[:, 2388], [1.38750, 1.71148, 1.01423, 1.30250], atol=1e-5)


def test_of_the_published_pieces_those_that_are_not_there_are_named(mlstm_data):
    assert openai.recognises(mlstm_data / "openai_pieces")
    with pytest.raises(InputError, match=r"no 1\.npy, 2\.npy, 3\.npy, 4\.npy, 5\.npy, 7\.npy, 13"):
        openai.read(mlstm_data / "openai_pieces")


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(folder, count):
    refused, _ = survives(openai.read, folder, count)
    assert refused > count / 4
