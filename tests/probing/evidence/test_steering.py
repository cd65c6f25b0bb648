import dataclasses
import json

import jax
import numpy as np
import pytest

import probing
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model, many_samples
from mlstm.model.config import ModelConfig
from mlstm.model.sampling import Choice
from mlstm.trained import Model
from probing.evidence.effects.units import output_weight, units
from probing.evidence.intervals import jackknife_mean
from probing.evidence.steering import steer
from probing.evidence.steering.beginnings import prompts_of
from probing.evidence.steering.fluency import bits_of, distinct
from probing.evidence.steering.levers import doses, levers
from probing.evidence.steering.slopes import interval, slopes, standing
from probing.evidence.subjects import OneNeuron, check_direction
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

HIDDEN, USED, UNREAD = 32, 3, 8
SETTINGS = {"prompts": 6, "prompt_bytes": 8, "samples": 2, "length": 24, "controls": 20}


def labelled(data: bytes) -> Labels:
    """The class: the byte q. The number: 1 at one, else 0."""
    on = np.frombuffer(data, np.uint8)[:, None] == ord("q")
    return every_byte(on, on.astype(np.float32))


@pytest.fixture(scope="module")
def data() -> LabelledData:
    draw = np.random.default_rng(0)
    documents = []
    for k in range(20):
        text = bytes(draw.choice(list(b"abcq (\n"), 100).tolist())
        documents.append(LabelledDocument(f"document {k}", text, stored(labelled(text))))
    return LabelledData(
        "letters", "drawn", "byte", ("q",), ("qs",), tuple(documents), judge=labelled
    )


@pytest.fixture(scope="module")
def model() -> Model:
    """Unit 3 of h raises the logit of q; nothing reads unit 8, which is otherwise like it."""
    config = ModelConfig(cell="lstm", embedding=8, hidden=HIDDEN, weight_norm=False)
    parameters = jax.tree.map(np.array, language_model.init_parameters(config, jax.random.key(3)))
    layer = parameters["layers"]["0"]
    layer["wx"] *= 2
    for name in ("wx", "wh", "b"):
        layer[name][..., UNREAD] = layer[name][..., USED]
    layer["wh"][[USED, UNREAD]] = 0
    parameters["readout"]["w"][[USED, UNREAD]] = 0
    parameters["readout"]["w"][USED, ord("q")] = 12
    return Model(config, parameters, Bytes(), origin="by hand")


@pytest.fixture(scope="module")
def used(model, data):
    return steer(model, f"0.h[{USED}]", data, "q", **SETTINGS)


def test_a_unit_that_the_output_reads_drives_what_is_written(used):
    scores = [dose.level.score.value for dose in used.doses]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.02
    assert used.slope.lower > 0
    assert (len(used.slopes), used.percentile, used.p) == (20, 100, 1 / 21)
    assert used.check().held
    assert used.judge["kind"] == "labelling function"


def test_a_unit_that_nothing_reads_does_nothing(model, data, used):
    found = steer(model, f"0.h[{UNREAD}]", data, "q", **SETTINGS)
    assert found.deviation == pytest.approx(used.deviation, rel=1e-4)
    assert {dose.level.score.value for dose in found.doses} == {found.unedited.score.value}
    assert (found.slope.value, found.p) == (0, 1)
    assert not found.check().held
    assert {dose.level.bits.value for dose in found.doses} == {found.unedited.bits.value}


def test_the_same_seed_writes_the_same_and_another_something_else(model, data, used):
    again = steer(model, f"0.h[{USED}]", data, "q", **SETTINGS)
    assert again.to_json() == used.to_json()
    other = steer(model, f"0.h[{USED}]", data, "q", **SETTINGS, seed=1)
    assert other.examples != used.examples


def test_other_doses_do_not_compile_again(model, data, used):
    before = many_samples._make._cache_size(), many_samples._read._cache_size()
    found = steer(
        model, f"0.h[{UNREAD}]", data, "q", **SETTINGS, quantiles=(0.1, 0.2, 0.3, 0.6, 0.9)
    )
    assert [dose.quantile for dose in found.doses] == [0.1, 0.2, 0.3, 0.6, 0.9]
    assert (many_samples._make._cache_size(), many_samples._read._cache_size()) == before


def test_doses_are_quantiles_of_train_text_and_controls_stand_at_the_same_z(model, data, used):
    x, *_ = probing.arrays(model, data, "0.h", "train", "q")
    own = x[:, USED].astype(float)
    expected = np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95))
    np.testing.assert_allclose([dose.value for dose in used.doses], expected, rtol=1e-5)
    np.testing.assert_allclose(
        [dose.z for dose in used.doses],
        [(dose.value - own.mean()) / own.std() for dose in used.doses],
        rtol=1e-4,
    )
    known = units(model, data, "0.h")
    moved, _ = levers(OneNeuron("0.h", USED), known, 5, 0)
    edits = moved.edits(np.array([-1.0, 2.0]), "set")["0.h"][0]
    assert edits["add"].shape == (1 + 6 * 2, HIDDEN)
    np.testing.assert_array_equal(edits["keep"][0], 1)
    np.testing.assert_array_equal(edits["add"][0], 0)
    for n, name in enumerate(moved.names):
        unit = OneNeuron.parse(name).unit
        of_unit = x[:, unit].astype(float)
        for d, z in enumerate((-1.0, 2.0)):
            at = 1 + 2 * n + d
            assert edits["keep"][at, unit] == 0
            assert np.count_nonzero(edits["add"][at]) == 1
            expected = of_unit.mean() + z * of_unit.std()
            assert float(edits["add"][at, unit]) == pytest.approx(expected, abs=1e-4)


def test_controls_are_the_nearest_in_variance_and_output_weight(model, data):
    known = units(model, data, "0.h")
    moved, _ = levers(OneNeuron("0.h", 0), known, 4, 0)
    chosen = [OneNeuron.parse(name).unit for name in moved.names[1:]]
    assert 0 not in chosen
    floor = 1e-4 * np.median(known.weight)
    figures = np.log(np.stack([known.deviation**2, np.maximum(known.weight, floor)], 1))
    others = np.delete(np.arange(HIDDEN), 0)
    distance = np.linalg.norm((figures[others] - figures[0]) / figures[others].std(0), axis=1)
    assert chosen == others[np.argsort(distance)[:4]].tolist()
    assert set(moved.balance) == {"log variance", "log output weight"}


def test_the_output_weight_is_that_of_all_that_reads_a_unit(model):
    weight = output_weight(model, "0.h")
    wh = model.parameters["layers"]["0"]["wh"].reshape(HIDDEN, -1)
    both = np.concatenate([wh, model.parameters["readout"]["w"]], 1)
    np.testing.assert_allclose(weight, np.linalg.norm(both, axis=1), rtol=1e-5)
    assert weight[UNREAD] == 0
    np.testing.assert_array_equal(output_weight(model, "0.c"), weight)


def test_a_direction_of_one_unit_is_that_unit(model, data, used):
    vector = np.zeros(HIDDEN)
    vector[USED] = 2.5
    found = steer(model, "0.h", data, "q", direction=vector, how="set", **SETTINGS)
    assert found.subject == "0.h[direction]"
    assert found.controls[0].startswith("random direction")
    for ours, theirs in zip(found.doses, used.doses, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-4)
        assert ours.level.score.value == pytest.approx(theirs.level.score.value, abs=0.01)
    added = steer(model, "0.h", data, "q", direction=vector, **SETTINGS | {"controls": 0})
    assert (added.how, added.slopes) == ("add", ())
    assert added.slope.lower > 0


def test_adding_to_a_unit_that_is_not_carried_moves_it_by_the_dose(model, data):
    known = units(model, data, "0.h")
    moved, _ = levers(OneNeuron("0.h", USED), known, 0, 0)
    (stage,) = moved.edits(np.array([-0.5, 1.0]), "add")["0.h"]
    np.testing.assert_array_equal(stage["keep"], 1)
    expected = np.array([0, -0.5, 1.0]) * moved.deviation[0]
    np.testing.assert_allclose(stage["add"][:, USED], expected, rtol=1e-5)


def test_it_is_edited_while_it_is_told_to(model, data, used):
    few = SETTINGS | {"controls": 0}
    reading = steer(model, f"0.h[{USED}]", data, "q", **few, phase="prompt")
    both = steer(model, f"0.h[{USED}]", data, "q", **few, phase="both")
    assert used.phase == "generation"
    assert abs(reading.slope.value) < both.slope.value / 2
    assert "while the prompt is read" in str(reading)


def test_a_number_is_steered_by_its_mean_and_the_sign_can_be_expected(model, data, used):
    up = steer(model, f"0.h[{USED}]", data, "qs", **SETTINGS, expected=1)
    down = steer(model, f"0.h[{USED}]", data, "qs", **SETTINGS, expected=-1)
    assert up.slope.value == pytest.approx(used.slope.value, rel=1e-4)
    assert (up.p, up.check().held) == (1 / 21, True)
    assert (down.p, down.check().held) == (1, False)


def test_given_prompts_are_gone_on_from(model, data):
    few = {"samples": 1, "length": 8, "controls": 0}
    found = steer(model, f"0.h[{USED}]", data, "q", prompts=[b"abc", b"a (b"], **few)
    assert (found.prompts, found.prompt_source) == (2, "given")
    assert {example["prompt"] for example in found.examples} == {"abc", "a (b"}


def test_a_result_is_shown_and_saved(used, tmp_path):
    text = str(used)
    for part in ("unedited", "95%", "percentile 100.0 of 20", "p = 0.0476", "matched", "bits per"):
        assert part in text
    used.save(tmp_path / "steering.json")
    saved = json.loads((tmp_path / "steering.json").read_text())
    assert (saved["format_version"], saved["kind"]) == (1, "steering")
    assert saved["slope"]["value"] == used.slope.value
    assert len(saved["doses"][0]["controls"]) == len(saved["controls"]) == 20
    doses_shown = [example["dose"] for example in saved["examples"]][::2]
    assert doses_shown == [None, 0.05, 0.25, 0.5, 0.75, 0.95]


def test_how_well_a_classifier_tells_test_documents_stands_beside_it(model, data):
    learned = dataclasses.replace(data, judge=None)
    few = SETTINGS | {"controls": 0, "samples": 1}
    found = steer(model, f"0.h[{USED}]", learned, "q", **few)
    assert found.judge["kind"] == "classifier"
    assert found.judge["tested"]["balanced accuracy"] == 1
    assert "on test documents: balanced accuracy 1.000, majority" in str(found)
    assert "AUC 1.000 [1.000, 1.000]" in str(found)
    assert found.slope.lower > 0


def test_slopes_are_lines_through_the_scores_of_each_prompt():
    z = np.array([-1.0, 0.5, 2.0])
    scores = np.zeros((2, 3, 4, 2)) + 3 * z[:, None, None] + np.arange(4)[:, None]
    scores[1] *= -1
    scores[0, 0, 1, 0] = np.nan  # the line goes through the others
    scores[0, 1:, 2] = np.nan  # one dose makes no line
    found = slopes(scores, z)
    np.testing.assert_allclose(found[0, [0, 1, 3]], 3)
    assert np.isnan(found[0, 2])
    np.testing.assert_allclose(found[1], -3)


def test_the_interval_leaves_documents_out():
    values, groups = np.array([1.0, 2, 4, np.nan]), np.array([5, 5, 9, 9])
    expected = jackknife_mean(values[:3], groups[:3])
    found = interval(values, groups)
    assert (found.value, found.lower, found.upper) == (
        expected.value,
        expected.lower,
        expected.upper,
    )
    assert np.isnan(interval(values[3:], groups[3:]).value)


def test_a_slope_stands_among_those_of_controls():
    others = np.array([-3.0, -1.0, 0.0, 1.0])
    assert standing(2.0, others, 0) == (75, 2 / 5)
    assert standing(2.0, others, 1) == (100, 1 / 5)
    assert standing(2.0, others, -1) == (0, 1)
    assert standing(float("nan"), others, 1)[1] == 1


def test_prompts_are_beginnings_of_test_documents(data):
    tests = {data.documents[i].data for i in data.indices("test")}
    found, groups, source = prompts_of(data, 3, 20, seed=0)
    assert len(set(found)) == len(set(groups.tolist())) == 3
    assert all(any(text.startswith(prompt) for text in tests) for prompt in found)
    assert source == "the first 20 bytes of 3 test documents"
    more, groups, source = prompts_of(data, len(tests) + 2, 20, seed=0)
    assert sorted({len(prompt) for prompt in more}) == [20, 40]
    assert len(set(groups.tolist())) == len(tests)
    assert prompts_of(data, 3, 20, seed=0)[0] == found
    assert prompts_of(data, 3, 20, seed=5)[0] != found
    assert {len(prompt) for prompt in prompts_of(data, 2, None, seed=0)[0]} == {25}


def test_what_a_text_costs_is_what_the_forward_pass_says(model):
    prompts = [np.array([97, 98]), np.array([99] * 70)]
    written = np.array([[97, 98, 99], [113, 40, 97]])
    found = bits_of(model, prompts, written)
    for k, prompt in enumerate(prompts):
        ids = np.concatenate([prompt, written[k]]).astype(np.int32)[:, None]
        state = language_model.initial_state(model.config, 1)
        out = language_model.forward(model.config, model.parameters, ids, state)
        logits = np.asarray(language_model.logits(model.parameters, out.hidden), np.float64)[:, 0]
        shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nats = -shares[np.arange(len(ids) - 1), ids[1:, 0]][len(prompt) - 1 :]
        assert found[k] == pytest.approx(nats.sum() / np.log(2), rel=1e-4)


def test_text_that_repeats_has_few_different_n_grams():
    assert distinct(b"abababab") == 2 / 5
    assert distinct(b"abcdefg") == 1
    assert np.isnan(distinct(b"abc"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"neuron": "0.h[99]"}, "no unit 99"),
        ({"neuron": "7.h[0]"}, "no site"),
        ({"concept": None}, "name one"),
        ({"concept": "x"}, "no concept"),
        ({"quantiles": [0.5]}, "two quantiles or more"),
        ({"quantiles": []}, "doses are none"),
        ({"quantiles": [0.1, 1.5]}, "from 0 to 1"),
        ({"quantiles": [0.1, float("nan")]}, "from 0 to 1"),
        ({"quantiles": [0.5, 0.5]}, "one value"),
        ({"prompts": []}, "no prompt"),
        ({"prompts": [b"a", b""]}, "a prompt is empty"),
        ({"prompts": 0}, "0 prompts"),
        ({"prompt_bytes": 5000}, "longer than 5000"),
        ({"samples": 0}, "samples is 0"),
        ({"length": 0}, "length is 0"),
        ({"controls": -1}, "controls is -1"),
        ({"phase": "never"}, "phase"),
        ({"how": "pull"}, "how"),
        ({"expected": 2}, "expected"),
        ({"choice": Choice(-1.0)}, "temperature"),
        ({"neuron": "0.h", "direction": np.zeros(HIDDEN)}, "only zeros"),
    ],
)
def test_what_cannot_be_steered_is_one_line(model, data, changes, said):
    settings = {"neuron": f"0.h[{USED}]", "concept": "q", **SETTINGS, **changes}
    with pytest.raises(InputError, match=said) as raised:
        steer(model, data=data, **settings)
    assert "\n" not in str(raised.value)


def test_a_unit_that_never_varies_has_no_doses(model, data):
    parameters = jax.tree.map(np.array, model.parameters)
    for name in ("wx", "wh", "b"):
        parameters["layers"]["0"][name][..., 5] = 0
    still = dataclasses.replace(model, parameters=parameters)
    with pytest.raises(InputError, match="does not vary"):
        steer(still, "0.h[5]", data, "q", **SETTINGS)
    known = units(still, data, "0.h")
    moved, _ = levers(OneNeuron("0.h", USED), known, HIDDEN, 0)
    assert "0.h[5]" not in moved.names
    assert len(moved.names) == HIDDEN - 1


def test_random_directions_stand_beside_a_direction(model, data):
    known = units(model, data, "0.h")
    direction = check_direction(model, "0.h", np.arange(HIDDEN))
    moved, values = levers(direction, known, 10, 0)
    np.testing.assert_allclose(np.linalg.norm(moved.vectors, axis=1), 1)
    assert len(moved.names) == 11
    np.testing.assert_allclose(values.std(), moved.deviation[0])
    again, _ = levers(direction, known, 10, 0)
    np.testing.assert_array_equal(moved.vectors, again.vectors)
    value, z = doses(values, (0.25, 0.75))
    np.testing.assert_allclose(values.mean() + z * values.std(), value)
