"""Sound as arrays: spectrograms and augmentation, as pure functions that are compiled, batched and differentiated.

Waveforms are `[..., samples]`, floating point, and spectrograms `[..., frames, bands]`. Augmentations are like those of
`jaxnets.data.augment`: they take a key and draw for each example of a batch by itself, so that `augment.chain` and
`augment.augmented` take them. Files are read by `jaxnets.data.read_wav`.
"""

from jaxnets.audio.augment import (
    add_noise as add_noise,
    mask_frequencies as mask_frequencies,
    mask_times as mask_times,
    mix_at as mix_at,
    shift as shift,
    time_shift as time_shift,
)
from jaxnets.audio.mel import (
    MelScale as MelScale,
    hertz_to_mel as hertz_to_mel,
    mel_filters as mel_filters,
    mel_to_hertz as mel_to_hertz,
)
from jaxnets.audio.spectrogram import Window as Window, log_mel as log_mel, spectrogram as spectrogram, window as window
