import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlstm
import probing
from mlstm.checkpoint import Checkpoints
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.sites import parse_neuron
from probing.evidence.subjects import Direction, check_direction, read_vectors

SENTENCES = ("a very good film", "a very bad film", "good, and long", "bad , and long")


@pytest.fixture(scope="module")
def opinions(tmp_path_factory):
    """A csv of good and bad, each sentence of its own."""
    file = tmp_path_factory.mktemp("opinions") / "opinions.csv"
    lines = ["label,sentence"]
    lines += [f'{int(k % 2 == 0)},"{SENTENCES[k % 4]} {k}"' for k in range(80)]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_card_with_its_controls_is_printed_and_the_claim_is_saved(
    launch, trained_run, opinions, tmp_path
):
    done = launch(
        "study",
        f"--model={trained_run}",
        "--task=sentiment",
        f"--data={opinions}",
        "--draws=39",
        f"--output={tmp_path}",
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    for part in ("null", "surface", "twin", "lead", "necessity", "not tested"):
        assert part in printed
    assert "encodes" not in printed
    saved = json.loads((tmp_path / "study-positive.json").read_text())
    (claim,) = saved["claims"]
    assert claim["chosen"] is True
    assert claim["verdict"] in ("not significant", "explained by a baseline", "correlational only")
    assert f"p = {claim['p']:.4f}" in printed


def partner(model, claim: dict, other, data) -> str:
    """The neuron of the claim in another model, as they are matched over the test documents."""
    neuron = parse_neuron(claim["neuron"])
    texts = [data.documents[i].data for i in data.indices("test")]
    unit, _ = probing.match_neurons(model, other, texts, str(neuron.site)).partner(neuron.unit)
    return f"{neuron.site}[{unit}]"


def study(launch, run, opinions, output, *more):
    """What is printed, and what is saved."""
    flags = (f"--model={run}", "--task=sentiment", f"--data={opinions}", "--draws=39")
    done = launch("study", *flags, f"--output={output}", *more)
    assert done.returncode == 0, done.stderr.decode()
    (path,) = output.glob("study-positive*.json")
    return done.stdout.decode(), json.loads(path.read_text())


def test_checkpoints_make_a_curve_and_the_last_ones_neuron_is_looked_for_in_the_first(
    launch, trained_run, opinions, tmp_path
):
    printed, saved = study(launch, trained_run, opinions, tmp_path, "--every_checkpoint")
    first, last = saved["claims"]
    assert [row["step"] for row in saved["emergence"]] == [1, 2]
    assert [row["neuron"] for row in saved["emergence"]] == [first["neuron"], last["neuron"]]
    assert [row["test"] for row in saved["emergence"]] == [first["test"], last["test"]]
    (match,) = saved["matches"]
    models = [mlstm.load(trained_run, step) for step in (1, 2)]
    data = probing.tasks.sentiment(opinions)
    assert (match["of"], match["model"]) == (models[1].origin, models[0].origin)
    assert (match["neuron"], match["claimed"]) == (last["neuron"], first["neuron"])
    assert match["partner"] == partner(models[1], last, models[0], data)
    assert match["same"] == (match["partner"] == first["neuron"])
    summary = printed[printed.index("of 2 models: ") :].splitlines()
    assert summary[1].startswith(f"  {last['neuron']} of {models[1].origin} matches ")
    assert [line.split()[:3] for line in summary[3:5]] == [
        [str(c["step"]), str(c["model_seed"]), c["neuron"]] for c in (first, last)
    ]


def test_of_a_population_the_first_seeds_neuron_is_looked_for_in_the_others(
    launch, trained_population, opinions, tmp_path
):
    printed, saved = study(launch, trained_population, opinions, tmp_path)
    five, six = saved["claims"]
    assert [c["model_seed"] for c in (five, six)] == [5, 6]
    assert sum(saved["verdicts"].values()) == 2
    assert saved["emergence"] == []
    models = mlstm.load(trained_population)
    (match,) = saved["matches"]
    assert match["of"].endswith("seed 5")
    assert match["model"].endswith("seed 6")
    expected = partner(models[0], five, models[1], probing.tasks.sentiment(opinions))
    assert (match["partner"], match["claimed"]) == (expected, six["neuron"])
    assert printed.count("  null       p = ") == 2
    assert "of 2 models: supported in 0, " in printed
    assert f"  {five['neuron']} of {models[0].origin} matches {expected} (r " in printed


@pytest.mark.slow
def test_of_a_population_each_seed_is_followed_through_its_own_checkpoints(
    launch, trained_population, opinions, tmp_path
):
    run = tmp_path / "run"
    checkpoints = Checkpoints(run / "checkpoints")
    description = json.loads((trained_population / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(description))
    config = language_model.ModelConfig(**description["model"])
    for step in (90, 100):
        models = [language_model.init_parameters(config, jax.random.key(step + k)) for k in (0, 1)]
        parameters = jax.tree.map(lambda *each: jnp.stack(each), *models)
        checkpoints.save(step, {"parameters": parameters, "step": jnp.int32(step)})
    checkpoints.close()
    printed, saved = study(launch, run, opinions, tmp_path, "--every_checkpoint")
    assert [(row["seed"], row["step"]) for row in saved["emergence"]] == [
        (5, 90),
        (5, 100),
        (6, 90),
        (6, 100),
    ]
    found = [(m["of"].split("step ")[1], m["model"].split("step ")[1]) for m in saved["matches"]]
    assert found == [
        ("100, seed 5", "100, seed 6"),
        ("100, seed 5", "90, seed 5"),
        ("100, seed 6", "90, seed 6"),
    ]
    assert "of 4 models: " in printed


def test_a_direction_from_a_file_is_judged(launch, trained_run, opinions, tmp_path):
    vector = np.arange(1, 9, dtype=np.float64)
    np.save(tmp_path / "v.npy", vector)
    printed, saved = study(launch, trained_run, opinions, tmp_path, f"--direction={tmp_path}/v.npy")
    (claim,) = saved["claims"]
    assert (claim["neuron"], claim["tried"]) == ("0.c[direction]", 1)
    assert (tmp_path / "study-positive-v.json").exists()
    assert claim["vector"]["sha256"] == Direction("0.c", vector.astype(np.float32)).digest
    assert f"sha256 {claim['vector']['sha256'][:16]}" in printed
    assert f"p = {claim['p']:.4f}" in printed


def test_the_protocol_of_radford_prints_all_neurons_beside_one(
    launch, trained_run, opinions, tmp_path
):
    done = launch(
        "probe",
        f"--model={trained_run}",
        "--task=sentiment",
        f"--data={opinions}",
        "--protocol=radford",
        f"--output={tmp_path}",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "all neurons, L1" in done.stdout.decode()
    assert json.loads((tmp_path / "radford.json").read_text())["kind"] == "radford"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--task=sentiment"], "--task=sentiment needs labelled data: name it with --data"),
        (["--task=source_code", "--pattern=a=b"], "--pattern says nothing to --task=source_code"),
        (["--task=patterns"], "needs at least one --pattern=NAME=REGEX"),
        (["--neuron=0.c[1]", "--sites=0.h"], "--neuron and --sites exclude each other"),
        (["--task=source_code"], "concepts; name one"),
        (["--direction=none.npy"], "none.npy: cannot be read: No such file or directory"),
        (["--direction=none.npy", "--neuron=0.c[1]"], "--neuron and --direction exclude"),
        (["--direction=none.npy", "--every_checkpoint"], "--every_checkpoint and --direction"),
    ],
)
def test_wrong_flags_get_one_line(launch, trained_run, flags, says):
    done = launch("study", f"--model={trained_run}", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.decode().strip().splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones(7), "shape (7,); 0.c of"),
        (np.zeros(8), "only zeros"),
        (np.full(8, np.inf), "finite numbers"),
        (np.array([{"a": 1}] * 8, object), "not an array of numbers"),
        (np.array(["up"] * 8), "an array of real numbers"),
    ],
)
def test_a_file_that_is_no_direction_gets_one_line(trained_run, tmp_path, array, says):
    path = tmp_path / "v.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(InputError) as refused:
        check_direction(mlstm.load(trained_run), "0.c", read_vectors(path))
    assert says in str(refused.value)


def test_a_population_takes_a_vector_for_each_model(launch, trained_population, tmp_path):
    np.save(tmp_path / "v.npy", np.ones(8))
    done = launch(
        "study",
        f"--model={trained_population}",
        "--task=text_position",
        "--concept=byte in document",
        f"--direction={tmp_path}/v.npy",
    )
    assert done.returncode == 2
    (line,) = done.stderr.decode().strip().splitlines()
    assert "v.npy: an array of shape (8,); 2 models need one vector each, (2, 8)" in line


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no array", b"\x93NUMPY\x01\x00\xff"])
def test_a_damaged_file_is_no_array(tmp_path, content):
    path = tmp_path / "v.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an array of numbers"):
        read_vectors(path)
