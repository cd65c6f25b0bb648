"""Review JSON lines that are like real ones to whoever prepares them: words as often as in a text,
lengths, line ends, HTML's character references and letters beyond ASCII; the same each time."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlstm.corpus import sources

_WORD = re.compile(rb"[A-Za-z']+")
_ODD = ["&#34;great&#34;", "&amp;", "don&#8217;t", "caf\u00e9", "\u2014", "5 &gt; 3", "\n", "\n\n"]
_SENTENCES = 20_000
_MEAN_BYTES = 430  # of a review, about Amazon's; lengths are log-normal


def write(
    path: Path, size: int, text: str = sources.PYTHON_STDLIB, *, literal: bool = False
) -> int:
    """Writes at least `size` bytes of reviews; the number of them. literal: as Python's repr."""
    rng = np.random.default_rng(0)
    sentences = list(_sentences(text, rng))
    lengths = np.array([len(sentence) for sentence in sentences])
    done = count = 0
    with path.open("wb") as file:
        while done < size:
            wanted = rng.lognormal(np.log(_MEAN_BYTES) - 0.5, 1.0, 10_000)
            for bytes_wanted in np.clip(wanted, 20, 20_000):
                need = max(1, round(bytes_wanted / lengths.mean()))
                chosen = rng.integers(0, len(sentences), need)
                review = " ".join([sentences[number] for number in chosen.tolist()])
                row = {
                    "reviewerID": f"A{count:013d}",
                    "asin": f"{count % 999_983:010d}",
                    "reviewerName": "J. McReader",
                    "helpful": [count % 7, count % 11],
                    "reviewText": review,
                    "overall": float(1 + count % 5),
                    "summary": sentences[count % len(sentences)][:60],
                    "unixReviewTime": 1_252_800_000 + count,
                    "reviewTime": "09 13, 2009",
                }
                line = (repr(row) if literal else json.dumps(row)).encode() + b"\n"
                file.write(line)
                done, count = done + len(line), count + 1
                if done >= size:
                    break
    return count


def _sentences(text: str, rng: np.random.Generator) -> Iterator[str]:
    found = b" ".join(file.data for file in sources.documents(text))
    words = [word.decode() for word in _WORD.findall(found)]
    for begin in rng.integers(0, len(words) - 40, _SENTENCES).tolist():
        sentence = words[begin : begin + int(rng.integers(4, 30))]
        if rng.random() < 0.2:
            sentence[int(rng.integers(len(sentence)))] = _ODD[int(rng.integers(len(_ODD)))]
        yield " ".join(sentence).capitalize() + "."
