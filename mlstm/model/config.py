"""The shape of a model and how it is computed: one dataclass, checked by field.

It is hashable: give it as a static argument to `jax.jit`.
"""

import dataclasses
from typing import Any

from mlstm.errors import InputError
from mlstm.model.cells import CELLS
from mlstm.model.initialisation import RECIPES
from mlstm.model.layouts import LAYOUTS

LARGEST = 2**31 - 1
"""Of any number in a config: sizes beyond it are those of no model."""


def rounding_only(default):
    """A field that says how a model is computed, not what: it changes results by rounding alone."""
    return dataclasses.field(default=default, metadata={"resume": "equal but for rounding"})


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of a model, and how its products are computed."""

    cell: str = "multiplicative_lstm"
    """One of `cells.CELLS`."""
    vocabulary: int = 256
    embedding: int = 64
    """0: the input is one-hot."""
    hidden: int = 256
    layers: int = 1
    weight_norm: bool = True
    """w = g v / ||v|| for each output unit of the cell's weights; embedding and readout plain."""
    readout: str = "linear"
    """ "tied": its weight is the embedding's transpose (Press & Wolf 2017), so that embedding is
    hidden. "none": there is none, as in a published model of which it is not known."""
    residual: bool = False
    """A layer but the first gives to what stands behind it the sum of what it read and of its h."""
    initialisation: str = "orthogonal"
    """One of `initialisation.RECIPES`: how parameters begin."""
    forget_bias: float = 1.0
    """Added at the start to the bias of the gate that says how much of the old state stays: f of
    the LSTMs, z of the GRUs."""
    dropout: float = 0.0
    """Share of the units dropped between layers, in training, anew at each step."""
    output_dropout: float = 0.0
    """Share of the units dropped before the readout, in training, anew at each step."""
    hidden_dropout: float = 0.0
    """Share of the units of h dropped in training, the same ones through a whole window, for the
    next step and for what stands behind the layer ("variational": Gal & Ghahramani 2016; Krause et
    al. 2016). Where h enters a step without a weight, as in a GRU, it is not dropped."""
    embedding_dropout: float = 0.0
    """Share of the embedding's features dropped in training, the same ones through a window."""
    zoneout_cell: float = 0.0
    """Share of the units of c that keep their old value at a step of training; elsewhere each keeps
    this share of it (Krueger et al. 2016)."""
    zoneout_hidden: float = 0.0
    """The same of h."""
    products: str = "float32"
    """ "bfloat16" rounds the operands of every matrix product, of the gradient's too; sums, states
    and parameters stay float32. "float32" does not become TF32 on a GPU."""
    keep: str = rounding_only("products")
    """What the forward pass keeps for the backward pass: "products", or "states" alone, which needs
    less memory and computes the products of a chunk again."""
    chunk: int = rounding_only(0)
    """Steps whose weight gradients are one product: fewer cost time, more cost memory. 0 is
    1024 / batch steps, or, for the sake of memory, 256 / batch where states alone are kept; at
    least four."""
    layout: str = rounding_only("rows")
    """How states lie in memory: a stream is one of the "rows", or of the "columns"."""
    unroll: int = rounding_only(0)
    """Steps in one turn of the loop over time; 0 is as many as `language_model` finds right."""

    def check(self) -> "ModelConfig":
        """Return self, or raise InputError that names the field and what it may be."""
        for field in dataclasses.fields(self):
            _check_type(field, getattr(self, field.name))
        if self.cell not in CELLS:
            raise InputError(f'model.cell is "{self.cell}"; it may be {", ".join(CELLS)}')
        if self.products not in ("float32", "bfloat16"):
            raise InputError(f'model.products is "{self.products}"; it may be float32 or bfloat16')
        for name in ("vocabulary", "hidden", "layers"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"model.{name} is {value}; it must be a whole number above 0")
        if self.keep not in ("products", "states"):
            raise InputError(f'model.keep is "{self.keep}"; it may be products or states')
        if self.layout not in LAYOUTS:
            raise InputError(f'model.layout is "{self.layout}"; it may be {", ".join(LAYOUTS)}')
        if self.readout not in ("linear", "tied", "none"):
            raise InputError(
                f'model.readout is "{self.readout}"; it may be "linear", "tied" or "none"'
            )
        if self.readout == "tied" and self.embedding != self.hidden:
            raise InputError(
                f'model.readout is "tied", so model.embedding, {self.embedding}, has to be '
                f"model.hidden, {self.hidden}"
            )
        if self.initialisation not in RECIPES:
            raise InputError(
                f'model.initialisation is "{self.initialisation}"; it may be {", ".join(RECIPES)}'
            )
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it is a share from 0 to below 1"
                )
        if self.embedding_dropout and not self.embedding:
            raise InputError(
                "model.embedding_dropout drops features of the embedding, and there is none "
                "(model.embedding is 0)"
            )
        if self.zoneout_cell and "c" not in CELLS[self.cell].state_names:
            raise InputError(
                f"model.zoneout_cell acts on c, and {self.cell} has none; use zoneout_hidden"
            )
        if self.residual and self.layers == 1:
            raise InputError("model.residual adds what a layer read to its h, from layer 1 on")
        if self.dropout and self.layers == 1:
            raise InputError(
                f"model.dropout is {self.dropout} but acts between layers, and there is one; "
                "model.output_dropout acts before the readout"
            )
        for name in ("embedding", "chunk", "unroll"):
            value = getattr(self, name)
            if value < 0:
                raise InputError(f"model.{name} is {value}; it must be a whole number, 0 or more")
        return self

    @property
    def features(self) -> int:
        """How many numbers the first layer reads."""
        return self.embedding or self.vocabulary

    @property
    def random(self) -> bool:
        """Whether training draws anything at a step."""
        return any(getattr(self, name) for name in SHARES)

    @property
    def zoneout(self) -> tuple[tuple[str, float], ...]:
        """The states that some zoneout acts on, and its share."""
        shares = {"h": self.zoneout_hidden, "c": self.zoneout_cell}
        return tuple((name, share) for name, share in shares.items() if share)


def _check_type(field: dataclasses.Field, value: object) -> None:
    """InputError for a value that is not of the field's type, or too large for any model."""
    words = {
        bool: "True or False",
        int: f"a whole number, at most {LARGEST:,}",
        float: f"a finite number, at most {LARGEST:,}",
        str: "a word",
    }
    kinds: Any = (int, float) if field.type is float else field.type
    fits = isinstance(value, kinds) and isinstance(value, bool) == (field.type is bool)
    if not fits or (isinstance(value, int | float) and not abs(value) <= LARGEST):
        shown = value if isinstance(value, int | float) else repr(value)
        raise InputError(f"model.{field.name} is {shown!s:.60}; it must be {words[field.type]}")


SHARES = (
    *("dropout", "output_dropout", "hidden_dropout", "embedding_dropout"),
    *("zoneout_cell", "zoneout_hidden"),
)
"""The fields that say what share is dropped, or stays."""
