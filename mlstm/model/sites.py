"""The names of the states of a model, and of single neurons.

A site is a layer and a state of its cell: "0.c" is the cell state of the first layer. A neuron is
one unit of a site: "0.c[2388]". Of the LSTMs, in the order in which a step makes them:

    m        the multiplicative state (x wmx) * (h wmh)          multiplicative LSTM only
    i f o    input, forget and output gate, after the sigmoid
    u        the update, after tanh
    c        the cell state
    h        the hidden state, o tanh(c): what the next step and the readout see

Of the GRUs r and z, the reset and the update gate, after the sigmoid (z is the share of the old h
that stays), n, the new state, after tanh, and h. Of the RNN h alone.
"""

import dataclasses
import re
from collections.abc import Sequence

from mlstm.errors import InputError
from mlstm.model.cells import CELLS


@dataclasses.dataclass(frozen=True, order=True)
class Site:
    """A state of one layer; prints as its name, "0.c"."""

    layer: int
    name: str

    def __str__(self):
        return f"{self.layer}.{self.name}"


@dataclasses.dataclass(frozen=True, order=True)
class Neuron:
    """One unit of a site; prints as its name, "0.c[2388]"."""

    site: Site
    unit: int

    def __str__(self):
        return f"{self.site}[{self.unit}]"


def parse_site(text: str) -> Site:
    """ "0.c" -> Site(0, "c"). Raises InputError when it is no such name."""
    match = re.fullmatch(r"\s*(\d{1,9})\.([a-z]+)\s*", text)
    if match is None:
        raise InputError(f'"{text}" is not a site: write a layer and a state, as in "0.c"')
    return Site(int(match[1]), match[2])


def parse_neuron(text: str) -> Neuron:
    """ "0.c[17]" -> Neuron(Site(0, "c"), 17). Raises InputError when it is no such name."""
    match = re.fullmatch(r"\s*(\d+\.[a-z]+)\s*\[\s*(\d{1,9})\s*\]\s*", text)
    if match is None:
        raise InputError(f'"{text}" is not a neuron: write a site and a unit, as in "0.c[17]"')
    return Neuron(parse_site(match[1]), int(match[2]))


def sites(config) -> tuple[str, ...]:
    """The names of all sites of a model, layer by layer."""
    names = CELLS[config.cell].site_names
    return tuple(f"{layer}.{name}" for layer in range(config.layers) for name in names)


def primary(config) -> str:
    """The site that is looked at first: the last layer's c where there is one, else its h."""
    names = CELLS[config.cell].site_names
    return f"{config.layers - 1}.{'c' if 'c' in names else 'h'}"


def check_site(config, text: str) -> Site:
    """The site of that name in a model; InputError names those that there are."""
    site = parse_site(text)
    if str(site) not in sites(config):
        raise InputError(f'no site "{site}" in this model; it has {", ".join(sites(config))}')
    return site


def check_sites(config, wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    """Site names from "0.c", "0.c,0.h" or a sequence, the primary one from None. InputError names
    those there are."""
    if wanted is None:
        return (primary(config),)
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    if not names:
        raise InputError(f"no site is named; there are {', '.join(sites(config))}")
    return tuple(str(check_site(config, name)) for name in names)


def check_neuron(config, text: str) -> Neuron:
    """The neuron of that name in a model; InputError says which there are."""
    neuron = parse_neuron(text)
    check_site(config, str(neuron.site))
    if neuron.unit >= config.hidden:
        raise InputError(
            f'no unit {neuron.unit} at site "{neuron.site}": its units are 0 to {config.hidden - 1}'
        )
    return neuron
