"""Dates against Python's `datetime`, which reads what was written."""

import datetime
import re

import numpy as np
import pytest

from jaxnets.data import DateSet, date_ids, date_vocabularies, dates

DAYS = 36_525
FORMS = (
    "%A, %B %d %Y", "%A, %B %d, %Y", "%a, %d %b %Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d-%b-%Y",
    "the %d of %B %Y", "%d.%m.%y", "%m.%d.%y", "%d.%m.%Y", "%m.%d.%Y", "%d/%m/%y", "%m/%d/%y",
)  # fmt: skip
"""Those that are written, and those of numbers in the other order."""


def readings(text):
    """The days that a written date may mean."""
    text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text)
    for form in FORMS:
        try:
            yield datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue


def test_there_is_one_way_to_read_each_and_it_is_the_iso_date():
    for written, iso in zip(*dates(4000, seed=1), strict=True):
        assert set(readings(written)) == {datetime.date.fromisoformat(iso)}, written


def test_weekdays_are_those_of_the_calendar_and_ordinals_those_of_english():
    named = ordinal = 0
    english = {1: "1st", 2: "2nd", 3: "3rd", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 22: "22nd", 23: "23rd"}
    for written, iso in zip(*dates(4000, seed=2), strict=True):
        day = datetime.date.fromisoformat(iso)
        if found := re.match(r"([A-Za-z]+), \w+ \d+,? \d|([A-Za-z]{3}), \d", written):
            expected = day.strftime("%A" if found[1] else "%a")
            assert (found[1] or found[2]).lower() == expected.lower()
            named += 1
        if found := re.search(r"\d+(st|nd|rd|th)", written):
            assert found[0] == english.get(day.day, "31st" if day.day == 31 else f"{day.day}th")
            ordinal += 1
    assert named > 500
    assert ordinal > 500


def test_every_day_comes_once_and_a_seed_decides():
    every = dates(DAYS, seed=3)
    first = datetime.date(1969, 1, 1)
    assert sorted(every.iso) == [str(first + datetime.timedelta(days=n)) for n in range(DAYS)]
    assert dates(50, seed=3) == DateSet(every.written[:50], every.iso[:50])
    assert dates(50, seed=4).iso != every.iso[:50]


def test_ids_are_the_texts_and_every_character_of_the_vocabulary_occurs():
    every = dates(DAYS)
    source, target = date_ids(every)
    written, iso = date_vocabularies()
    assert [written.decode(row).rstrip("\0") for row in source[:300]] == every.written[:300]
    assert [iso.decode(row) for row in target[:300]] == [f"\2{text}\3" for text in every.iso[:300]]
    for vocabulary, ids, unused in ((written, source, {1, 2}), (iso, target, {0})):
        assert set(np.unique(ids).tolist()) | unused == set(range(len(vocabulary.characters)))
        assert list(vocabulary.characters) == sorted(vocabulary.characters)


def test_errors():
    for count in (0, DAYS + 1):
        with pytest.raises(ValueError, match=rf"from 1 to 36,525, .* from 1969-01-01 to 2068-12-31, got {count}"):
            dates(count)
    with pytest.raises(ValueError, match="at most 29 characters, got 'on Wednesday"):
        date_ids(DateSet(["on Wednesday, September 30, 2020"], ["2020-09-30"]))
    with pytest.raises(ValueError, match="character 'ä' at position 1 is not among the 50"):
        date_ids(DateSet(["Jänner 7, 1998"], ["1998-01-07"]))
