"""How the parameters of a model begin: recipes by name, those of published experiments among them.

A recipe draws each array from its shape and from what it is for. Whatever it draws, gains begin as
the norms of what they scale, so that weight normalisation changes nothing at first, unless the
recipe says otherwise; and the forget bias of the config is added to what it draws.
"""

import math
from collections.abc import Callable, Collection
from typing import NamedTuple

import jax

Draw = Callable[..., jax.Array]
"""(key, shape, dtype) -> an array."""


class Fans(NamedTuple):
    """The sizes of the cell that a weight belongs to."""

    features: int
    hidden: int


def flat(initializer: Draw, key: jax.Array, shape: tuple[int, ...], dtype) -> jax.Array:
    """Initialise a weight (in, ...out) as the flat matrix (in, out) that it is, then reshape.

    Initialisers read a 3-D shape as a convolution: glorot would make (H, 4, H) seven times too
    small at H = 256, and orthogonal would normalise the wrong axis.
    """
    return initializer(key, (shape[0], math.prod(shape[1:])), dtype).reshape(shape)


def uniform(limit: float) -> Draw:
    """Between -limit and limit."""

    def draw(key, shape, dtype) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return draw


def normal(deviation: float) -> Draw:
    return jax.nn.initializers.normal(deviation)


def truncated(deviation: float) -> Draw:
    """Normal, but nothing beyond two deviations, and not widened for it, as in TensorFlow 1."""

    def draw(key, shape, dtype) -> jax.Array:
        return deviation * jax.random.truncated_normal(key, -2, 2, shape, dtype)

    return draw


_glorot, _he = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.he_normal()
_orthogonal = jax.nn.initializers.orthogonal()


class Recipe:
    """The default: orthogonal recurrent weights, Glorot-uniform input weights and readout, an
    embedding of standard deviation 1, biases 0."""

    def embedding(self, inputs: int, outputs: int) -> Draw:
        return normal(1.0)

    def input(self, fans: Fans) -> Draw:
        return _glorot

    def recurrent(self, fans: Fans) -> Draw:
        return _orthogonal

    def bias(self, fans: Fans, name: str, beside: Collection[str]) -> Draw | None:
        """Of the bias of this name in a cell that has those of `beside`; None: zeros."""
        return None

    def gain(self, fans: Fans) -> Draw | None:
        """None: the norms."""
        return None

    def readout(self, inputs: int, outputs: int) -> Draw:
        return _glorot

    def readout_bias(self, inputs: int, outputs: int) -> Draw | None:
        """None: zeros."""
        return None


class Krause(Recipe):
    """Krause et al. (2016), their code for the Hutter prize data: all weights orthogonal, the
    embedding uniform up to 0.2; with a forget bias of 3."""

    def embedding(self, inputs, outputs):
        return uniform(0.2)

    def input(self, fans):
        return _orthogonal

    def readout(self, inputs, outputs):
        return _orthogonal


class Torch(Recipe):
    """PyTorch's own, and that of sentiment-discovery: the cell and the readout uniform up to
    1 / sqrt(H), a bias the sum of two of them where it has two (n of the GRU keeps them apart);
    with a forget bias of 0."""

    def input(self, fans):
        return uniform(fans.hidden**-0.5)

    recurrent = input

    def bias(self, fans, name, beside):
        one = self.input(fans)

        def draw(key, shape, dtype):
            first, second = jax.random.split(key)
            drawn, other = one(first, shape, dtype), one(second, shape, dtype)
            if name == "bn":
                return drawn
            return drawn + (other.at[-1].set(0) if "bn" in beside else other)

        return draw

    def readout(self, inputs, outputs):
        return uniform(inputs**-0.5)

    readout_bias = readout  # pyright: ignore[reportAssignmentType]


class Everywhere(Recipe):
    """One distribution for every array."""

    def __init__(self, draw: Draw):
        self._draw = draw

    def embedding(self, inputs, outputs):
        return self._draw

    readout = readout_bias = embedding  # pyright: ignore[reportAssignmentType]

    def input(self, fans):
        return self._draw

    recurrent = input

    def bias(self, fans, name, beside):
        return self._draw


class ConceptNeurons(Recipe):
    """concept_neurons: TensorFlow's Glorot-uniform of each gate's weight on input and state
    together, and of each bias as a vector; with a forget bias of 0."""

    def input(self, fans):
        return uniform(math.sqrt(6 / (fans.features + 2 * fans.hidden)))

    recurrent = input

    def bias(self, fans, name, beside):
        return uniform(math.sqrt(3 / fans.hidden))

    def readout_bias(self, inputs, outputs):
        return uniform(math.sqrt(3 / outputs))


class OpenaiReproduction(Recipe):
    """openai_reproduction: TensorFlow's Glorot-normal of each gate's weight by itself, gains too,
    which begin near 0 and with either sign; with a forget bias of 0."""

    def embedding(self, inputs, outputs):
        return truncated(math.sqrt(2 / (inputs + outputs)))

    readout = embedding

    def input(self, fans):
        return truncated(math.sqrt(2 / (fans.features + fans.hidden)))

    def recurrent(self, fans):
        return truncated(fans.hidden**-0.5)

    gain = recurrent  # pyright: ignore[reportAssignmentType]

    def bias(self, fans, name, beside):
        return truncated(math.sqrt(2 / (1 + fans.hidden)))

    def readout_bias(self, inputs, outputs):
        return truncated(outputs**-0.5)


class He(Recipe):
    """He-normal weights, biases 0: the better choice of the thesis on a vanilla network."""

    def input(self, fans):
        return _he

    recurrent = input

    def readout(self, inputs, outputs):
        return _he


class Small(Recipe):
    """Normal weights of standard deviation 0.01, biases 0: the other choice of the thesis."""

    def input(self, fans):
        return normal(0.01)

    recurrent = input

    def readout(self, inputs, outputs):
        return normal(0.01)


RECIPES: dict[str, Recipe] = {
    "orthogonal": Recipe(),
    "krause": Krause(),
    "torch": Torch(),
    "char_rnn": Everywhere(uniform(0.08)),
    "concept_neurons": ConceptNeurons(),
    "openai_reproduction": OpenaiReproduction(),
    "he": He(),
    "small": Small(),
}
