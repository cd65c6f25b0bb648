"""A config says what is wrong with it: the field, what it holds, what it may hold."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from configs import base, quickstart, radford_amazon, shakespeare
from mlstm.errors import InputError
from mlstm.training import config as configs
from mlstm.training.config import Config, from_config_dict, to_dict


def good(**changes):
    config = base.get_config()
    config.data.source = "text.txt"
    config.train.steps = 10
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        with config.ignore_type():
            (config[section] if section else config)[field] = value
    return config


def test_a_config_dict_becomes_frozen_dataclasses_and_back():
    config = from_config_dict(good(model__hidden=512))
    assert config.model.hidden == 512
    assert from_config_dict(to_dict(config)) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # pyright: ignore


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__hidden": 8.5}, "config.model.hidden is 8.5: it has to be a whole number"),
        ({"model__hidden": True}, "config.model.hidden is True: it has to be a whole number"),
        ({"data__batch": 0}, "config.data.batch is 0: it has to be at least 1"),
        ({"optimizer__learning_rate": 0.0}, "it has to be more than 0"),
        ({"optimizer__learning_rate": float("nan")}, "it has to be more than 0"),
        ({"optimizer__b1": 1.0}, "config.optimizer.b1 is 1.0: it has to be less than 1"),
        ({"optimizer__b2": 1.0}, "it has to be less than 1"),
        ({"optimizer__momentum": 1.0}, "it has to be less than 1"),
        ({"optimizer__final_fraction": 1.5}, "it has to be at most 1"),
        ({"optimizer__warmup": 11}, "warmup=11 is longer than the run of 10 steps"),
        ({"optimizer__clip_norm": float("inf")}, "it has to be finite"),
        ({"optimizer__name": "admw"}, "did you mean 'adamw'"),
        ({"optimizer__schedule": "step"}, "'constant', 'linear', 'cosine'"),
        ({"data__source": "None"}, 'is the text "None"'),
        ({"data__source": ""}, "config.data.source is empty"),
        ({"data__splits": "a,b"}, "write three shares"),
        ({"train__epochs": 2.0}, "give steps or epochs"),
        ({"train__patience": 2}, "config.train.validate_every is 0"),
        ({"model__cell": "gru2"}, "gru2"),
        ({"mesh__data": 3}, "config.mesh.data=3 does not divide config.data.batch=32: 1, 2, 4"),
        ({"seeds": 0}, "config.seeds is 0: it has to be at least 1"),
        ({"seeds": 8, "mesh__data": 3}, "config.mesh.data=3 does not divide config.seeds=8: 1, 2"),
        ({"seeds": 3, "seed": 2**31 - 2}, "seed may be at most 2147483645"),
        ({"mesh__model": 3}, "config.mesh.model=3 does not divide config.model.hidden=256"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_may_be(changes, message):
    with pytest.raises(InputError) as error:
        from_config_dict(good(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_misspelt_field_is_answered_with_the_one_that_was_meant():
    config = to_dict(from_config_dict(good()))
    config["optimizer"]["learnin_rate"] = 0.1
    with pytest.raises(
        InputError, match=r"config\.optimizer has no field 'learnin_rate'; did you me"
    ):
        from_config_dict(config)


def test_a_whole_number_is_a_good_number():
    rate = from_config_dict(good(optimizer__learning_rate=1)).optimizer.learning_rate
    assert isinstance(rate, float)


def test_differences_name_the_fields_with_both_values():
    old, new = to_dict(Config()), to_dict(Config(seed=3))
    assert configs.differences(old, new) == {"seed": (0, 3)}


def test_a_field_that_an_older_run_lacks_had_its_default():
    old = to_dict(Config())
    del old["seeds"], old["model"]["keep"]
    assert configs.differences(old, to_dict(Config())) == {}
    assert configs.differences(old, to_dict(Config(seeds=2))) == {"seeds": (1, 2)}


def test_what_a_resumed_run_may_change_is_said_at_the_field():
    assert configs.may_change("train.steps")
    assert configs.may_change("mesh.data")
    assert configs.may_change("data.source")
    assert configs.may_change("model.keep")
    assert not configs.may_change("optimizer.learning_rate")
    assert not configs.may_change("model.hidden")
    assert not configs.may_change("no.such")
    assert not configs.may_change("seeds")


def test_a_population_has_the_batch_whole_on_each_device():
    config = from_config_dict(good(seeds=3, seed=2**31 - 3, mesh__data=3))
    assert config.members == range(2**31 - 3, 2**31)


@pytest.mark.parametrize("module", [quickstart, shakespeare, radford_amazon])
@pytest.mark.parametrize("argument", [None, "tiny"])
def test_every_shipped_config_is_good(module, argument):
    config = module.get_config(argument)
    assert isinstance(config, ConfigDict)
    if not config.data.source:
        config.data.source = "given"
    assert from_config_dict(config).model.hidden <= (16 if argument else 4096)


def test_another_variant_than_tiny_is_refused():
    with pytest.raises(ValueError, match="no variant 'big'"):
        quickstart.get_config("big")
