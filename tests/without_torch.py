"""`make test PARITY=0`: what imports PyTorch is skipped, and the end of the run says how much that was.

A file that imports it is skipped whole, because nothing can be said of what is in it; else the single tests are.
"""

import os
import re
import sys
from pathlib import Path

import pytest

PACKAGES = ("torch", "torchvision", "transformers")
ASKED = os.environ.get("PARITY") == "0"
REASON = "needs PyTorch, and PARITY=0"
SAID = re.compile(f"{REASON}|could not import '({'|'.join(PACKAGES)})")  # also what `pytest.importorskip` says
FUNCTION = re.compile(r"^ *def test_", re.MULTILINE)


class NotFound:
    """Finds none of these packages, also where they are installed, so that the number is the same there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in PACKAGES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if ASKED:
    sys.meta_path.insert(0, NotFound)


def needs_torch(error):
    """Whether this, or what it comes from, is the failed import of one of these packages."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in PACKAGES:
            return True
        error = error.__cause__
    return False


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if ASKED and report.failed and needs_torch(report.call.excinfo.value):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 1, f"Skipped: {REASON}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    try:
        return (yield)
    except ImportError as error:
        if ASKED and needs_torch(error):
            pytest.skip(REASON)
        raise


def pytest_terminal_summary(terminalreporter):
    if not ASKED:
        return
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if SAID.search(str(report.longrepr))]
    files = {report.longrepr[0] for report in skipped if isinstance(report, pytest.CollectReport)}
    functions = sum(len(FUNCTION.findall(Path(file).read_text())) for file in files)
    single = sum(isinstance(report, pytest.TestReport) for report in skipped)
    terminalreporter.write_line(
        f"PARITY=0: {single} tests, and {functions} test functions in {len(files)} files, need PyTorch and were skipped"
    )
