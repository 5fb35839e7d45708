"""Cases of the recurrent layers. The carry is the state: a cell and a sequence take it and return it."""

import functools

import jax
import numpy as np

from jaxnets import ArraySpec, nn
from tests.cases.case import Case
from tests.oracles import normal

BATCH, TIME, IN, HIDDEN = 3, 4, 5, 2
MASK = np.array([[True, True, True, True], [True, False, True, False], [True, True, False, False]])
ARRAY = ArraySpec((BATCH, HIDDEN), jax.nn.initializers.normal(), is_state=True)
CELL_STATE = {"hidden": ARRAY, "cell": ARRAY}


def with_carry(function):
    """The uniform `apply` of a sequence function; inputs are x, or x and a mask."""

    def apply(params, state, inputs, key):
        x, mask = inputs if isinstance(inputs, tuple) else (inputs, None)
        carry = state["carry"]
        carry = nn.LSTMCarry(**carry) if isinstance(carry, dict) else carry
        y, carry = function(params["layer"], x, carry=carry, mask=mask)
        return y, {"carry": carry._asdict() if isinstance(carry, nn.LSTMCarry) else carry}

    return apply


def one_step(cell):
    def apply(params, state, inputs, key):
        carry = state["carry"]
        carry, y = cell(params["layer"], nn.LSTMCarry(**carry) if isinstance(carry, dict) else carry, inputs)
        return y, {"carry": carry._asdict() if isinstance(carry, nn.LSTMCarry) else carry}

    return apply


def outputs_only(function):
    def apply(params, state, inputs, key):
        return function(params, inputs, key)[0], state

    return apply


def layer_and_carry(spec, carry=ARRAY):
    return {"layer": spec, "carry": carry}


def any_cell(params, x, *, carry, mask):
    return nn.recurrent(nn.gru_cell, params, x, carry=carry, mask=mask)


LSTM = layer_and_carry(nn.lstm_spec(IN, HIDDEN), CELL_STATE)
GRU = layer_and_carry(nn.gru_spec(IN, HIDDEN))
RNN = layer_and_carry(nn.simple_rnn_spec(IN, HIDDEN))
X, MASKED = normal(BATCH, TIME, IN), (normal(BATCH, TIME, IN), MASK)
SOFTPLUS_RNN = functools.partial(nn.simple_rnn, activation=jax.nn.softplus)

CASES = [
    Case("lstm", (nn.lstm,), LSTM, with_carry(nn.lstm), X, batched_state=True, axis=1),
    Case(
        "lstm-reversed-masked-no-bias",
        (nn.lstm,),
        layer_and_carry(nn.lstm_spec(IN, HIDDEN, bias=False), CELL_STATE),
        with_carry(functools.partial(nn.lstm, reverse=True)),
        MASKED,
        batched_state=True,
        axis=1,
    ),
    Case("lstm-cell", (nn.lstm_cell,), LSTM, one_step(nn.lstm_cell), X[:, 0], batched_state=True),
    Case(
        "lstm-no-batch",
        (nn.lstm,),
        nn.lstm_spec(IN, HIDDEN),
        outputs_only(lambda params, x, key: nn.lstm(params, x)),
        X[0],
        unbatched=True,
    ),
    Case(
        "gru-reversed-masked",
        (nn.gru,),
        GRU,
        with_carry(functools.partial(nn.gru, reverse=True)),
        MASKED,
        batched_state=True,
        axis=1,
    ),
    Case(
        "gru-leading-axes-no-bias",
        (nn.gru,),
        nn.gru_spec(IN, HIDDEN, bias=False),
        outputs_only(lambda params, x, key: nn.gru(params, x)),
        normal(2, 3, TIME, IN),
        axis=2,
    ),
    Case("gru-cell", (nn.gru_cell,), GRU, one_step(nn.gru_cell), X[:, 0], batched_state=True),
    Case(
        "simple-rnn-softplus-masked",
        (nn.simple_rnn,),
        RNN,
        with_carry(SOFTPLUS_RNN),
        MASKED,
        batched_state=True,
        axis=1,
    ),
    Case("simple-rnn-cell", (nn.simple_rnn_cell,), RNN, one_step(nn.simple_rnn_cell), X[:, 0], batched_state=True),
    Case("recurrent-masked", (nn.recurrent,), GRU, with_carry(any_cell), MASKED, batched_state=True, axis=1),
    Case(
        "bidirectional-lstm",
        (nn.bidirectional,),
        nn.bidirectional_spec(nn.lstm_spec(IN, HIDDEN)),
        outputs_only(lambda params, x, key: nn.bidirectional(nn.lstm, params, x)),
        X,
        axis=1,
    ),
    Case(
        "stacked-gru-dropout",
        (nn.stacked,),
        nn.stacked_spec(nn.gru_spec, IN, 6, count=2),
        outputs_only(lambda params, x, key: nn.stacked(nn.gru, params, x, rate=0.3, key=key, train=True)),
        X,
        random=True,
        slow=True,
    ),
]
