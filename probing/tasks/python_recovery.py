"""Tokens of any text that is more or less Python: cut off at its end, or written by a model.

What is Python is read as `python_lexer` reads it. Where that finds an error, the smallest part is
passed over and reading goes on: a string without its end reaches to the end of its line (of the
text where it has three quotes), brackets without a partner are borne, and a character that cannot
be is in no token.
"""

from __future__ import annotations

import re

from probing.tasks.python_lexer import Lexer, LexError, Tokens

_OPENING = re.compile(r"[A-Za-z]{0,2}(?P<quote>'''|\"\"\"|'|\")")


def lex_any(text: str) -> Tokens:
    """Tokens of a text whose lines end in "\\n", whatever it is."""
    lexer = _Recovering(text)
    lexer.module()
    return lexer.tokens


class _Recovering(Lexer):
    inside = False  # a token, whose fields are tokens: the whole of it is given up, else each field
    # would be read to the end of the text for each that is around it

    def misfit(self, columns: list[int], column: int) -> None:
        columns.append(column)

    def unclosed(self) -> None:
        last = len(self.text) - 1
        self.tokens.brackets += [(place, last) for _, place in self.open]

    def token(self) -> None:
        if self.inside:
            super().token()
            return
        place, spans, pairs = self.place, len(self.tokens.spans), len(self.tokens.brackets)
        before = list(self.open)
        self.inside = True
        try:
            super().token()
        except (LexError, RecursionError):
            self.place, self.open = place, before
            del self.tokens.spans[spans:], self.tokens.brackets[pairs:]
            self.recover()
        finally:
            self.inside = False

    def recover(self) -> None:
        """Go on behind the smallest part that cannot be a token."""
        text, place = self.text, self.place
        if opening := _OPENING.match(text, place):
            end = text.find("\n", place) if len(opening["quote"]) == 1 else -1
            self.add("string", len(text) if end < 0 else end)
        elif text[place] in ")]}":
            self.add("operator", place + 1)
        else:
            self.place = place + 1
