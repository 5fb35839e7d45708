"""Sums and expressions to learn arithmetic from, generated from a seed, in the forms a model can write them in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from jaxnets.integers import as_integer

Form: TypeAlias = Literal["plain", "reversed", "scratchpad"]
"""How a sum is written; see `write_addition`."""

FORMS: tuple[Form, ...] = ("plain", "reversed", "scratchpad")
MOST_PAIRS = 1_000_000
"""Of one set: all there are of up to three digits."""
MOST_DIGITS = 9
"""Of a number, so that all pairs can be numbered in 64 bits."""


def addition_pairs(count: int, seed: int = 0, *, digits: tuple[int, int] = (1, 3)) -> np.ndarray:
    """Draw different pairs of numbers to add, all with the same probability.

    The pairs are ordered, so 3 + 5 and 5 + 3 are two. No pair comes twice, so that parts of the set have none in
    common, and the first ones of a larger set are those of a smaller one.

    Args:
        count: how many, at most all there are and 1,000,000.
        seed: of the pairs.
        digits: the fewest and the most digits of a number, from 1 to 9: (1, 3) draws from 0 to 999, (4, 4) from 1,000
            to 9,999.

    Returns:
        int64 `[count, 2]`.

    Raises:
        ValueError: if there are not that many pairs, or the digits are out of range.

    Example:
        >>> addition_pairs(3)
        array([[959, 233],
               [623, 842],
               [264, 558]])

    Warning:
        Short numbers are rare: with (1, 3), 81% of the pairs have three digits twice, and 0.01% one digit twice. Lee et
        al., Teaching arithmetic to small transformers, 2023, draw more of them.
    """
    fewest, most = (as_integer("addition_pairs", "digits", number, at_least=1) for number in digits)
    if not fewest <= most <= MOST_DIGITS:
        raise ValueError(f"addition_pairs: digits must be (fewest, most) from 1 to {MOST_DIGITS}, got {digits}")
    first = 0 if fewest == 1 else 10 ** (fewest - 1)
    numbers = 10**most - first
    there_are = min(numbers**2, MOST_PAIRS)
    count = as_integer("addition_pairs", "count", count, at_least=1)
    if count > there_are:
        raise ValueError(
            f"addition_pairs: count must be from 1 to {there_are:,} with numbers from {first:,} to {10**most - 1:,}, "
            f"got {count:,}"
        )
    generator = np.random.default_rng(seed)
    drawn = _distinct(generator, numbers**2, count)
    return first + np.stack(np.divmod(drawn, numbers), axis=1)


def _distinct(generator: np.random.Generator, there_are: int, count: int) -> np.ndarray:
    """Draw `count` different numbers below `there_are`; the first ones do not depend on `count`."""
    if there_are <= MOST_PAIRS:
        return generator.permutation(there_are)[:count]
    drawn = np.empty(0, np.int64)
    while len(drawn) < count:
        drawn = np.concatenate([drawn, generator.integers(0, there_are, 65_536)])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]  # without what came before
    return drawn[:count]


def write_addition(first: int, second: int, form: Form = "plain") -> str:
    """Write a sum and its answer, in one of three forms.

    ================ ============================================
    form             128 + 367
    ================ ============================================
    ``"plain"``      ``128+367=495``
    ``"reversed"``   ``128+367=594``, the last digit first
    ``"scratchpad"`` ``128+367=8+7+0=15,2+6+1=09,1+3+0=04:495``
    ================ ============================================

    The reversed form is in the order of carrying: each digit depends on two digits and the carry alone. The scratchpad
    adds column after column from the right, with the carry as its third number; the last two digits are the next
    carry and this column's digit. The answer is behind the colon.

    Args:
        first: a number from 0.
        second: another one.
        form: how to write them.

    Returns:
        The question, which ends with the first `=`, and behind it all that a model is to write.

    Raises:
        ValueError: if a number is negative, or the form is another.

    Example:
        >>> write_addition(7, 95, "scratchpad")
        '7+95=7+5+0=12,0+9+1=10:102'

    Reference:
        Lee et al., Teaching arithmetic to small transformers, 2023, for the reversed form and the idea of the
        scratchpad; its digits are set out differently here.
    """
    first, second = (as_integer("write_addition", "number", number, at_least=0) for number in (first, second))
    question, answer = f"{first}+{second}=", str(first + second)
    if form == "plain":
        return question + answer
    if form == "reversed":
        return question + answer[::-1]
    if form == "scratchpad":
        return f"{question}{_columns(first, second)}:{answer}"
    raise ValueError(f"write_addition: form must be one of {FORMS}, got {form!r}")


def _columns(first: int, second: int) -> str:
    """The sums of all columns from the right, each with the carry."""
    width = max(len(str(first)), len(str(second)))
    columns, carry = [], 0
    for a, b in zip(reversed(f"{first:0{width}}"), reversed(f"{second:0{width}}"), strict=True):
        total = int(a) + int(b) + carry
        columns.append(f"{a}+{b}+{carry}={total:02}")
        carry = total // 10
    return ",".join(columns)


def read_sum(text: str, form: Form = "plain") -> int | None:
    """Read the answer in what a model wrote behind the question.

    Args:
        text: what came behind the first `=`.
        form: what it should be written in.

    Returns:
        The number; None if there is none, written as it has to be: digits alone, and none of them 0 in front.

    Raises:
        ValueError: if the form is another.

    Example:
        >>> read_sum("594", "reversed"), read_sum("8+7+0=15,2+6+1=09,1+3+0=04:495", "scratchpad"), read_sum("4+95")
        (495, 495, None)
    """
    if form not in FORMS:
        raise ValueError(f"read_sum: form must be one of {FORMS}, got {form!r}")
    answer = text.rpartition(":")[2] if form == "scratchpad" and ":" in text else text
    answer = answer[::-1] if form == "reversed" else answer
    is_number = answer.isascii() and answer.isdigit() and str(int(answer)) == answer
    return int(answer) if is_number else None


def expressions(count: int, seed: int = 0, *, terms: tuple[int, int] = (2, 4), largest: int = 99) -> list[str]:
    """Draw different chains of numbers and operators, such as `37*48-9`.

    The number of terms, the terms and the operators `+ - * /` are drawn with the same probability each; but seven of
    eight divisors are replaced by one that divides the number before, if there is one besides 1. What is left has
    divisions by zero and with remainders in it.

    Args:
        count: how many.
        seed: of everything.
        terms: the fewest and the most numbers, from 2.
        largest: the largest number; the smallest is 0.

    Returns:
        A list of `count` texts, none twice; `calculate` gives their values.

    Raises:
        ValueError: if there are fewer expressions than twice the count, or a size is out of range.

    Example:
        >>> expressions(4)
        ['63+51+26+30', '81/81', '63-54/2*93', '3/3+72']
    """
    fewest, most = (as_integer("expressions", "terms", number, at_least=2) for number in terms)
    largest = as_integer("expressions", "largest", largest, at_least=1)
    if fewest > most:
        raise ValueError(f"expressions: terms must be (fewest, most) from 2, got {terms}")
    there_are = (largest + 1) ** most
    if as_integer("expressions", "count", count, at_least=1) > there_are // 2:
        raise ValueError(
            f"expressions: count must be from 1 to {there_are // 2:,} with {most} terms up to {largest}, got {count:,}"
        )
    generator = np.random.default_rng(seed)
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        drawn[_chain(generator, int(generator.integers(fewest, most + 1)), largest)] = None
    return list(drawn)


def _chain(generator: np.random.Generator, terms: int, largest: int) -> str:
    """One chain of so many numbers."""
    numbers = generator.integers(0, largest + 1, terms).tolist()
    operators = generator.choice(list("+-*/"), terms - 1).tolist()
    text = str(numbers[0])
    for before, operator, number in zip(numbers, operators, numbers[1:], strict=False):
        if operator == "/" and generator.random() < 7 / 8:
            divisors = [n for n in range(2, largest + 1) if before % n == 0]
            number = int(generator.choice(divisors)) if divisors else number
        text += operator + str(number)
    return text
