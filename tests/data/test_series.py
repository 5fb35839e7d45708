"""Windows of series against NumPy's, and the ETT series against published errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets import metrics
from jaxnets.data import ett, forecast_windows, window_starts
from jaxnets.data.ett import LOADS, parse_ett
from jaxnets.training import TrainState, fit, make_step
from tests.data.test_real_files import needs
from tests.oracles import normal

HOURS = 14_400


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_windows_are_all_that_end_in_the_split(first, length, history, horizon):
    split, times = range(first, first + length), first + length
    # All windows of the series that end in it, of which those stay whose forecast begins in the split or later.
    whole = [s for s in range(times) if s + history + horizon <= times and s + history >= first]
    if not whole:
        with pytest.raises(ValueError, match="hold no window"):
            window_starts(split, history=history, horizon=horizon)
        return
    starts = window_starts(split, history=history, horizon=horizon)
    assert starts.tolist() == whole
    values = normal(times, 2)
    every = np.lib.stride_tricks.sliding_window_view(values, history + horizon, axis=0).swapaxes(1, 2)[whole]
    known, wanted = forecast_windows(values, starts, history=history, horizon=horizon)
    np.testing.assert_array_equal(known, every[:, :history])
    np.testing.assert_array_equal(wanted, every[:, history:])


def test_starts_in_small_integers_are_those_starts():
    """The times that follow do not fit them."""
    series = jnp.arange(300.0)[:, None]
    known, wanted = forecast_windows(series, jnp.array([100, 120], jnp.int8), history=30, horizon=20)
    np.testing.assert_array_equal(known[:, :, 0], [np.arange(100, 130), np.arange(120, 150)])
    np.testing.assert_array_equal(wanted[:, :, 0], [np.arange(130, 150), np.arange(150, 170)])


def test_errors():
    with pytest.raises(TypeError, match=r"window_starts: split must be a range, .* got tuple"):
        window_starts((0, 5), history=1, horizon=1)
    for split in (range(0, 10, 2), range(-1, 5)):
        with pytest.raises(ValueError, match="must be consecutive times"):
            window_starts(split, history=1, horizon=1)
    with pytest.raises(ValueError, match="history must be an integer of at least 1, got 0"):
        window_starts(range(5), history=0, horizon=1)
    windows = {"history": 2, "horizon": 2}
    with pytest.raises(ValueError, match=r"forecast_windows: values must be .* at least 2 \+ 2 times, got \[3, 1\]"):
        forecast_windows(jnp.zeros((3, 1)), jnp.array([0]), **windows)
    with pytest.raises(TypeError, match="starts must be integers"):
        forecast_windows(jnp.zeros((5, 1)), jnp.array([0.0]), **windows)
    with pytest.raises(ValueError, match=r"window_starts returns, got \[1, 1\]"):
        forecast_windows(jnp.zeros((5, 1)), jnp.array([[0]]), **windows)


def test_fit_takes_starts_as_data_and_the_series_as_a_constant():
    """y = 2 x at the next time, which one number learns."""
    series = (2.0 ** np.arange(8) / 100).astype(np.float32)[:, None]

    def loss(params, state, starts, *, key, train, constants):
        known, wanted = forecast_windows(constants, starts, history=1, horizon=1)
        errors = params * known - wanted
        return jnp.mean(errors**2), (state, {"loss": metrics.mean(errors**2)})

    optimizer = optax.sgd(0.5)
    start = TrainState.create(jnp.zeros(()), optimizer.init(jnp.zeros(())), seed=0)
    starts = window_starts(range(8), history=1, horizon=1)
    result = fit(start, make_step(loss, optimizer), starts, epochs=200, batch_size=7, constants=series)
    assert float(result.train_state.params) == pytest.approx(2, abs=1e-3)


def ett_text(hours=HOURS):
    values = normal(hours, 7, seed=1)
    lines = ["date," + ",".join((*LOADS, "OT"))]
    lines += [f"2016-07-01 {i}," + ",".join(map(str, row)) for i, row in enumerate(values)]
    return "\n".join(lines), values


def test_values_are_standardized_by_the_months_of_training():
    text, values = ett_text(HOURS + 20)
    series = parse_ett(text, "ETTh1.csv")
    assert (series.train, series.validation, series.test) == (range(8640), range(8640, 11520), range(11520, HOURS))
    wide = values.astype(np.float64)
    mean, deviation = wide[:8640].mean(0), wide[:8640].std(0)
    np.testing.assert_allclose(series.values, (wide[:HOURS] - mean) / deviation, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(series.standardization.inverse(series.values), values[:HOURS], rtol=1e-5, atol=1e-5)
    assert series.names == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


@pytest.mark.parametrize("missing", ["nan", "", "inf", "-"])
def test_a_missing_value_is_an_error_that_names_file_and_line(missing):
    text, _ = ett_text(40)
    lines = text.splitlines()
    cells = lines[30].split(",")
    cells[3] = missing
    lines[30] = ",".join(cells)
    with pytest.raises(ValueError, match=r"ETTh2\.csv, line 31, column 'MUFL': expected a finite number"):
        parse_ett("\n".join(lines), "ETTh2.csv")


def test_other_errors():
    with pytest.raises(ValueError, match="ETTh1, ETTh2, got 'ETTm1'"):
        ett("ETTm1")
    with pytest.raises(ValueError, match=r"a\.csv has 40 hours where the splits need 14,400; it is cut off"):
        parse_ett(ett_text(40)[0], "a.csv")


HORIZONS = (96, 192, 336, 720)
ALL_WINDOWS = {
    "ETTh1": ((1.294, 0.713), (1.325, 0.733), (1.330, 0.746), (1.335, 0.755)),
    "ETTh2": ((0.432, 0.422), (0.534, 0.473), (0.597, 0.511), (0.594, 0.519)),
}
PUBLISHED = {
    "ETTh1": ((1.295, 0.713), (1.325, 0.733), (1.323, 0.744), (1.339, 0.756)),
    "ETTh2": ((0.432, 0.422), (0.534, 0.473), (0.591, 0.508), (0.588, 0.517)),
}
"""Squared and absolute error of repeating the last value, column Repeat* of Zeng et al., Are Transformers Effective for
Time Series Forecasting?, 2023, table 2. They are those of the windows in full batches of 32."""


@pytest.mark.parametrize("name", ["ETTh1", "ETTh2"])
@pytest.mark.parametrize("place", range(4))
def test_errors_of_repeating_the_last_value_are_the_published_ones(name, place):
    needs_file(name)
    series, horizon = ett(name), HORIZONS[place]
    starts = window_starts(series.test, history=336, horizon=horizon)
    assert len(starts) == 2880 - horizon + 1
    known, wanted = jax.device_get(forecast_windows(series.values, starts, history=336, horizon=horizon))
    errors = known[:, -1:] - wanted
    for count, expected in ((len(starts), ALL_WINDOWS[name]), (len(starts) // 32 * 32, PUBLISHED[name])):
        part = errors[:count].astype(np.float64)
        measured = np.mean(part**2), np.mean(np.abs(part))
        assert tuple(np.round(measured, 3)) == expected[place]


def needs_file(name):
    """Skip a test if `JAXNETS_DATA` does not have the file."""
    mark = needs(f"ett/{name}.csv")
    if mark.args[0]:
        pytest.skip(mark.kwargs["reason"])
