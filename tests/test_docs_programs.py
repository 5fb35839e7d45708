"""The documentation does what it says: its programs run and print what they announce, and its commands exist.

The ```python blocks of a page are one program. Every line after `# prints` is a line of its output, in order. `...` in
it stands for any text, and a line with `...` for one such line or more. Blocks in ```py are for other libraries; they
are run by `test_docs_other_libraries.py`.

Commands are the lines of the other fenced blocks, and what stands in backticks and begins like a command. An experiment
(`python -m experiments.NAME`) runs with its options and `--smoke`, or with `--help` if it has none, because its smoke
run is tested elsewhere; a `make` target, an extra of pip and a file that a command names have to exist. A command of
any other kind fails, so that none goes unchecked. Scripts (```bash) and YAML are checked for their syntax.
"""

import ast
import importlib
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest

from jaxnets.__main__ import COMMANDS as LIBRARY_COMMANDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```([\w{}]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:[\w./]*python|pip|make|git) [^`]+)`")
NOT_COMMANDS = ("python", "py", "toml", "text", "json", "bash", "yaml", "{toctree}")


def pages():
    """Every page but the log, which says what was true on its day."""
    found = [*DOCS.glob("*.md"), *DOCS.glob("how-to/*.md"), *DOCS.glob("coming-from/*.md")]
    return {str(page.relative_to(ROOT)): page.read_text() for page in sorted(found) if page.name != "LOG.md"}


def program(text, kind="python"):
    return "\n".join(code for language, code in BLOCK.findall(text) if language == kind)


PROGRAMS = {name: program(text) for name, text in pages().items() if program(text)}


LONG = ("tutorial.md", "weights.md", "resume.md", "devices.md", "index.md", "sweeps.md", "troubleshooting.md")
LONG += ("gan.md", "pytorch.md", "coming-from/flax.md", "equinox.md", "keras.md")


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * page.endswith(LONG)) for page in PROGRAMS]
)
def test_program_prints_what_the_page_says(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(PROGRAMS[page], page, "exec"), {"__name__": "documentation"})
    expected = re.findall(r"# prints (.*)", PROGRAMS[page])
    assert expected, "a page's program says what it prints"
    printed = capsys.readouterr().out
    if any("..." in line for line in expected):
        assert re.fullmatch("".join(map(pattern, expected)), printed), printed
    else:
        assert printed.splitlines() == expected


def pattern(line):
    """A regular expression for what a line after `# prints` stands for."""
    text = re.escape(line + "\n")
    return f"(?:{text.replace(re.escape('...'), '.*')})+" if "..." in line else text


def blocks(language):
    """All blocks in a language, named by page and number."""
    found = [(name, code) for name, text in pages().items() for kind, code in BLOCK.findall(text) if kind == language]
    return [pytest.param(code, id=f"{name}-{number}") for number, (name, code) in enumerate(found)]


@pytest.mark.parametrize("script", blocks("bash"))
def test_scripts_have_the_syntax_of_bash(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("content", blocks("yaml"))
def test_yaml_can_be_read(content):
    yaml = pytest.importorskip("yaml")
    assert list(yaml.safe_load(content)) == ["apiVersion", "kind", "metadata", "spec"]


@pytest.mark.slow
def test_the_launch_of_several_processes_does_what_the_page_says(tmp_path):
    """The page's program, by the page's script, on a port that is free."""
    text = pages()["docs/how-to/processes.md"]
    (tmp_path / "train.py").write_text(program(text))
    script = next(code for language, code in BLOCK.findall(text) if language == "bash")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        script = script.replace(":12345", f":{free.getsockname()[1]}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout.count("True") == 1, done.stdout + done.stderr


def test_the_loop_of_ones_own_is_that_of_the_experiment():
    """The first block is the script, without its docstring."""
    page, script = DOCS / "how-to" / "own-loop.md", ROOT / "experiments" / "plain_loop.py"
    _, block = BLOCK.findall(page.read_text())[0]
    docstring = ast.parse(script.read_text()).body[0]
    assert block.splitlines() == script.read_text().splitlines()[docstring.end_lineno + 1 :]


def test_every_how_to_page_has_a_program():
    without = [name for name, text in pages().items() if "/how-to/" in name and not program(text)]
    assert not without


def commands(text):
    """The commands of a page; each part of `a && b` is one."""
    blocks = [code for language, code in BLOCK.findall(text) if not language.startswith(NOT_COMMANDS)]
    lines = [line for code in blocks for line in code.splitlines()]
    lines += INLINE.findall(BLOCK.sub("", text))
    for line in lines:
        yield from (part for part in re.split(r"\s*&&\s*", line.split(" # ")[0].strip()) if part)


THE_READERS_OWN = "train.py"
"""The program of a page, saved by its reader."""
COMMANDS = sorted({command for text in pages().values() for command in commands(text)})


def marked(command):
    """An experiment takes its time."""
    return pytest.param(command, marks=[pytest.mark.slow] if "experiments." in command else [])


@pytest.mark.parametrize("command", [marked(command) for command in COMMANDS])
def test_command_works(command, tmp_path, monkeypatch):
    words = shlex.split(command)
    while "=" in words[0]:  # settings of the environment
        words.pop(0)
    tool, rest = Path(words[0]).name, words[1:]
    if tool == "python" and rest[0] == "-m" and rest[1].startswith("experiments"):
        run_experiment(rest[1], rest[2:], tmp_path, monkeypatch)
    elif tool == "python" and rest[0] == "-m" and rest[1].partition(".")[0] == "benchmarks":
        done = subprocess.run([sys.executable, *rest, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert set(rest[2:]) <= set(re.findall(r"[\w-]+", done.stdout))
    elif tool == "python" and rest[:2] == ["-m", "jaxnets"]:
        importlib.import_module(LIBRARY_COMMANDS[rest[2]][0]).make_parser().parse_args(rest[3:])
    elif tool == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets)
    elif tool == "pip":
        assert rest[0] == "install"
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"\[([\w,]+)\]", command)
        assert {extra for group in extras for extra in group.split(",")} <= set(project["optional-dependencies"])
    elif tool == "python":
        assert rest[0] == THE_READERS_OWN or (ROOT / rest[0]).is_file()
    else:
        assert tool in ("git", "cd", "kill"), f"say in this test how to check {command!r}"


def run_experiment(module_name, options, tmp_path, monkeypatch):
    """As the command does, in this process, where JAX is loaded already."""
    if module_name == "experiments":
        monkeypatch.setattr("sys.argv", [module_name, *options])
        importlib.import_module("experiments.__main__").main()
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [module_name, *options, "--smoke"])
    monkeypatch.delitem(sys.modules, module_name, raising=False)  # or it would be run a second time, with a warning
    if not options:  # its smoke run is in tests/experiments; here is what the command adds
        monkeypatch.setattr("sys.argv", [module_name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            runpy.run_module(module_name, run_name="__main__", alter_sys=True)
        return
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        runpy.run_module(module_name, run_name="__main__", alter_sys=True)
