"""`PARITY=0` skips what needs PyTorch and nothing else, and counts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "test_all.py": "import torch.nn as nn\n\ndef test_a():\n    pass\n\ndef test_b():\n    pass\n",
    "test_helped.py": "import pytest\n\ntorch = pytest.importorskip('torch')\n\ndef test_f():\n    pass\n",
    "test_some.py": "def test_c():\n    import torch\n\ndef test_d():\n    pass\n",
    "test_broken.py": "def test_e():\n    import no_such_package\n",
}


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_needs_pytorch_is_skipped_and_counted(tmp_path, processes):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.without_torch", "-c", os.devnull, "-n", processes, tmp_path]
    environment = {**os.environ, "PARITY": "0"}
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert "PARITY=0: 1 tests, and 3 test functions in 2 files, need PyTorch and were skipped" in done.stdout
    assert "1 failed, 1 passed, 3 skipped" in done.stdout
    assert "No module named 'no_such_package'" in done.stdout
