"""Text to ASCII: the letters without their accents, and the commonest signs spelled out.

NFKD takes letters apart ("é" is "e" and an accent, "ﬁ" is "fi"); of what it gives, ASCII stays and
what `_SIGNS` has is spelled; the rest goes, other scripts with it. The table of the package
unidecode, which NVIDIA used and whose licence is not ours, spells other scripts as well ("Москва"
is "Moskva" there and nothing here) and many rarer signs; of those in `_SIGNS` the spelling is the
same.
"""

import functools
import re
import unicodedata

_OTHERS = re.compile(r"[^\x00-\x7f]+")
_SIGNS = {
    "‘": "'", "’": "'", "‚": ",", "‛": "'", "“": '"', "”": '"', "„": ",,", "′": "'", "″": '"',
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "--", "―": "--", "−": "-", "•": "*", "·": "*",
    "«": "<<", "»": ">>", "‹": "<", "›": ">", "¡": "!", "¿": "?", "×": "x", "÷": "/", "⁄": "/",
    "±": "+-", "°": "deg", "©": "(c)", "®": "(r)", "™": "(tm)", "€": "EUR", "£": "PS", "¢": "C/",
    "¥": "Y=", "§": "SS", "¶": "P", "¦": "|", "¬": "!", "ß": "ss", "æ": "ae", "Æ": "AE",
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th",
    "Þ": "Th", "ł": "l", "Ł": "L", "ı": "i", "ħ": "h", "Ħ": "H", "ŋ": "ng", "Ŋ": "NG",
    "´": "'", "¨": '"', "¸": ",", "¯": "-",
}  # fmt: skip


def ascii_of(text: str) -> str:
    """The text in ASCII. Bytes that are not UTF-8, as surrogates, go."""
    return text if text.isascii() else _OTHERS.sub(_folded, text)


@functools.lru_cache(maxsize=1 << 16)
def ascii_of_character(character: str) -> str:
    """What `ascii_of` makes of one character, by itself."""
    if character in _SIGNS:
        return _SIGNS[character]
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part if part.isascii() else _SIGNS.get(part, "") for part in parts)


def _folded(match: re.Match) -> str:
    return "".join(map(ascii_of_character, match[0]))
