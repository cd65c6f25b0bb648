"""Let a trained model write: text appears block by block as it is made.

python -m launch.sample --model=runs/quickstart --prompt="def " --length=400
python -m launch.sample --model=runs/quickstart --prompt="import " --edit="0.c[17]=1.0"

A model of words or characters reads the prompt as those: a word that the prompt ends in is whole,
and is not gone on with. A character that the length cuts off is left out.

What an edit may be is said in mlstm/model/edits/notation.py; --edits reads a file of them.
"""

import codecs
import sys
from collections.abc import Iterator

from absl import flags

from launch import edits, naming, program

_MODEL = flags.DEFINE_string("model", None, naming.MODEL, required=True)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint (default: the best, else the newest).")
_MODEL_SEED = flags.DEFINE_integer("model_seed", None, "Which model of a population, by its seed.")
_PROMPT = flags.DEFINE_string("prompt", "", "Text to continue; a line end where it is empty.")
_LENGTH = flags.DEFINE_integer(
    "length", 400, "Bytes, or tokens of the model's vocabulary, to write."
)
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Below 1 is bolder, 0 takes the likeliest.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Draw from the k likeliest tokens; 0 is from all.")
_TOP_P = flags.DEFINE_float("top_p", 1.0, "Draw from the likeliest tokens that together have p.")
_SEED = flags.DEFINE_integer("seed", 0, "The same seed writes the same text.")
_SAMPLES = flags.DEFINE_integer("num_samples", 1, "Texts to write.")
flags.adopt_module_key_flags(edits)


def main(_) -> None:
    import mlstm
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one

    model = load_one(user_path(_MODEL.value), _STEP.value, _MODEL_SEED.value)
    # Of a model of bytes all that is made is shown: its text need not be UTF-8.
    rest = model.vocabulary.bytewise
    blocks = mlstm.generate(
        model,
        # What the shell gave, byte by byte, be it UTF-8 or not.
        _PROMPT.value.encode("utf-8", "surrogateescape"),
        _LENGTH.value,
        temperature=_TEMPERATURE.value,
        top_k=_TOP_K.value,
        top_p=_TOP_P.value,
        seed=_SEED.value,
        samples=_SAMPLES.value,
        edits=edits.read(),
    )
    if _SAMPLES.value == 1:
        write(_PROMPT.value.encode("utf-8", "surrogateescape"))
        write_characters((block[0] for block in blocks), rest)
    else:
        texts = [b"".join(pieces) for pieces in zip(*blocks, strict=True)]
        for number, text in enumerate(texts, 1):
            write(f"--- {number} of {len(texts)} (seed {_SEED.value})\n".encode())
            write(_PROMPT.value.encode("utf-8", "surrogateescape"))
            write_characters(iter([text]), rest)
            write(b"\n")
    write(b"\n")


def write_characters(pieces: Iterator[bytes], rest: bool = True) -> None:
    """Write bytes as they are, but never the first half of a UTF-8 character alone.

    rest: whether the half that they may end in is written.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for piece in pieces:
        write(decoder.decode(piece).encode("utf-8", "surrogateescape"))
    if rest:
        write(decoder.decode(b"", final=True).encode("utf-8", "surrogateescape"))


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
