"""The published experiments that are configs: their sources, figures and costs.

python -m launch.recipes                 # a table for people
python -m launch.recipes --markdown      # the one in docs/recipes.md
"""

from __future__ import annotations

import dataclasses
import runpy
from dataclasses import dataclass
from typing import Any

from absl import flags

from launch import program, shipped
from mlstm.errors import InputError

_MARKDOWN = flags.DEFINE_bool("markdown", False, "As the table of docs/recipes.md.")

GPU, CORES = 2.9e14, 1e11
"""FLOP/s of which hours are told: one H100 in bfloat16 as docs/scaling.md predicts it for 4096
units, smaller models having less of it, and two cores in float32."""


@dataclass(frozen=True)
class Recipe:
    """A published experiment. `flops` are those of its whole training, as papers count: six for
    each weight and symbol."""

    name: str
    source: str
    published: str
    needs: str
    parameters: int
    published_parameters: int | None
    reads: int
    flops: float

    def hours(self, rate: float) -> str:
        seconds = self.flops / rate
        for unit, size in (("years", 365 * 86400), ("days", 86400), ("hours", 3600)):
            if seconds >= 2 * size:
                count = seconds / size
                return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.2g} {unit}"
        return f"{max(1, round(seconds / 60))} min"

    def row(self) -> str:
        """Of a table in Markdown."""
        cells = (
            f"`{self.name}`", self.source, self.published, f"{self.parameters:,}",
            f"{self.reads:.3g}", f"{self.flops:.2g}", self.hours(GPU), self.hours(CORES),
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"

    def __str__(self) -> str:
        told = self.published_parameters
        published = f" (published: {told:,})" if told else ""
        return (
            f"{self.name}\n  {self.source}\n  published: {self.published}\n  needs: {self.needs}\n"
            f"  {self.parameters:,} parameters{published}, {self.reads:,} symbols read, "
            f"{self.flops:.2g} FLOP: {self.hours(GPU)} of an H100, {self.hours(CORES)} of two cores"
        )


HEADER = (
    "| recipe | source | published | parameters | symbols read | FLOP | one H100 | two cores |\n"
    "|---|---|---|---|---|---|---|---|"
)


def all_recipes() -> list[Recipe]:
    """Those of the shipped configs that say what they repeat."""
    found = (read(name) for name in shipped.names())
    return [recipe for recipe in found if recipe]


def read(name: str) -> Recipe | None:
    """The recipe that a shipped config is; None where it is no published experiment."""
    path = str(shipped.FOLDER / f"{name}.py")
    told = runpy.run_path(path)
    if "SOURCE" not in told:
        return None
    return made(name, told, shipped.load(path))


def made(name: str, told: dict[str, Any], config: Any) -> Recipe:
    """From the constants of a config file and what it configures."""
    from mlstm.model import language_model
    from mlstm.model.config import ModelConfig

    model = ModelConfig(**config.model)
    if not model.vocabulary:
        if "VOCABULARY" not in told:
            raise InputError(
                f"{name}: its text says how many symbols there are, so VOCABULARY does"
            )
        model = dataclasses.replace(model, vocabulary=told["VOCABULARY"])
    return Recipe(
        name,
        told["SOURCE"],
        told["PUBLISHED"],
        told["NEEDS"],
        language_model.parameter_count(model.check()),
        told.get("PARAMETERS"),
        told["READS"],
        float(language_model.flops_per_byte(model)) * told["READS"],
    )


def main(_) -> None:
    recipes = all_recipes()
    if _MARKDOWN.value:
        print("\n".join([HEADER, *(recipe.row() for recipe in recipes)]))
    else:
        print("\n\n".join(map(str, recipes)))


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
