"""Every parser, given damaged files: the documented error or a result, little memory, and no code of a file is run.

By default each parser reads 10,000 files, a slow one fewer (`inputs` in its row of the table, so that each test ends
within about a minute); `JAXNETS_FUZZ_INPUTS=1000000` reads a hundred times as many. An input is made again by its
number, `python -m tests.fuzz.fuzzer NAME 1 NUMBER`, but for checkpoints, whose files orbax names at random.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.mutate import OPERATIONS, mutate
from tests.fuzz.parsers import PARSERS

ROOT = Path(__file__).parents[2]
DEFAULT = 10_000
INPUTS = int(os.environ.get("JAXNETS_FUZZ_INPUTS", DEFAULT))


@pytest.fixture(scope="module")
def fuzzer():
    """A process that has imported everything, and forks."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.fuzzer"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_damaged_files_give_the_documented_error_only(name, fuzzer):
    inputs = max(1, PARSERS[name].inputs * INPUTS // DEFAULT)
    fuzzer.stdin.write(f"{name} {inputs}\n")
    fuzzer.stdin.flush()
    lines = []
    while not lines or not lines[-1].startswith("status"):
        lines.append(fuzzer.stdout.readline())
        assert lines[-1], "the fuzzer has ended"
    assert lines[-1] == "status 0\n"
    report = json.loads(lines[-2])
    assert report["inputs"] == inputs
    assert not report["faults"], "\n".join(report["first"])
    few = inputs < 100  # files may all be readable: a run has older checkpoints beside a damaged one
    assert report["accepted"] < inputs or few or name == "text"


CARELESS = """
import json, pickle
import numpy as np
from tests.fuzz import fuzzer, parsers

def sample(folder, seed):
    return {"a": pickle.dumps([1, 2] if seed == 0 else parsers.Hostile(), protocol=2)}

def content(place):
    return (place / "a").read_bytes()

def unpickle(place):
    try:
        pickle.loads(content(place))
    except Exception as error:
        raise ValueError(f"{place / 'a'}: {error}") from error

careless = {
    "code": unpickle,
    "error": lambda place: json.loads(content(place).decode()) if content(place)[:2] != b"\\x80\\x02" else None,
    "memory": lambda place: np.zeros(int.from_bytes(content(place)[:2], "big") << 9, np.uint8),
}
for name, read in careless.items():
    parsers.PARSERS[name] = parsers.Parser(sample, read)
    print(json.dumps(fuzzer.main(name, 500)))
"""


@pytest.mark.slow
def test_careless_parsers_are_found_out():
    done = subprocess.run([sys.executable, "-c", CARELESS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    code, error, memory = (json.loads(line) for line in done.stdout.splitlines())
    assert any("make a folder" in fault or "pickle.find_class" in fault for fault in code["first"])
    assert any("does not name the file" in fault for fault in error["first"])
    assert any("bytes allocated for" in fault for fault in memory["first"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation_is_the_same_for_the_same_generator(operation):
    content, other = b"header 12, 345 and a body of bytes" * 3, b"another file: 6789" * 4
    first, again, *more = (operation(content, other, np.random.default_rng(seed)) for seed in (0, 0, *range(1, 20)))
    assert first == again
    assert len({first, *more} - {content}) > 5
    assert all(isinstance(operation(b"", b"", np.random.default_rng(seed)), bytes) for seed in range(20))


def test_damage_is_the_same_for_the_same_generator_and_differs_from_one_to_the_next():
    content, other = bytes(range(200)), b"another file"
    first, again, third = (mutate(content, other, np.random.default_rng([seed, 0])) for seed in (4, 4, 5))
    assert first == again
    assert len({content, first, third}) == 3
