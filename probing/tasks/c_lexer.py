"""C's lexical grammar over the bytes of a text (C23, section 6.4), whole or cut off at its ends.

A directive is one token to its end, as nothing can be said of its words before it is expanded;
the comments in it are comments. What a text that was cut off leaves open goes to its end, and
brackets without a partner are borne.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KINDS = ("string", "char literal", "comment", "preprocessor", "keyword", "name", "operator")
KINDS += ("number",)

# the reserved words of C23, 6.4.1, older spellings included
KEYWORDS = frozenset(
    b"alignas alignof auto bool break case char const constexpr continue default do double else "
    b"enum extern false float for goto if inline int long nullptr register restrict return short "
    b"signed sizeof static static_assert struct switch thread_local true typedef typeof "
    b"typeof_unqual union unsigned void volatile while _Alignas _Alignof _Atomic _BitInt _Bool "
    b"_Complex _Decimal128 _Decimal32 _Decimal64 _Generic _Imaginary _Noreturn _Static_assert "
    b"_Thread_local".split()
)

_COMMENT = rb"//(?:\\\r?\n|[^\n])*+|/\*(?s:.)*?(?:\*/|\Z)"
_STRING = rb'(?:u8|[uUL])?"(?:\\\r?\n|\\(?s:.)|[^"\\\n])*+(?:"|\\?\Z)'
_CHAR = rb"(?:u8|[uUL])?'(?:\\\r?\n|\\(?s:.)|[^'\\\n])*+(?:'|\\?\Z)"
_TOKEN = re.compile(
    rb"(?P<newline>\r?\n)|(?P<space>(?:[ \t\f\v\r]|\\\r?\n|\\\Z)++)"
    rb"|(?P<comment>" + _COMMENT + rb")|(?P<string>" + _STRING + rb")|(?P<char>" + _CHAR + rb")"
    rb"|(?P<number>\.?[0-9](?:[eEpP][+-]|'?[0-9A-Za-z_]|\.)*+)"
    rb"|(?P<name>[A-Za-z_$\x80-\xff][0-9A-Za-z_$\x80-\xff]*+)"
    rb"|(?P<operator>[][(){}.&*+~!/%<>^|?:;=,#-])|(?P<other>(?s:.))"
)
_DIRECTIVE = re.compile(
    rb"(?P<comment>" + _COMMENT + rb")|(?P<text>(?:" + _STRING + rb"|" + _CHAR + rb""
    rb"|\\\r?\n|(?!//|/\*)[^\n])++)"
)
_WORD = re.compile(rb"#(?:[ \t]|\\\r?\n)*+([a-z]*)(?:[ \t]+(0)\s)?")


class LexError(ValueError):
    """The text is not C. `place` is a byte of it."""

    def __init__(self, message: str, place: int):
        super().__init__(message)
        self.place = place


@dataclass
class Tokens:
    """Spans of bytes [start, end), ascending and apart."""

    spans: list[tuple[int, int, int]] = field(default_factory=list)  # (place in KINDS, start, end)
    levels: list[tuple[int, int, int]] = field(default_factory=list)
    """(from this byte on, brace depth, parenthesis depth); a bracket is inside its pair."""


def lex(data: bytes, strict: bool = True) -> Tokens:
    """Tokens of a translation unit. LexError where it is not C, or passed over unless strict."""
    lexer = _Lexer(data, strict)
    lexer.text()
    return lexer.tokens


class _Lexer:
    def __init__(self, data: bytes, strict: bool):
        self.data = data
        self.strict = strict
        self.tokens = Tokens()
        self.braces: list[int] = []  # for each open brace the parentheses around it
        self.parentheses = 0
        self.conditions: list[tuple[list[int], int, bool]] = []  # of each open #if: the brackets
        # before it, and whether its text is left out, so that it need not be C

    def text(self) -> None:
        place, first = 3 if self.data.startswith(b"\xef\xbb\xbf") else 0, True
        while match := _TOKEN.match(self.data, place):
            kind, start, place = str(match.lastgroup), place, match.end()
            if kind == "newline":
                first = True
            elif kind == "comment":
                self.add(kind, start, place)
            elif kind == "operator" and first and self.data[start] == ord("#"):
                place = self.directive(start)
            elif kind != "space":
                first = False
                self.token(kind, match.group(), start, place)

    def add(self, kind: str, start: int, end: int) -> None:
        self.tokens.spans.append((KINDS.index(kind), start, end))

    def token(self, kind: str, word: bytes, start: int, end: int) -> None:
        if kind == "other":
            if not self.strict or any(left_out for _, _, left_out in self.conditions):
                return
            character = word.decode("ascii")
            if character in "\"'":
                what = "a string" if character == '"' else "a character constant"
                raise LexError(f"{what} is never closed", start)
            raise LexError(f"invalid character {character!r}", start)
        if kind == "char":
            kind = "char literal"
        elif kind == "name" and word in KEYWORDS:
            kind = "keyword"
        self.add(kind, start, end)
        if kind == "operator" and word in b"(){}":
            self.bracket(word, start)

    def bracket(self, bracket: bytes, place: int) -> None:
        """A brace that closes brings back the parentheses from before it was opened: one error
        does not reach beyond its block."""
        if bracket == b"(":
            self.parentheses += 1
        elif bracket == b")":
            self.parentheses = max(0, self.parentheses - 1)
        elif bracket == b"{":
            self.braces.append(self.parentheses)
        else:
            self.parentheses = self.braces.pop() if self.braces else 0
        self.level(place + (bracket in b")}"))

    def level(self, place: int) -> None:
        self.tokens.levels.append((place, len(self.braces), self.parentheses))

    def directive(self, place: int) -> int:
        """From "#" to the end of the line, where the next token begins."""
        match = _WORD.match(self.data, place)
        assert match is not None
        self.condition(match[1], left_out=match[2] is not None)
        while match := _DIRECTIVE.match(self.data, place):
            end = match.end()
            if match.lastgroup == "comment":
                self.add("comment", place, end)
            else:
                self.add("preprocessor", place, place + len(match.group().rstrip(b"\r")))
            place = end
        self.level(place)
        return place

    def condition(self, word: bytes, *, left_out: bool) -> None:
        """Each branch of a condition begins with the brackets that were open before the first:
        the preprocessor takes one of them."""
        if word in (b"if", b"ifdef", b"ifndef"):
            self.conditions.append((list(self.braces), self.parentheses, left_out))
        elif word in (b"else", b"elif", b"elifdef", b"elifndef") and self.conditions:
            before, self.parentheses, _ = self.conditions.pop()
            self.braces = list(before)
            self.conditions.append((before, self.parentheses, left_out))
        elif word == b"endif" and self.conditions:
            self.conditions.pop()
