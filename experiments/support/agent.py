"""An agent with a calculator: its transcripts, its tool, and the loop between network and tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from experiments.support.arithmetic import END, PAD, VOCABULARY
from jaxnets import decode
from jaxnets.data import calculate, encode_all, pad_sequences
from jaxnets.decode import Sampling
from jaxnets.models import GPTConfig, gpt_carry, gpt_step
from jaxnets.random import subkey

CALL_END = int(VOCABULARY.encode("]")[0])
WIDTH = 12
"""Characters of the longest question with its `=`, and of the longest result with its `;`."""
LONGEST = 20
"""Characters that the network may write at once: a call, or an answer."""
NOT_UNDERSTOOD, NO_RESULT = "?", "!"


class Trace(NamedTuple):
    """What became of a question.

    Attributes:
        text: all that was written, by the network and the tool.
        answer: what is behind the last result.
        end: `"answered"`, `"too many calls"`, or `"too long"`: neither a call nor an answer in the room there was.
        calls: calls and their results.
    """

    text: str
    answer: str
    end: str
    calls: list[tuple[str, str]]


def run_tool(call: str) -> str:
    """Compute a call: a number, `?` if it cannot be read, `!` if the value is none, or not whole, or too long."""
    try:
        value = calculate(call)
    except ValueError:
        return NOT_UNDERSTOOD
    except ZeroDivisionError:
        return NO_RESULT
    text = str(value)
    return text if value.denominator == 1 and len(text) < WIDTH else NO_RESULT


def worked_calls(question: str) -> list[tuple[str, str]]:
    """The calls that compute a chain such as `37*48-9`, products first, and their results, up to one without."""
    parts, calls = re.findall(r"\d+|[-+*/]", question), list[tuple[str, str]]()
    while len(parts) > 1 and (not calls or calls[-1][1] != NO_RESULT):
        place = next((i for i in range(1, len(parts), 2) if parts[i] in "*/"), 1)
        call = "".join(parts[place - 1 : place + 2])
        calls.append((call, run_tool(call)))
        parts[place - 1 : place + 2] = [calls[-1][1]]
    return calls


def transcript(question: str, generator: np.random.Generator | None = None) -> str:
    """A worked answer, such as `37*48=[37*48]1776;1776`; with a generator, a spoiled call comes before a right one."""
    calls = worked_calls(question)
    answer = calls[-1][1]
    if generator is not None:
        place = int(generator.integers(len(calls)))
        calls.insert(place, (spoil(calls[place][0], generator), NOT_UNDERSTOOD))
    return f"{question}=" + "".join(f"[{call}]{result};" for call, result in calls) + answer


def spoil(call: str, generator: np.random.Generator) -> str:
    """Make a call that cannot be read: an operator twice, or a number missing."""
    first, operator, second = re.fullmatch(r"(-?\d+)(.)(\d+)", call).groups()  # type: ignore[union-attr]
    wrong = [f"{first}{operator}*{second}", f"{first}{operator}", f"{first}{operator}{second}{operator}"]
    return wrong[int(generator.integers(len(wrong)))]


def transcript_weights(texts: Sequence[str], width: int) -> np.ndarray:
    """Weights `[texts, width - 1]`: 1 where the next character is the network's to write, and right.

    They are 0 at questions, at results, which the tool writes, and at spoiled calls.
    """
    weights = np.zeros((len(texts), width), np.float32)
    for row, text in zip(weights, texts, strict=True):
        row[text.index("=") + 1 : len(text) + 1] = 1
        for found in re.finditer(r"\[([^]]*)\]([^;]*);", text):
            row[found.start(1 if found[2] == NOT_UNDERSTOOD else 2) : found.end()] = 0
    return weights[:, 1:]


Tool: TypeAlias = Callable[[str, int], str]
"""`tool(call, question)`: the result of a call of the question of that number."""


def make_agent(network: GPTConfig, capacity: int) -> Callable[..., list[Trace]]:
    """Make `solve(params, questions, tool, key, max_calls=, temperature=)`: network and tool write in turns.

    At a temperature of 0 the likeliest characters are written.

    Args:
        network: its settings.
        capacity: how many characters a question may have with all calls and results.
    """

    @jax.jit
    def go_on(params: Any, carry: Any, ids: Any, lengths: Any, limits: Any, temperature: Any, key: Any) -> Any:
        """Read a question or a result, and write up to the end of a call or an answer."""
        settings: Any = {"sampling": Sampling(temperature), "stop": [END, CALL_END], "pad": PAD, "key": key}
        step = gpt_step(network, params)
        return decode.generate(step, carry, ids, LONGEST, lengths=lengths, limits=limits, **settings)

    def solve(
        params: Any, questions: Sequence[str], tool: Tool, key: Any, *, max_calls: int, temperature: float = 0.0
    ) -> list[Trace]:
        texts, ends = [f"{question}=" for question in questions], [""] * len(questions)
        calls: list[list[tuple[str, str]]] = [[] for _ in questions]
        news, used = list(texts), np.zeros(len(texts), np.int32)
        carry = gpt_carry(network, params, batch=len(texts), capacity=capacity)
        for turn in range(max_calls + 1):
            ids, lengths = pad_sequences(encode_all(VOCABULARY, news), WIDTH)
            used += lengths
            room = np.where([end == "" for end in ends], np.clip(capacity - used, 0, LONGEST), 0)
            drawn = go_on(params, carry, ids, lengths, room.astype(np.int32), temperature, subkey(key, turn))
            carry, news = drawn.carry, [""] * len(texts)  # questions that have ended read nothing
            written, counts = np.asarray(drawn.ids), np.asarray(drawn.real).sum(axis=1)
            used += counts
            for i in [i for i, end in enumerate(ends) if end == ""]:
                texts[i] += VOCABULARY.decode(written[i, : counts[i]])
                ends[i] = how_it_ended(written[i, : counts[i]], turn == max_calls)
                if ends[i] == "":
                    call = texts[i].rpartition("[")[2].removesuffix("]")
                    result = tool(call, i)
                    calls[i].append((call, result))
                    if used[i] + len(result) + 1 < capacity:
                        news[i] = f"{result};"
                        texts[i] += news[i]
                    else:
                        ends[i] = "too long"
            if all(ends):
                break
        answers = [text.rpartition(";")[2].rpartition("=")[2] for text in texts]
        return [Trace(*parts) for parts in zip(texts, answers, ends, calls, strict=True)]

    return solve


def how_it_ended(written: np.ndarray, is_last: bool) -> str:
    """How a question ended with what was written in a turn; `""` if it goes on with the result of a call."""
    last = written[-1] if len(written) else PAD
    if last == CALL_END:
        return "too many calls" if is_last else ""
    return "answered" if last == END else "too long"
