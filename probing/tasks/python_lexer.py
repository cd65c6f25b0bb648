"""Python's lexical grammar over a whole text, the same on every interpreter that runs it.

The standard `tokenize` changes with the version (an f-string is one token before 3.12, many after;
what is an error differs too), so labels taken from it would depend on who took them. This lexer
reads the grammar of Python 3.14, and the tests hold it against the `tokenize` and `ast` of the
interpreter that runs them on its whole standard library.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field

# the same 35 words from 3.7 to 3.14; soft keywords (match, case, type, _) are names to a tokenizer
KEYWORDS = frozenset(keyword.kwlist)

_WHITESPACE = re.compile(r"(?:[ \t\f]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_STRING = re.compile(r"(?i:(?P<prefix>[furt]|b|br|rb|fr|rf|tr|rt)?)(?P<quote>'''|\"\"\"|'|\")")
_NUMBER = re.compile(
    r"(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+"
    r"|(?:[0-9](?:_?[0-9])*\.(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*|[0-9](?:_?[0-9])*)"
    r"(?:[eE][+-]?[0-9](?:_?[0-9])*)?[jJ]?)"
)
_NAME = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*")
_OPERATOR = re.compile(
    r"\*\*=|//=|>>=|<<=|\.\.\.|!=|->|:=|==|<=|>=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|@=|\*\*|//|<<|>>"
    r"|[()\[\]{}:,;.+\-*/%&|^~<>=@]"
)
_INDENT = re.compile(r"[ \t\f]*")
_PLAIN_END = {  # the rest of a string after its opening quote, the closing quote included
    quote: re.compile(
        rf"(?:[^\\]|\\.)*?{quote}" if len(quote) == 3 else rf"(?:[^\\\n{quote}]|\\.)*{quote}",
        re.DOTALL,
    )
    for quote in ("'", '"', "'''", '"""')
}
_CLOSES = {")": "(", "]": "[", "}": "{"}


class LexError(ValueError):
    """The text is not Python. `place` is a character of it."""

    def __init__(self, message: str, place: int):
        super().__init__(message)
        self.place = place


@dataclass
class Tokens:
    """Spans of characters [start, end). An f-string gives one string span for each literal part."""

    spans: list[tuple[str, int, int]] = field(default_factory=list)  # (kind, start, end)
    brackets: list[tuple[int, int]] = field(default_factory=list)  # each pair: open, close
    blocks: list[tuple[int, int]] = field(default_factory=list)  # (from this character on, depth)
    docstrings: list[tuple[int, int]] = field(default_factory=list)  # first to last quote


def lex(text: str) -> Tokens:
    """Tokens of a module whose lines end in "\\n".

    Kinds: string, comment, keyword, name, operator, number. LexError where it is not Python.
    """
    lexer = Lexer(text)
    lexer.module()
    return lexer.tokens


class Lexer:
    def __init__(self, text: str):
        self.text = text
        self.place = 0
        self.tokens = Tokens()
        self.open: list[tuple[str, int]] = []  # brackets not yet closed

    def add(self, kind: str, end: int) -> None:
        self.tokens.spans.append((kind, self.place, end))
        self.place = end

    def module(self) -> None:
        """Logical line after logical line."""
        columns = [0]
        documented = True  # may the next statement be a docstring?
        while self.place < len(self.text):
            start = self.place
            indent = _INDENT.match(self.text, start)
            assert indent is not None
            self.place = indent.end()
            if self.text.startswith("\n", self.place):
                self.place += 1
                continue
            if self.text.startswith("#", self.place) or self.place == len(self.text):
                self.token()
                continue
            column = _column(indent.group())
            if column > columns[-1]:
                columns.append(column)
                self.tokens.blocks.append((start, len(columns) - 1))
            elif column < columns[-1]:
                while columns[-1] > column:
                    columns.pop()
                if columns[-1] != column:
                    self.misfit(columns, column)
                self.tokens.blocks.append((start, len(columns) - 1))
            first = len(self.tokens.spans)
            while self.place < len(self.text):
                if not self.open and self.text.startswith("\n", self.place):
                    self.place += 1
                    break
                self.token()
            documented = self.documentation(first, documented)
        if self.open:
            self.unclosed()

    def misfit(self, columns: list[int], column: int) -> None:
        """A line goes back to a column that no line above began at."""
        raise LexError("unindent matches no outer level", self.place)

    def unclosed(self) -> None:
        """The text ends within brackets."""
        raise LexError(f"{self.open[-1][0]!r} is never closed", self.open[-1][1])

    def token(self) -> None:
        """One token, or what lies between two."""
        text, place = self.text, self.place
        if text.startswith("\n", place) and self.open:
            self.place += 1
        elif match := _WHITESPACE.match(text, place):
            self.place = match.end()
        elif match := _COMMENT.match(text, place):
            self.add("comment", match.end())
        elif match := _STRING.match(text, place):
            self.string(match)
        elif match := _NUMBER.match(text, place):
            self.add("number", match.end())
        elif match := _NAME.match(text, place):
            word = match.group()
            if not word.isidentifier():
                raise LexError(f"invalid character in {word!r}", place)
            self.add("keyword" if word in KEYWORDS else "name", match.end())
        elif match := _OPERATOR.match(text, place):
            self.operator(match.group())
        elif place < len(text):
            raise LexError(f"invalid character {text[place]!r}", place)

    def operator(self, operator: str) -> None:
        if operator in "([{":
            self.open.append((operator, self.place))
        elif operator in ")]}":
            if not self.open or self.open[-1][0] != _CLOSES[operator]:
                raise LexError(f"unmatched {operator!r}", self.place)
            self.tokens.brackets.append((self.open.pop()[1], self.place))
        self.add("operator", self.place + len(operator))

    def string(self, opening: re.Match[str]) -> None:
        prefix = (opening["prefix"] or "").lower()
        quote = opening["quote"]
        if "f" in prefix or "t" in prefix:
            return self.formatted(opening.end(), quote, raw="r" in prefix)
        closing = _PLAIN_END[quote].match(self.text, opening.end())
        if closing is None:
            raise LexError("a string is never closed", self.place)
        self.add("string", closing.end())
        return None

    def formatted(self, place: int, quote: str, *, raw: bool) -> None:
        """An f-string or t-string: its literal parts are string, its fields are code (PEP 701)."""
        start, text = self.place, self.text
        while not text.startswith(quote, place):
            if place >= len(text) or (text[place] == "\n" and len(quote) == 1):
                raise LexError("an f-string is never closed", start)
            if text.startswith(("{{", "}}"), place):
                place += 2
            elif text[place] == "{":
                place = self.replacement(place, quote, raw=raw)
            elif text[place] == "}":
                raise LexError("a single '}' in an f-string", place)
            else:
                place = _after_literal(text, place, raw=raw)
        self.add("string", place + len(quote))

    def replacement(self, place: int, quote: str, *, raw: bool) -> int:
        """A replacement field whose "{" is at `place`; where the literal text goes on."""
        if place > self.place:
            self.add("string", place)
        self.operator("{")
        inside, text = len(self.open), self.text
        while True:
            if self.place >= len(text):
                raise LexError("a replacement field is never closed", place)
            here = text[self.place]
            if len(self.open) == inside:
                if here == "}":
                    self.operator("}")
                    return self.place
                if here == "!" and not text.startswith("!=", self.place):
                    self.add("operator", self.place + 1)
                    continue
                if here == ":":
                    self.add("operator", self.place + 1)
                    return self.specification(quote, raw=raw)
            self.token()

    def specification(self, quote: str, *, raw: bool) -> int:
        """A field's format specification: literal text with fields, up to the field's "}"."""
        place, text = self.place, self.text
        while not text.startswith("}", place):
            ends = text.startswith(quote, place) or (
                len(quote) == 1 and text.startswith("\n", place)
            )
            if place >= len(text) or ends:
                raise LexError("a replacement field is never closed", place)
            if text[place] == "{":
                place = self.replacement(place, quote, raw=raw)
            else:
                place = _after_literal(text, place, raw=raw)
        if place > self.place:
            self.add("string", place)
        self.operator("}")
        return self.place

    def documentation(self, first: int, documented: bool) -> bool:
        """Note the docstrings of the logical line that begins at span `first`.

        documented: whether its first statement may be one. Returns whether the next line's may.
        """
        line = [span for span in self.tokens.spans[first:] if span[0] != "comment"]
        if not line:
            return documented
        words = [self.text[start:end] for _, start, end in line]
        if documented:
            self.docstring(line, words)
        opens_block = words[0] in ("class", "def") or words[:2] == ["async", "def"]
        if not opens_block:
            return False
        colon = _header_end(words)
        if colon == len(words) - 1:
            return True
        self.docstring(line[colon + 1 :], words[colon + 1 :])
        return False

    def docstring(self, line: list[tuple[str, int, int]], words: list[str]) -> None:
        """Whether the first statement is plain strings alone, perhaps within parentheses."""
        if ";" in words:
            words = words[: words.index(";")]
        shape = "".join("'" if line[i][0] == "string" else word for i, word in enumerate(words))
        strings = [i for i, word in enumerate(words) if line[i][0] == "string"]
        if not re.fullmatch(r"\(*'+\)*", shape):
            return
        for i in strings:
            prefix = _STRING.match(words[i])
            if prefix is None or (prefix["prefix"] or "").lower() not in ("", "r", "u"):
                return
        self.tokens.docstrings.append((line[strings[0]][1], line[strings[-1]][2]))


def _column(indent: str) -> int:
    """The column that whitespace reaches: tabs go to multiples of 8, a form feed back to 0."""
    column = 0
    for character in indent:
        if character == "\f":
            column = 0
        else:
            column = (column // 8 + 1) * 8 if character == "\t" else column + 1
    return column


def _after_literal(text: str, place: int, *, raw: bool) -> int:
    """Where one character of an f-string's literal text, or one escape, ends."""
    if text[place] != "\\":
        return place + 1
    if not raw and text.startswith("N{", place + 1):
        return text.find("}", place) + 1 or len(text)
    return place + (1 if text.startswith(("{", "}"), place + 1) else 2)


def _header_end(words: list[str]) -> int:
    """The place of the colon that ends the header of a class or function; -1 without one."""
    depth = 0
    for i, word in enumerate(words):
        if word in ("(", "[", "{"):
            depth += 1
        elif word in (")", "]", "}"):
            depth -= 1
        elif word == ":" and depth == 0:
            return i
    return -1
