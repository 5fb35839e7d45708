"""Spectrograms against PyTorch's Fourier transform, SciPy's, and numbers of librosa."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import torch

from jaxnets.audio import hertz_to_mel, log_mel, mel_filters, mel_to_hertz, spectrogram, window
from tests.forms import float64
from tests.oracles import normal
from tests.torch_oracle import assert_parity

TORCH_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "rectangular": torch.ones}


@pytest.mark.parametrize("name", TORCH_WINDOWS)
@pytest.mark.parametrize("length", [1, 2, 7, 200])
def test_windows_are_those_of_pytorch_and_scipy(name, length):
    np.testing.assert_allclose(window(name, length), TORCH_WINDOWS[name](length), atol=1e-6)
    scipys = {"rectangular": "boxcar"}.get(name, name)
    np.testing.assert_allclose(window(name, length), scipy.signal.get_window(scipys, length), atol=1e-12)


def torch_power(x, frame_length, hop, fft_size, name, center):
    spectrum = torch.stft(
        x, fft_size, hop, frame_length, TORCH_WINDOWS[name](frame_length), center=center, return_complex=True
    )
    return (spectrum.real**2 + spectrum.imag**2).transpose(-1, -2)


@pytest.mark.parametrize(
    ("frame_length", "hop", "fft_size", "name", "center"),
    [
        (16, 4, 16, "hann", True),
        (16, 5, 16, "hamming", False),
        (10, 7, 16, "hann", True),
        (11, 3, 16, "hann", False),
        (9, 20, 15, "rectangular", True),
    ],
)
def test_values_and_gradients_are_those_of_pytorch(frame_length, hop, fft_size, name, center):
    def ours(x):
        sizes = {"frame_length": frame_length, "hop": hop, "fft_size": fft_size}
        return spectrogram(x, **sizes, window_name=name, center=center)

    def theirs(x):
        return torch_power(x, frame_length, hop, fft_size, name, center)

    assert_parity(ours, theirs, normal(2, 50), rtol=1e-4, atol=1e-4)


def test_any_leading_axes():
    x = normal(2, 3, 40)
    whole = spectrogram(jnp.asarray(x), frame_length=8, hop=4)
    np.testing.assert_allclose(whole[1, 2], spectrogram(jnp.asarray(x[1, 2]), frame_length=8, hop=4), rtol=1e-5)
    mapped = jax.vmap(lambda row: spectrogram(row, frame_length=8, hop=4))(jnp.asarray(x[0]))
    np.testing.assert_allclose(whole[0], mapped, rtol=1e-5, atol=1e-6)


# librosa 0.11.0: librosa.filters.mel(sr=8000, n_fft=256, n_mels=10, fmin=50, fmax=3800, htk=..., norm=...), the sums
# over the frequencies k of each filter, and of k times it.
LIBROSA = {
    ("htk", False): """
        4.63435313 5.4442643 6.39724544 7.52725966 8.87333314 10.4302939 12.27436673 14.46476452 16.99781165 20.02837033
        28.19597944 60.66671036 109.25080032 181.03259933 286.34463026
        437.48721643 654.43111571 965.08030782 1402.06460982 2023.64143424
    """,
    ("slaney", True): """
        0.0320898 0.03193103 0.03204552 0.03199548 0.03198968 0.03199698 0.0319983 0.03199643 0.03201014 0.03199529
        0.26080048 0.46821537 0.67889755 0.88876846 1.11528052
        1.37876876 1.70169902 2.10007797 2.59319516 3.19911121
    """,
    ("slaney", False): """
        6.5478151 6.51542013 6.5387815 6.6067067 7.3693127 9.00031696 11.10871071 13.70964536 16.9277889 20.88270555
        53.2154618 95.53777214 138.52676381 183.52067447 256.92198008
        387.82901048 590.77153218 899.82940597 1371.34875553 2087.99763841
    """,
}
FILTERS = {"sample_rate": 8000, "fft_size": 256, "bands": 10, "low": 50, "high": 3800}


@pytest.mark.parametrize(("scale", "equal_area"), LIBROSA)
def test_filters_are_those_of_librosa(scale, equal_area):
    filters = np.asarray(mel_filters(**FILTERS, scale=scale, equal_area=equal_area), np.float64)
    sums, moments = np.array(LIBROSA[scale, equal_area].split(), float).reshape(2, 10)
    np.testing.assert_allclose(filters.sum(0), sums, rtol=1e-6)
    np.testing.assert_allclose(np.arange(129) @ filters, moments, rtol=1e-6)


# librosa 0.11.0: librosa.feature.melspectrogram(y=x, sr=8000, n_fft=256, hop_length=80, win_length=200, center=...,
# n_mels=10, fmin=50, fmax=3800, htk=True, norm=None), bands 0, 3, 6, 9 of the frames 0, 4, 8, ...
SOUND = np.sin(np.arange(1000) ** 1.5 / 40) * np.linspace(1, 0.2, 1000)
MEL_OF_SOUND = {
    True: [
        [1.48266761e03, 4.12756908e-01, 9.03272123e-03, 1.06852447e-03],
        [7.65290973e-05, 1.48318179e03, 5.54165803e-05, 4.24138034e-08],
        [1.21224720e-06, 2.65136030e-03, 4.79394537e-01, 6.37607152e-08],
        [8.51317285e-02, 2.62428214e-01, 1.36591859e02, 1.05874740e-01],
    ],
    False: [
        [2.51639979e00, 5.74466886e02, 6.45776942e-06, 2.64648676e-08],
        [6.01187253e-06, 7.15924330e01, 4.37817180e-04, 5.68615878e-08],
        [1.36763925e-07, 1.00876005e-04, 6.36646850e01, 5.41882374e-08],
    ],
}


@pytest.mark.parametrize("center", [True, False])
def test_log_mel_is_librosas(center):
    with float64():
        found = log_mel(jnp.asarray(SOUND), frame_length=200, hop=80, **FILTERS, center=center, floor=1e-6)
    expected = np.log(np.array(MEL_OF_SOUND[center]) + 1e-6)
    np.testing.assert_allclose(found[::4, ::3], expected, rtol=1e-4, atol=1e-4)


def test_the_scales_are_inverse_and_have_their_fixed_points():
    hertz = np.linspace(0, 8000, 97)
    for scale in ("htk", "slaney"):
        np.testing.assert_allclose(mel_to_hertz(hertz_to_mel(hertz, scale), scale), hertz, atol=1e-8)
    # 1,000 mel are 1,000 Hz; Slaney's scale has 15 steps of 66 2/3 Hz up to 1,000 Hz, and 27 up to 6,400 Hz.
    assert float(hertz_to_mel(1000.0)) == pytest.approx(1000, abs=0.02)
    np.testing.assert_allclose(hertz_to_mel(np.array([200.0, 1000.0, 6400.0]), "slaney"), [3, 15, 42])


def test_silence_has_finite_gradients():
    def total(x):
        return jnp.sum(log_mel(x, sample_rate=8000, frame_length=64, hop=32, bands=8))

    value, gradient = jax.value_and_grad(total)(jnp.zeros(200))
    assert float(value) == pytest.approx(7 * 8 * np.log(1e-6), rel=1e-5)
    np.testing.assert_array_equal(gradient, np.zeros(200))


def test_errors():
    sizes = {"frame_length": 16, "hop": 4}
    with pytest.raises(ValueError, match=r"spectrogram: x must be \[..., samples\] with at least 9 samples, got \[8\]"):
        spectrogram(jnp.zeros(8), **sizes)
    with pytest.raises(ValueError, match="at least 16 samples, got"):
        spectrogram(jnp.zeros(15), **sizes, center=False)
    with pytest.raises(TypeError, match="floating point"):
        spectrogram(jnp.zeros(80, jnp.int32), **sizes)
    with pytest.raises(ValueError, match="1 <= frame_length <= fft_size and hop >= 1, got 16, 8, 4"):
        spectrogram(jnp.zeros(80), **sizes, fft_size=8)
    with pytest.raises(ValueError, match="one of hann, hamming, rectangular, got 'blackman'"):
        spectrogram(jnp.zeros(80), **sizes, window_name="blackman")
    with pytest.raises(ValueError, match="log_mel: floor must be positive, got 0"):
        log_mel(jnp.zeros(80), **sizes, sample_rate=8000, bands=3, floor=0)
    with pytest.raises(ValueError, match="must be 'htk' or 'slaney', got 'bark'"):
        mel_filters(**FILTERS | {"scale": "bark"})
    with pytest.raises(ValueError, match=r"0 <= low < high <= 4000 Hz, got low=50, high=4001"):
        mel_filters(**FILTERS | {"high": 4001})
    with pytest.raises(ValueError, match=r"no frequency lies in band \d+ .* take fewer bands than 300, or a larger"):
        mel_filters(**FILTERS | {"bands": 300})


def test_a_floor_that_float32_has_not_is_an_error():
    with pytest.raises(ValueError, match="log_mel: floor must be positive, got 1e-50, which is 0 in float32"):
        log_mel(jnp.zeros(400), sample_rate=8000, frame_length=200, hop=80, bands=20, floor=1e-50)
