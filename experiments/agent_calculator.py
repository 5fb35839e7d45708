"""An agent with a calculator: a small GPT learns when to call it and what with, and a loop runs it.

The network writes `[37*48]` behind `37*48-9=` and stops; the loop computes the call with a parser of arithmetic, never
`eval`, and lets the network read `1776;`, whose keys and values go behind those of the past; the network goes on with
`[1776-9]`, reads `1767;` and answers `1767`. A call that cannot be read gets `?`, one whose value is no whole number
`!`. Another network of the same size learns to answer the same questions at once.

expected:  share of 1,000 held-out questions answered right (mean of three seeds): 0.977 with the tool, 0.101 without;
           0.614 if the first call of every question is not understood
time:      5 min of processor time
compile:   7.8 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon beside other work, jax 0.10.2
command:   python -m experiments.agent_calculator --seed 0
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from experiments.support.agent import Trace, make_agent, run_tool, transcript, transcript_weights
from experiments.support.agent_figure import plot_agent
from experiments.support.arithmetic import NetworkSettings, encode, make_answer, make_network, make_train
from jaxnets.config import PositiveInt
from jaxnets.data import expressions
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.report import RunFolder, plot_curves

CONTEXT = 72
"""Characters of a question with all calls and results."""
TERMS = 2, 4
"""The fewest and the most numbers of a question: one to three calls."""
HOT = 1.5
"""A temperature at which mistakes happen."""


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings):
    """Settings of the experiment."""

    examples: PositiveInt = 20_000
    """Questions with worked answers."""
    held_out: PositiveInt = 1_000
    """Other questions, which are asked."""
    steps: PositiveInt = 1_200
    """Of the training of either network."""
    spoiled: float = 0.1
    """Share of the worked answers in which a call is spoiled and made again, so that the network learns to."""
    max_calls: int = 4
    """After as many calls the loop ends a question without an answer."""


def value(question: str) -> str:
    """The right answer: the value of the calculator, `!` if there is none or it is no whole number on the way."""
    return transcript(question).rpartition(";")[2]


def compute(call: str, _: int) -> str:
    """A calculator that works."""
    return run_tool(call)


class Flaky:
    """A calculator that does not understand the first call of every question."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __call__(self, call: str, question: int) -> str:
        """Compute a call of the question of that number."""
        if question not in self.seen:
            self.seen.add(question)
            return "?"
        return run_tool(call)


def summarize(traces: Sequence[Trace], questions: Sequence[str]) -> dict[str, float]:
    """Shares of right answers, by number of calls needed too, and of what went wrong."""
    right = np.array([t.answer == value(q) for t, q in zip(traces, questions, strict=True)])
    operators = np.array([sum(c in "+-*/" for c in q) for q in questions])
    ends = Counter(t.end for t in traces)
    shares = {f"right_{n}_operators": float(right[operators == n].mean()) for n in np.unique(operators)}
    shares = {"right": float(right.mean())} | shares
    shares |= {end: ends[end] / len(traces) for end in ("answered", "too many calls", "too long")}
    results = [result for t in traces for _, result in t.calls]
    shares["calls"] = len(results) / len(traces)
    shares |= {name: results.count(mark) / len(traces) for name, mark in (("bad_calls", "?"), ("tool_errors", "!"))}
    return shares


def lines(title: str, traces: Sequence[Trace], questions: Sequence[str], shown: int = 6) -> list[str]:
    """The first transcripts, right and wrong ones."""
    texts = [title]
    for wrong in (False, True):
        chosen = [(t, q) for t, q in zip(traces, questions, strict=True) if (t.answer != value(q)) == wrong][:shown]
        texts += [f"  {t.text}   {t.end}" + wrong * f", wrong: it is {value(q)}" for t, q in chosen]
    return [*texts, ""]


def train_both(config: Config, folder: RunFolder, questions: Sequence[str]) -> tuple[Any, Any, Any]:
    """Train the agent's network and the one that answers at once; returns their settings and parameters."""
    network = make_network(config, context=CONTEXT)

    def log(name: str) -> Callable[[int, float, Any], None]:
        def write(step: int, loss: float, _: Any) -> None:
            epoch = step * config.batch_size / len(questions)
            folder.append_metrics(step=step, epoch=epoch, split="train", metrics={f"{name}_loss": loss})
            print(f"{name}, step {step}: loss {loss:.4f}", flush=True)

        return write

    generator = np.random.default_rng(config.seed)
    texts = [transcript(q, generator if generator.random() < config.spoiled else None) for q in questions]
    ids, _ = encode(texts, CONTEXT)
    agent = make_train(config, network, config.steps)(ids, transcript_weights(texts, CONTEXT), log("agent"))
    answers = [f"{q}={value(q)}" for q in questions]
    at_once = make_train(config, network, config.steps)(*encode(answers, 24), log("at_once"))
    return network, agent, at_once


SMOKE = {"layers": 1, "features": 16, "steps": 5, "batch_size": 8, "examples": 32, "held_out": 16}


@in_run_folder(smoke=SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train both networks, let the agent work under good and bad conditions, and draw."""
    drawn = expressions(2 * (config.held_out + config.examples), config.seed, terms=TERMS)
    short = [q for q in drawn if len(transcript(q)) < CONTEXT - 14][: config.held_out + config.examples]
    held_out, worked = short[: config.held_out], short[config.held_out :]
    network, params, at_once = train_both(config, folder, worked)
    found: dict[str, dict[str, float]] = {}
    written: list[str] = []

    solve, key = make_agent(network, CONTEXT), jax.random.key(config.seed)

    def examine(name: str, tool: Any = compute, max_calls: int = config.max_calls, temperature: float = 0.0) -> None:
        traces = solve(params, held_out, tool, key, max_calls=max_calls, temperature=temperature)
        found[name] = summarize(traces, held_out)
        written.extend(lines(name, traces, held_out))
        print(f"{name}: " + ", ".join(f"{key} {x:.3f}" for key, x in found[name].items()), flush=True)

    examine("with the tool")
    examine("first call not understood", tool=Flaky())
    examine("one call at most", max_calls=1)
    examine(f"drawn at temperature {HOT}", temperature=HOT)
    answers = make_answer(network, 12, 12)(at_once, [q + "=" for q in held_out])
    traces = [Trace(f"{q}={a}", a, "answered", []) for q, a in zip(held_out, answers, strict=True)]
    found["without the tool"] = summarize(traces, held_out)
    written += lines("without the tool", traces, held_out)
    print("without the tool: " + ", ".join(f"{key} {x:.3f}" for key, x in found["without the tool"].items()))
    (folder.path / "transcripts.txt").write_text("\n".join(written), encoding="utf-8")

    def figures() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot_agent(found, folder.path / "agent_calculator.png")

    return Findings(found, {"agent": params, "at_once": at_once}, draw=figures)


if __name__ == "__main__":
    main(Config, run, __doc__)
