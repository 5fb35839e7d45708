"""Sequence to sequence with recurrent layers against the same network in PyTorch, and its other forms against it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode, models
from jaxnets.weights import recurrent_to_torch
from tests.forms import float64

CONFIG = models.Seq2SeqConfig(11, 13, embedding=4, hidden=6)
SOURCE = np.array([[3, 4, 5, 6, 0], [7, 8, 0, 0, 0], [1, 2, 3, 4, 5]], np.int32)
TARGET = np.array([[1, 5, 6, 7], [1, 9, 0, 0], [1, 12, 2, 0]], np.int32)
INPUTS = models.SourceTarget(SOURCE, TARGET)
CELLS, ATTENTIONS = ("lstm", "gru"), ("additive", "multiplicative", "none")

cells = pytest.mark.parametrize("cell", CELLS)
attentions = pytest.mark.parametrize("attention", ATTENTIONS)


class Theirs(torch.nn.Module):
    """The equations of the documentation, step by step."""

    def __init__(self, cell, attention, embedding=4, hidden=6):
        super().__init__()
        layer = {"lstm": (torch.nn.LSTM, torch.nn.LSTMCell), "gru": (torch.nn.GRU, torch.nn.GRUCell)}[cell]
        memory = 2 * hidden
        extra = {"additive": memory, "multiplicative": hidden, "none": 0}[attention]
        features = hidden + memory + embedding if attention == "additive" else hidden
        self.kind, self.hidden = attention, hidden
        self.source, self.target = torch.nn.Embedding(11, embedding), torch.nn.Embedding(13, embedding)
        self.encoder = layer[0](embedding, hidden, batch_first=True, bidirectional=True)
        self.decoder = layer[1](embedding + extra, hidden)
        self.begin = torch.nn.ModuleDict({"hidden": torch.nn.Linear(memory, hidden)})
        if cell == "lstm":
            self.begin["cell"] = torch.nn.Linear(memory, hidden)
        if attention == "additive":
            self.query, self.memory = torch.nn.Linear(hidden, hidden), torch.nn.Linear(memory, hidden, bias=False)
            self.score = torch.nn.Linear(hidden, 1, bias=False)
        if attention == "multiplicative":
            self.product, self.mix = (
                torch.nn.Linear(hidden, memory, bias=False),
                torch.nn.Linear(hidden + memory, hidden, bias=False),
            )
        self.out = torch.nn.Linear(features, 13)

    def attend(self, hidden, memory, real):
        if self.kind == "additive":
            scores = self.score(torch.tanh(self.query(hidden)[:, None] + self.memory(memory)))[..., 0]
        else:
            scores = torch.einsum("bf,bkf->bk", self.product(hidden), memory)
        weights = torch.softmax(scores.masked_fill(~real, -torch.inf), dim=-1)
        return torch.einsum("bk,bkf->bf", weights, memory), weights

    def forward(self, source, target):
        real = source != 0
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            self.source(source), real.sum(dim=1), batch_first=True, enforce_sorted=False
        )
        memory, ends = self.encoder(packed)
        memory, _ = torch.nn.utils.rnn.pad_packed_sequence(memory, batch_first=True, total_length=source.shape[1])
        ends = ends if isinstance(ends, tuple) else (ends,)
        first = [torch.cat([end[0], end[1]], dim=-1) for end in ends]
        names = ("hidden", "cell")[: len(first)]
        state = [torch.tanh(self.begin[name](end)) for name, end in zip(names, first, strict=True)]
        fed, logits, looks = torch.zeros(len(source), self.hidden, dtype=memory.dtype), [], []
        for ids in target.T:
            word = self.target(ids)
            x = word
            if self.kind == "additive":
                context, look = self.attend(state[0], memory, real)
                x = torch.cat([word, context], dim=-1)
            elif self.kind == "multiplicative":
                x = torch.cat([word, fed], dim=-1)
            after = self.decoder(x, tuple(state) if len(state) == 2 else state[0])
            state = list(after) if isinstance(after, tuple) else [after]
            features = state[0]
            if self.kind == "additive":
                features = torch.cat([state[0], context, word], dim=-1)
            elif self.kind == "multiplicative":
                context, look = self.attend(state[0], memory, real)
                features = fed = torch.tanh(self.mix(torch.cat([state[0], context], dim=-1)))
            if self.kind != "none":
                looks.append(look)
            logits.append(self.out(features))
        return torch.stack(logits, dim=1), torch.stack(looks, dim=1) if looks else None


def to_theirs(params):
    """Parameters, or their gradients, by PyTorch's names."""
    arrays = {f"encoder.{name}": array for name, array in recurrent_to_torch(params["encoder"]).items()}
    for name, array in recurrent_to_torch(params["decoder"]).items():
        arrays[f"decoder.{name.removesuffix('_l0')}"] = array
    for name in ("source", "target"):
        arrays[f"{name}.weight"] = params[name]["embedding"]
    linear = {"out": params["out"]} | {f"begin.{name}": layer for name, layer in params["begin"].items()}
    attention = params.get("attention", {})
    if "score" in attention:
        linear |= {"query": attention["query"], "memory": attention["memory"]}
        arrays["score.weight"] = attention["score"][None]
    if "mix" in params:
        linear |= {"product": attention, "mix": params["mix"]}
    for name, layer in linear.items():
        arrays[f"{name}.weight"] = layer["kernel"].T
        if "bias" in layer:
            arrays[f"{name}.bias"] = layer["bias"]
    return {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}


def trained_like(config, dtype=np.float32):
    """Parameters of a size that makes every nonlinearity bend, biases included."""
    params, _ = jax.eval_shape(models.seq2seq(config).init, jax.random.key(0))
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape, scale=0.6), dtype), params)


@cells
@attentions
def test_logits_attention_and_gradients_are_pytorchs(cell, attention):
    config = dataclasses.replace(CONFIG, cell=cell, attention=attention)
    model, direction = models.seq2seq(config), np.random.default_rng(1).normal(size=(3, 4, 13))
    with float64():
        params = trained_like(config, np.float64)

        def scalar(params):
            logits, _ = model.apply(params, {}, INPUTS, train=True)
            return jnp.vdot(logits, direction), logits

        gradient, ours = jax.jit(jax.grad(scalar, has_aux=True))(params)
        theirs = Theirs(cell, attention).double()
        theirs.load_state_dict(to_theirs(params))
        logits, looks = theirs(torch.tensor(SOURCE).long(), torch.tensor(TARGET).long())
        (logits * torch.tensor(direction)).sum().backward()
        np.testing.assert_allclose(ours, logits.detach(), rtol=1e-9, atol=1e-9)
        if attention != "none":
            weights = models.seq2seq_attention(config, params, jax.tree.map(jnp.asarray, INPUTS))
            np.testing.assert_allclose(weights, looks.detach(), rtol=1e-9, atol=1e-12)
        actual = to_theirs(gradient)
    for name, parameter in theirs.named_parameters():
        apart = 2 * 6 if cell == "gru" else 4 * 6  # PyTorch's second bias repeats the first but in a GRU's candidate
        rows = slice(apart, None) if "bias_hh" in name else slice(None)
        expected = parameter.grad[rows]
        np.testing.assert_allclose(actual[name][rows], expected, rtol=1e-7, atol=1e-9, err_msg=name)


@cells
@attentions
def test_token_by_token_the_logits_are_those_of_the_whole_target(cell, attention):
    config = dataclasses.replace(CONFIG, cell=cell, attention=attention, dropout_rate=0.5)
    params = trained_like(config)
    whole, _ = models.seq2seq(config).apply(params, {}, INPUTS, train=False)
    step, start = models.seq2seq_step(config, params), models.seq2seq_carry(config, params, jnp.asarray(SOURCE))
    carry = start
    for place in range(4):
        logits, carry = step(carry, jnp.asarray(TARGET[:, place : place + 1]))
        np.testing.assert_allclose(logits, whole[:, place], rtol=1e-4, atol=1e-5)
    logits, _ = step(start, jnp.asarray(TARGET), jnp.array([4, 2, 3]))
    np.testing.assert_allclose(logits, whole[np.arange(3), [3, 1, 2]], rtol=1e-4, atol=1e-5)


@cells
@attentions
def test_a_translation_does_not_depend_on_the_padding_of_its_source(cell, attention):
    config = dataclasses.replace(CONFIG, cell=cell, attention=attention)
    params = trained_like(config)
    step, begin = models.seq2seq_step(config, params), jnp.ones((3, 1), jnp.int32)

    @jax.jit
    def translate(source):
        carry = models.seq2seq_carry(config, params, source)
        return decode.beam_search(step, carry, begin[: len(source)], 6, beams=3, stop=[2])

    together = translate(jnp.asarray(SOURCE))
    for row, length in enumerate([4, 2]):
        alone = translate(jnp.asarray(SOURCE[row : row + 1, :length]))
        np.testing.assert_array_equal(together.ids[row], alone.ids[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-4)


@attentions
def test_in_bfloat16_the_logits_are_close_to_those_in_float32(attention):
    config = dataclasses.replace(CONFIG, attention=attention, cell="lstm")
    params = trained_like(config, jnp.bfloat16)
    half, _ = models.seq2seq(config).apply(params, {}, INPUTS, train=False)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    whole, _ = models.seq2seq(config).apply(wide, {}, INPUTS, train=False)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), whole, rtol=0, atol=0.03 * float(jnp.abs(whole).max()))
    step, carry = models.seq2seq_step(config, params), models.seq2seq_carry(config, params, jnp.asarray(SOURCE))
    logits, _ = step(carry, jnp.asarray(TARGET))
    np.testing.assert_allclose(logits.astype(jnp.float32), half[:, -1].astype(jnp.float32), rtol=0.05, atol=0.05)
    assert carry["decoder"]["state"].cell.dtype == jnp.float32  # sums of many steps, as in `nn.lstm`


@attentions
def test_scheduled_sampling_that_never_samples_is_teacher_forcing(attention):
    config = dataclasses.replace(CONFIG, attention=attention)
    params, inputs = trained_like(config), jax.tree.map(jnp.asarray, INPUTS)
    whole, _ = models.seq2seq(config).apply(params, {}, INPUTS, train=False)
    sampled = models.scheduled_sampling(config, params, inputs, rate=0.0, key=jax.random.key(0), train=False)
    np.testing.assert_allclose(sampled, whole, rtol=1e-5, atol=1e-5)


@attentions
def test_scheduled_sampling_that_always_samples_is_generation(attention):
    """With logits so far apart that the largest is always drawn."""
    config = dataclasses.replace(CONFIG, attention=attention)
    params = trained_like(config)
    params["out"] = jax.tree.map(lambda leaf: 1e4 * leaf, params["out"])
    inputs = jax.tree.map(jnp.asarray, INPUTS)

    @jax.jit
    def sampled(target, rate):
        given = inputs._replace(target=target)
        return models.scheduled_sampling(config, params, given, rate=rate, key=jax.random.key(0), train=False)

    logits = sampled(inputs.target, 1.0)
    np.testing.assert_array_equal(logits, sampled(jnp.full_like(inputs.target, 8).at[:, 0].set(1), 1.0))
    carry = models.seq2seq_carry(config, params, inputs.source)
    step, greedy = models.seq2seq_step(config, params), decode.Sampling(temperature=0.0)
    drawn = decode.generate(step, carry, inputs.target[:, :1], 4, sampling=greedy)
    np.testing.assert_array_equal(jnp.argmax(logits, axis=-1), drawn.ids)


def test_scheduled_sampling_of_small_integers_draws_what_does_not_fit_them():
    """Token 299, which is always drawn, would be 43 in eight bits."""
    config = models.Seq2SeqConfig(5, 300, embedding=3, hidden=4)
    params = trained_like(config)
    params["out"]["bias"] = params["out"]["bias"].at[299].set(1e6)
    inputs = models.SourceTarget(jnp.array([[1, 2]]), jnp.array([[1, 7, 8]]))

    def sampled(dtype):
        given = inputs._replace(target=inputs.target.astype(dtype))
        return models.scheduled_sampling(config, params, given, rate=1.0, key=jax.random.key(0), train=False)

    np.testing.assert_array_equal(sampled(jnp.uint8), sampled(jnp.int32))


def test_scheduled_sampling_replaces_tokens_with_its_rate():
    """The logit of token 5 shows which token was read: 50 after the given 7, 60 after a drawn 5."""
    config = dataclasses.replace(CONFIG, embedding=2)
    params = jax.tree.map(jnp.zeros_like, trained_like(config))
    params["target"]["embedding"] = params["target"]["embedding"].at[7, 0].set(1).at[5, 1].set(1)
    params["out"]["kernel"] = params["out"]["kernel"].at[-2, 5].set(50).at[-1, 5].set(60)
    inputs = models.SourceTarget(jnp.ones((200, 2), jnp.int32), jnp.full((200, 21), 7))
    sample = jax.jit(
        lambda rate, key: models.scheduled_sampling(config, params, inputs, rate=rate, key=key, train=True)
    )
    for rate in (0.1, 0.75):
        read = sample(rate, jax.random.key(3))[:, :, 5]
        assert set(np.unique(read).tolist()) == {50, 60}
        assert (read[:, 0] == 50).all()
        replaced = float(jnp.mean(read[:, 1:] == 60))
        assert abs(replaced - rate) < 5 * np.sqrt(rate * (1 - rate) / 4000)


def test_dropout_needs_a_key_and_draws_by_it():
    config = dataclasses.replace(CONFIG, dropout_rate=0.5)
    model, params = models.seq2seq(config), trained_like(config)

    @jax.jit
    def logits(seed):
        return model.apply(params, {}, INPUTS, key=jax.random.key(seed), train=True)[0]

    np.testing.assert_array_equal(logits(1), logits(1))
    assert (logits(1) != logits(2)).any(axis=(1, 2)).all()
    with pytest.raises(ValueError, match="key"):
        model.apply(params, {}, INPUTS, train=True)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (SOURCE[0], TARGET, r"seq2seq: ids of the source must be \[batch, time\] .*, got \[5\]"),
        (SOURCE, TARGET[0], r"seq2seq: ids of the target must be \[batch, time\] .*, got \[4\]"),
        (SOURCE, TARGET[:2], r"seq2seq: source and target must be of one batch, got \[3, 5\] and \[2, 4\]"),
    ],
)
def test_wrong_inputs_are_refused(source, target, message):
    inputs = models.SourceTarget(jnp.asarray(source), jnp.asarray(target))
    params = jax.eval_shape(lambda: trained_like(CONFIG))
    calls = (
        lambda p: models.seq2seq(CONFIG).apply(p, {}, inputs, train=False)[0],
        lambda p: models.scheduled_sampling(CONFIG, p, inputs, rate=0.5, key=jax.random.key(0), train=False),
        lambda p: models.seq2seq_attention(CONFIG, p, inputs),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(call, params)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"cell must be .*lstm.*gru.*, got 'rnn'"):
        dataclasses.replace(CONFIG, cell="rnn")
    with pytest.raises(ValueError, match=r"attention must be .*additive.*, got 'dot'"):
        dataclasses.replace(CONFIG, attention="dot")
    without = dataclasses.replace(CONFIG, attention="none")
    with pytest.raises(ValueError, match="the network has no attention; make it with attention='additive'"):
        models.seq2seq_attention(without, trained_like(without), INPUTS)
    with pytest.raises(ValueError, match=r"to replace a token and must be in \[0, 1\], got 1.5"):
        models.scheduled_sampling(CONFIG, {}, INPUTS, rate=1.5, key=jax.random.key(0), train=False)
    with pytest.raises(TypeError, match="Seq2SeqConfig"):
        models.seq2seq_step(models.GPTConfig(5, 4), {})
