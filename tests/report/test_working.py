"""What is said while a long call shows nothing."""

import pytest

from jaxnets.report import working
from tests.report.test_progress import HIDE_CURSOR, SHOW_CURSOR, console


def test_elsewhere_than_in_a_terminal_it_is_one_line_at_the_beginning():
    target = console(False)
    with working("training [64] networks", target):
        assert target.file.getvalue() == "training [64] networks ...\n"
    assert target.file.getvalue() == "training [64] networks ...\n"


def test_in_a_terminal_it_goes_again():
    target = console(True)
    with working("training [64] networks", target):
        pass
    written = target.file.getvalue()
    assert "training [64] networks" in written
    assert "0:00:00" in written
    assert written.startswith(HIDE_CURSOR)
    after = written.rpartition("0:00:00")[2]
    assert SHOW_CURSOR in after
    assert "\x1b[2K" in after  # the line is erased


def test_an_error_passes():
    with pytest.raises(ValueError, match="of the block"), working("failing", console(True)):
        raise ValueError("of the block")
