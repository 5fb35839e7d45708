"""Dates as people write them and as ISO 8601 does, generated from a seed: a small task from sequence to sequence."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np

from jaxnets.data.tokenizers import Vocabulary

FIRST, LAST = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)
"""A century in which two digits stand for one year, 69 to 99 and 00 to 68, as POSIX reads them."""
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

IN_WORDS = (
    "{weekday}, {month} {day} {year}",
    "{weekday}, {month} {day}, {year}",
    "{weekday:.3}, {day} {month:.3} {year}",
    "{month} {day}, {year}",
    "{month:.3} {day:02}, {year}",
    "{month} {day}{ending}, {year}",
    "{day} {month} {year}",
    "{day:02}-{month:.3}-{year}",
    "the {day}{ending} of {month} {year}",
)
IN_NUMBERS = ("{day}.{number}.{short:02}", "{day:02}.{number:02}.{year}", "{number}/{day}/{short:02}")
"""Which of two numbers is the month is clear only if the other is larger than 12."""

PAD, BEGIN, END = "\0", "\2", "\3"
"""The characters for nothing, for the start and for the end of a text; their numbers are 0, 1 and 2."""
WRITTEN = Vocabulary(PAD + BEGIN + END + " ,-./0123456789ADFJMNOSTWabcdefghijlmnoprstuvwy")
ISO = Vocabulary(PAD + BEGIN + END + "-0123456789")
LONGEST = len("Wednesday, September 30, 2020")


class DateSet(NamedTuple):
    """Dates in two forms.

    Attributes:
        written: as people write them, such as `"Saturday, March 7 1998"`.
        iso: the same days as `"1998-03-07"`, no day twice.
    """

    written: list[str]
    iso: list[str]


def dates(count: int, seed: int = 0) -> DateSet:
    """Generate dates in twelve English forms, and the same days in ISO's.

    The days are from 1969-01-01 to 2068-12-31, all with the same probability and in random order. No day comes twice,
    so that parts of the set have no day in common, and the first ones of a larger set are those of a smaller one. Half
    of the dates are in lower case. The forms, for the 7th and the 25th of March 1998:

        Saturday, March 7 1998      March 7, 1998       7 March 1998               25.3.98
        Saturday, March 7, 1998     Mar 07, 1998        07-Mar-1998                25.03.1998
        Sat, 7 Mar 1998             March 7th, 1998     the 7th of March 1998      3/25/98

    Those of the last column are only for days after the 12th, so that there is one way to read each.

    Args:
        count: how many, at most 36,525.
        seed: of days and forms.

    Returns:
        Two lists of `count` strings.

    Raises:
        ValueError: if there are not that many days.

    Example:
        >>> for written, iso in zip(*dates(3)):
        ...     print(iso, written)
        1977-09-20 9/20/77
        1983-06-21 tuesday, june 21, 1983
        2028-04-01 saturday, april 1, 2028
    """
    days = (LAST - FIRST).days + 1
    if not 1 <= count <= days:
        raise ValueError(f"dates: count must be from 1 to {days:,}, the days from {FIRST} to {LAST}, got {count}")
    generator = np.random.default_rng(seed)
    order, choices, lower = generator.permutation(days), generator.random(days), generator.random(days) < 0.5
    drawn = [FIRST + datetime.timedelta(days=int(offset)) for offset in order[:count]]
    written = [_write(day, *choice) for day, choice in zip(drawn, zip(choices, lower, strict=True), strict=False)]
    return DateSet(written, [day.isoformat() for day in drawn])


def _write(day: datetime.date, choice: float, lower: bool) -> str:
    """Write a day in one of its forms; `choice`, in [0, 1), says in which."""
    forms = IN_WORDS + IN_NUMBERS if day.day > 12 else IN_WORDS
    text = forms[int(choice * len(forms))].format(
        weekday=WEEKDAYS[day.weekday()],
        month=MONTHS[day.month - 1],
        number=day.month,
        day=day.day,
        ending=_ending(day.day),
        year=day.year,
        short=day.year % 100,
    )
    return text.lower() if lower else text


def _ending(day: int) -> str:
    """The ending of an ordinal number, as in 1st, 2nd, 3rd, 4th, 11th."""
    return "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def date_ids(data: DateSet) -> tuple[np.ndarray, np.ndarray]:
    """Number the characters of dates, for a network.

    Args:
        data: of `dates`.

    Returns:
        The written dates, int32 `[count, 29]` with 0 behind their ends, and the ISO dates, int32 `[count, 12]` between
        1, where they begin, and 2, where they end; `date_vocabularies` says which number is which character.

    Raises:
        ValueError: if a character is not in the vocabulary, or a written date is longer than 29 characters.

    Example:
        >>> source, target = date_ids(DateSet(["7 May 1998"], ["1998-05-07"]))
        >>> source.shape, target
        ((1, 29), array([[ 1,  5, 13, 13, 12,  3,  4,  9,  3,  4, 11,  2]], dtype=int32))
        >>> date_vocabularies()[0].decode(source[0, :10])
        '7 May 1998'
    """
    if too_long := [text for text in data.written if len(text) > LONGEST]:
        raise ValueError(f"date_ids: a written date has at most {LONGEST} characters, got {too_long[0]!r}")
    source = [WRITTEN.encode(text.ljust(LONGEST, PAD)) for text in data.written]
    target = [ISO.encode(BEGIN + text + END) for text in data.iso]
    return np.stack(source), np.stack(target)


def date_vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """Return the characters of written dates and those of ISO dates.

    In both, 0 is padding, 1 the begin and 2 the end.

    Example:
        >>> written, iso = date_vocabularies()
        >>> len(written.characters), len(iso.characters), iso.characters[3:]
        (50, 14, '-0123456789')
    """
    return WRITTEN, ISO
