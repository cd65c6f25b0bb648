"""Every shipped recipe trains, validates and samples in its tiny form on a text of its own kind,
and is in the table of docs/recipes.md. Where a source tells its number of parameters, ours has as
many."""

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import jax
import pytest

from launch import recipes, shipped
from mlstm import corpus
from mlstm.corpus.vocabulary import amino_acids
from mlstm.training import config as configs
from mlstm.training import loop

NAMES = [name for name in shipped.names() if name not in ("base", "quickstart", "shakespeare")]
DOCS = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"

WORDS = ("the", "good", "bad", "very", "film", "book", "was", "a", "lovely", "dull", "story", "it")


def sentences(count: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    lines = (" ".join(draw.choices(WORDS, k=draw.randint(4, 12))) for _ in range(count))
    return "".join(f"{line.capitalize()}.\n" for line in lines)


def proteins(count: int) -> str:
    draw = random.Random(0)
    return "".join(
        "M" + "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=30)) + "\n" for _ in range(count)
    )


def source_of(name: str, folder: Path) -> Path:
    """A text, or a corpus, of the recipe's kind."""
    if name == "unirep":
        (folder / "text").write_text(proteins(200))
        corpus.prepare_texts(folder / "text", folder / "corpus", vocabulary=amino_acids())
        return folder / "corpus"
    if name == "char_rnn_linux":
        (folder / "text").write_text("static int f(void)\n{\n\treturn (1 + 2); /* so */\n}\n" * 200)
    elif name.startswith("krause"):
        text = sentences(150)
        (folder / "text").write_text(text if name.endswith("8") else f"<page>{text}</page>")
    elif "amazon" in name or "nvidia" in name:
        lines = sentences(150).splitlines()
        (folder / "text").write_text("".join(f"\n {line} " for line in lines))
    else:
        (folder / "text").write_text(sentences(150))
    return folder / "text"


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """Recipes that come to the same program share it: most of a tiny run is compiling."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_as_tiny(name, tmp_path, compiled_once):
    given: Any = shipped.load(f"{name}:tiny")
    given.data.source = str(source_of(name, tmp_path))
    config = configs.from_config_dict(given)
    assert config.model.hidden <= 16
    result = loop.run(config, tmp_path / "run")
    assert result.ended == "finished"
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    losses = [line["bits_per_byte"] for line in logged if "bits_per_byte" in line]
    assert losses
    assert all(0 < loss < 20 for loss in losses)
    assert list((tmp_path / "run" / "samples").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_whose_it_is_and_has_the_size_where_one_is_published(name):
    recipe = recipes.read(name)
    assert recipe is not None
    assert recipe.source
    assert recipe.published
    assert recipe.needs
    if recipe.published_parameters:
        close = 0 if recipe.published_parameters % 10**6 else 0.015  # a round figure
        assert abs(recipe.parameters / recipe.published_parameters - 1) <= close


def test_a_recipe_reads_what_its_config_reads():
    """Where a config says its steps, READS is what these come to."""
    for name in NAMES:
        config: Any = shipped.load(name)
        recipe = recipes.read(name)
        if config.train.steps:
            assert recipe
            assert recipe.reads == config.train.steps * config.data.batch * config.data.window


def test_the_table_of_the_docs_has_what_is_computed():
    lines = DOCS.read_text().splitlines()
    for line in recipes.HEADER.splitlines():
        assert line in lines
    for recipe in recipes.all_recipes():
        assert recipe.row() in lines, f"python -m launch.recipes --markdown: {recipe.name}"


def test_no_figure_of_the_docs_is_still_to_be_filled_in():
    assert "OURS_" not in DOCS.read_text()


@pytest.mark.parametrize(
    ("name", "reported"), [("char_rnn_linux", (2.23, 2.29)), ("char_rnn_shakespeare", (2.55, 2.68))]
)
def test_bits_that_were_derived_come_from_what_was_reported(name, reported):
    """Both powers of two of nats."""
    recipe = recipes.read(name)
    assert recipe is not None
    for power in reported:
        assert f"{power}" in recipe.published
        assert f"{math.log2(power) / math.log(2):.2f}" in recipe.published


def test_the_cost_is_six_for_each_weight_and_symbol():
    told = {"SOURCE": "s", "PUBLISHED": "p", "NEEDS": "n", "READS": 100, "VOCABULARY": 7}
    config: Any = shipped.load("quickstart")
    with config.unlocked():
        config.model.vocabulary = 0
    config.model.cell, config.model.hidden, config.model.embedding = "rnn", 3, 2
    config.model.weight_norm = False
    recipe = recipes.made("x", told, config)
    weights = 2 * 3 + 3 * 3 + 3 * 7
    assert recipe.flops == 6 * weights * 100
    assert recipe.parameters == weights + 7 * 2 + 3 + 7
    assert dataclasses.replace(recipe, flops=2.9e14 * 7200).hours(recipes.GPU) == "2 hours"
