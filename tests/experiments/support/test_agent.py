"""The agent's loop, with networks that write what is known beforehand, and its transcripts, against Python."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.support import agent
from experiments.support.arithmetic import END, VOCABULARY, NetworkSettings, make_network
from jaxnets import decode, models
from jaxnets.data import encode_all, expressions, pad_sequences

KEY = jax.random.key(0)


def tool(call, _):
    return agent.run_tool(call)


@pytest.fixture
def knowing(monkeypatch):
    """Make a network that writes given texts, whatever it is asked, character after character with what it reads."""

    def make(texts, capacity=64):
        wanted, _ = pad_sequences(encode_all(VOCABULARY, texts, end=True), 64)

        def step(carry, _):
            rows, place = carry
            following = jnp.asarray(wanted)[rows, place + 1]
            return jax.nn.one_hot(following, VOCABULARY.size), (rows, place + 1)

        start = jnp.arange(len(texts)), jnp.zeros(len(texts), jnp.int32)
        monkeypatch.setattr(agent, "gpt_carry", lambda *_, **__: start)
        monkeypatch.setattr(agent, "gpt_step", lambda *_: decode.one_by_one(step))
        return agent.make_agent(None, capacity)

    return make


def test_the_loop_runs_calls_and_handles_what_goes_wrong(knowing):
    texts = {
        "6*7-2": "6*7-2=[6*7]42;[42-2]40;40",  # two calls
        "1+1": "1+1=2",  # none
        "8/0": "8/0=[8/0]!;!",  # the tool has no result
        "5/2": "5/2=[5/2]!;!",
        "3*3": "3*3=[3**3]?;[3*3]9;9",  # the tool does not understand the first call
        "2+2": "2+2=[2+2]4;[4+0]4;[4+0]4;[4+0]4;4",  # more calls than allowed
        "9+9": "9+9=999999999999999999999999999",  # neither a call nor an end
    }
    traces = knowing(list(texts.values()))({}, list(texts), tool, KEY, max_calls=2)
    assert [trace.text for trace in traces[:5]] == list(texts.values())[:5]
    assert [trace.answer for trace in traces[:5]] == ["40", "2", "!", "!", "9"]
    assert [trace.end for trace in traces] == ["answered"] * 5 + ["too many calls", "too long"]
    assert traces[0].calls == [("6*7", "42"), ("42-2", "40")]
    assert traces[4].calls == [("3**3", "?"), ("3*3", "9")]
    assert traces[5].text == "2+2=[2+2]4;[4+0]4;[4+0]"
    assert len(traces[6].text) == len("9+9=") + agent.LONGEST


def test_a_result_that_does_not_fit_ends_the_question(knowing):
    solve = knowing(["9*9=[9*9]81;[81*9]729;[729*9]6561;6561"], capacity=20)
    (trace,) = solve({}, ["9*9"], tool, KEY, max_calls=5)
    assert trace.end == "too long"
    assert len(trace.text) <= 20


def test_the_results_of_the_tool_are_read_with_the_past():
    """Every character that the network wrote is the likeliest after all before it, by a pass without a cache."""
    network = make_network(NetworkSettings(layers=1, heads=2, features=16), context=48)
    model, solve = models.gpt(network), agent.make_agent(network, 48)
    apply = jax.jit(lambda params, ids: model.apply(params, {}, ids, train=False)[0].argmax(axis=-1))
    questions, by_tool = ["12*3", "7-90+8"], 0
    for seed in range(2):
        params, _ = model.init(jax.random.key(seed))
        scales = {"tokens": 20, "positions": 40, "blocks": 8, "norm": 1}  # so that it does not repeat a character
        params = {name: jax.tree.map(lambda x, by=scales[name]: by * x, part) for name, part in params.items()}
        params["tokens"]["embedding"] = params["tokens"]["embedding"].at[0].set(0)  # nor writes padding
        traces = solve(params, questions, lambda *_: "-45", KEY, max_calls=3)
        ids, _ = pad_sequences(encode_all(VOCABULARY, [trace.text for trace in traces]), 48)
        likeliest = np.asarray(apply(params, ids))
        for i, (trace, question) in enumerate(zip(traces, questions, strict=True)):
            read = {n for found in re.finditer(r"(?<=\])-45;", trace.text) for n in range(*found.span())}
            written = [n for n in range(len(question) + 1, len(trace.text)) if n not in read]
            assert ids[i, written].tolist() == likeliest[i, np.array(written) - 1].tolist(), trace
            by_tool += len(read)
    assert by_tool > 0


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("37*48", "1776"),
        ("12-50", "-38"),
        ("-38+3", "-35"),
        ("84/7", "12"),
        ("7/0", "!"),
        ("7/2", "!"),
        ("99999999*9999", "!"),  # of twelve digits
        ("", "?"),
        ("37**48", "?"),
        ("import os", "?"),
        ("1" * 300, "?"),
    ],
)
def test_the_tool(call, result):
    assert agent.run_tool(call) == result


def test_worked_answers_are_right_in_every_call():
    generator = np.random.default_rng(0)
    for question in expressions(300, seed=3):
        text = agent.transcript(question)
        calls = agent.worked_calls(question)
        assert text == f"{question}=" + "".join(f"[{c}]{r};" for c, r in calls) + calls[-1][1]
        for call, result in calls:
            first, operator, second = re.fullmatch(r"(-?\d+)(\D)(\d+)", call).groups()
            assert operator in question
            if result != "!":
                inverse = {"+": (result, "-"), "-": (result, "+"), "*": (result, "/"), "/": (result, "*")}[operator]
                if (operator, second) != ("*", "0"):
                    assert agent.run_tool(f"{inverse[0]}{inverse[1]}{second}") == first
            else:
                assert second == "0" or int(first) % int(second) or len(str(int(first) * int(second))) > 11
        if calls[-1][1] != "!":
            assert len(calls) == len(re.findall(r"[-+*/]", question))
        assert agent.run_tool(agent.spoil(calls[0][0], generator)) == "?"


def test_only_what_the_network_writes_right_has_weight():
    text = "6*7-2=[6*]?;[6*7]42;[42-2]40;40"
    marks = "      1     11111   111111   11"
    weights = agent.transcript_weights([text], 36)[0]
    assert weights.shape == (35,)
    expected = [float(mark == "1") for mark in marks[1:]] + [1.0]  # the end has weight too
    assert weights.tolist() == expected + [0.0] * (35 - len(expected))
    assert VOCABULARY.special["end"] == END
