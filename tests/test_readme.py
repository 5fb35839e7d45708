"""The README's example runs as it stands."""

import re
from pathlib import Path

import jax
import pytest

README = Path(__file__).parent.parent / "README.md"


def examples():
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(examples())))
def test_example_runs(number, capsys):
    namespace = {"__name__": "readme"}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(examples()[number], f"README example {number}", "exec"), namespace)
    expected = re.findall(r"# prints (.*)", examples()[number])
    assert expected, "every example says what it prints"
    for line in expected:
        assert line in capsys.readouterr().out
