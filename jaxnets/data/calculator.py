"""A calculator for texts from anyone, a model too: a parser of arithmetic, which runs no code."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

LONGEST = 200
"""How many characters an expression may have; there are no powers, so no number in it or of it has more digits."""

OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
_TOKEN = re.compile(r"\s*(?:([0-9]+)|([-+*/()]))")


def calculate(expression: str) -> Fraction:
    """Compute an arithmetic expression exactly.

    `expression = product (+|- product)*`, `product = factor (*|/ factor)*`, `factor = number | -factor | (expression)`:
    products before sums, and both from the left. Numbers are whole and in decimal digits. The text is parsed here and
    never run as Python, so that it may come from anywhere.

    Args:
        expression: the text, at most 200 characters.

    Returns:
        The exact value; `value.denominator == 1` says that it is whole.

    Raises:
        ValueError: if the text is no expression, with the position where it ceases to be one, or too long.
        ZeroDivisionError: if something is divided by zero.
        TypeError: if it is no text.

    Example:
        >>> calculate("2+3*(4-1)"), calculate("1/3-1")
        (Fraction(11, 1), Fraction(-2, 3))
        >>> calculate("__import__('os')")
        Traceback (most recent call last):
        ...
        ValueError: calculate: expected a number, '-' or '(' at position 0, got '_' in "__import__('os')"
    """
    if not isinstance(expression, str):
        raise TypeError(f"calculate: expected a text, got {type(expression).__name__}")
    if len(expression) > LONGEST:
        raise ValueError(f"calculate: an expression has at most {LONGEST} characters, got {len(expression)}")
    parser = _Parser(expression)
    value = parser.sum()
    if parser.token:
        raise parser.error("an operator or the end")
    return value


class _Parser:
    """Recursive descent: one method for each rule, which reads what it can and leaves the next token in `token`."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.end = text, 0, 0
        self.token = ""
        self.advance()

    def advance(self) -> str:
        """Go on to the next token, `""` at the end; return the last one."""
        last = self.token
        found = _TOKEN.match(self.text, self.end)
        rest = self.text[self.end :]
        self.place = self.end + len(rest) - len(rest.lstrip())
        self.token = found[1] or found[2] if found else self.text[self.place : self.place + 1]
        self.end = self.place + len(self.token)
        return last

    def error(self, expected: str) -> ValueError:
        got = repr(self.token) if self.token else "the end"
        return ValueError(f"calculate: expected {expected} at position {self.place}, got {got} in {self.text!r}")

    def sum(self) -> Fraction:
        value = self.product()
        while self.token in ("+", "-"):
            operator = self.advance()
            value = OPERATORS[operator](value, self.product())
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while self.token in ("*", "/"):
            operator, place = self.advance(), self.place
            factor = self.factor()
            if operator == "/" and factor == 0:
                raise ZeroDivisionError(f"calculate: division by zero at position {place} in {self.text!r}")
            value = OPERATORS[operator](value, factor)
        return value

    def factor(self) -> Fraction:
        if self.token == "-":
            self.advance()
            return -self.factor()
        if self.token == "(":
            self.advance()
            value = self.sum()
            if self.token != ")":
                raise self.error("')'")
            self.advance()
            return value
        if not (self.token.isascii() and self.token.isdigit()):
            raise self.error("a number, '-' or '('")
        return Fraction(int(self.advance()))
