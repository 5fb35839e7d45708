"""What can be set in the playground, checked once: in Python, from a link, and from the page."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from jaxnets.config import ModelConfig, PositiveInt, Rule, one_of
from jaxnets.data.playground import FEATURES, REGRESSION, SETS
from jaxnets.errors import SettingError
from jaxnets.experiment.settings import Seed

ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid", "linear": "identity"}
"""Our names, in `jaxnets.nn`, of the Playground's activation functions."""
REGULARIZATIONS = ("none", "l1", "l2")
MAX_LAYERS, MAX_NEURONS = 6, 8
MAX_EPOCHS = 100_000
MAX_RATE = 10.0

_Features: TypeAlias = Annotated[
    tuple[Annotated[str, one_of(FEATURES)], ...],
    Rule("one feature at least and each once", lambda names: 0 < len(names) == len(set(names))),
]
_Neurons: TypeAlias = Annotated[int, Rule(f"from 1 to {MAX_NEURONS}", lambda value: 1 <= value <= MAX_NEURONS)]
_Hidden: TypeAlias = Annotated[
    tuple[_Neurons, ...], Rule(f"at most {MAX_LAYERS} layers", lambda sizes: len(sizes) <= MAX_LAYERS)
]
_Penalty: TypeAlias = Annotated[float, Rule(f"from 0 to {MAX_RATE:g}", lambda rate: 0 <= rate <= MAX_RATE)]
_LearningRate: TypeAlias = Annotated[
    float, Rule(f"above 0 and at most {MAX_RATE:g}", lambda rate: 0 < rate <= MAX_RATE)
]
_Noise: TypeAlias = Annotated[float, Rule("from 0 to 0.5", lambda noise: 0 <= noise <= 0.5)]
_Share: TypeAlias = Annotated[float, Rule("from 0.1 to 0.9", lambda share: 0.1 <= share <= 0.9)]
_Epochs: TypeAlias = Annotated[int, Rule(f"from 0 to {MAX_EPOCHS:,}", lambda epochs: 0 <= epochs <= MAX_EPOCHS)]


@dataclasses.dataclass(frozen=True)
class PlaygroundSettings(ModelConfig):
    """What one can set in the Playground; the default is the published run on the circle.

    Attributes:
        data: the set: circle, xor, gauss, spiral; plane and multi-gauss are regression.
        features: the inputs, some of x1 x2 x1^2 x2^2 x1*x2 sin(x1) sin(x2).
        hidden: neurons of each hidden layer, at most 6 layers of at most 8; none for a single neuron.
        activation: of the hidden layers: tanh, relu, sigmoid or linear.
        regularization: none, l1 or l2: what is added to the loss, rate |w| or rate w^2 / 2, of weights and not of
            biases.
        regularization_rate: its rate.
        noise: of the data, from 0 to 0.5.
        batch_size: examples per step.
        learning_rate: of plain gradient descent.
        train_share: share of the examples to train on, from 0.1 to 0.9; the others are the test split.
        epochs: how often a network sees every training example.
        seed: of the initial values.
        data_seed: of the points. They matter more than the initial values do: of 16 networks each, none comes to the
            published loss with 0, and 13 do with 1.

    Raises:
        TypeError: when it is made with a value of another type.
        SettingError: a ValueError, when it is made with a value that its field does not allow.

    Example:
        >>> PlaygroundSettings(data="spiral", hidden=(8, 8)).classifies
        True
        >>> PlaygroundSettings(hidden=(9,))
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: PlaygroundSettings: hidden[0] must be from 1 to 8, got 9
    """

    data: Annotated[str, one_of(SETS)] = "circle"
    features: _Features = ("x1", "x2")
    hidden: _Hidden = (3,)
    activation: Annotated[str, one_of(ACTIVATIONS)] = "sigmoid"
    regularization: Annotated[str, one_of(REGULARIZATIONS)] = "none"
    regularization_rate: _Penalty = 0.0
    noise: _Noise = 0.0
    batch_size: PositiveInt = 10
    learning_rate: _LearningRate = 0.03
    train_share: _Share = 0.5
    epochs: _Epochs = 1000
    seed: Seed = 0
    data_seed: Seed = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size > self.train_examples:
            raise SettingError(
                f"{type(self).__name__}: batch_size must be at most the number of training examples, "
                f"{self.train_examples}, got {self.batch_size}"
            )

    @property
    def classifies(self) -> bool:
        """Whether the labels are -1 and 1."""
        return self.data not in REGRESSION

    @property
    def train_examples(self) -> int:
        """How many examples there are to train on."""
        return round((500 if self.classifies else 1200) * self.train_share)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the input, of each hidden layer, and of the output."""
        return (len(self.features), *self.hidden, 1)


def to_link(settings: PlaygroundSettings) -> str:
    """Write all settings as the fragment of an address, without the `#`.

    Example:
        >>> to_link(PlaygroundSettings(data="xor", hidden=(4, 2)))[:45]
        'data=xor&features=x1,x2&hidden=4,2&activation'
    """
    values = settings.to_dict()
    words = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}
    return urllib.parse.urlencode(words, safe="*^(),")


def from_link(text: str) -> PlaygroundSettings:
    """Read the settings that `to_link` wrote; those left out have their defaults.

    Raises:
        ValueError: if something else is written there.

    Example:
        >>> from_link("data=xor&hidden=4,2&noise=0.1").hidden
        (4, 2)
    """
    pairs = urllib.parse.parse_qsl(text.removeprefix("#"), keep_blank_values=True, max_num_fields=50)
    hints = get_type_hints(PlaygroundSettings)
    values = {name: _parsed(word, hints[name], name) if name in hints else word for name, word in pairs}
    return PlaygroundSettings.from_dict(values)


def _parsed(word: str, hint: Any, name: str) -> Any:
    """A word as the type that the field has."""
    if get_origin(hint) is tuple:
        entry = get_args(hint)[0]
        return tuple(_parsed(part, entry, name) for part in word.split(",")) if word else ()
    try:
        return hint(word)
    except ValueError:
        raise SettingError(f"PlaygroundSettings: {name} must be {_CALLED[hint]}, got {word!r}") from None


_CALLED: Mapping[type, str] = {int: "a whole number", float: "a number", str: "a word"}

_SINES = ("x1", "x2", "sin(x1)", "sin(x2)")
EXAMPLES: Mapping[str, PlaygroundSettings] = {
    "circle": PlaygroundSettings(),
    "linear": PlaygroundSettings(hidden=(2,), activation="linear", epochs=100),
    "xor": PlaygroundSettings(data="xor", hidden=(4,), activation="tanh", epochs=300),
    "gauss": PlaygroundSettings(data="gauss", hidden=(), epochs=50),
    "spiral": PlaygroundSettings(data="spiral", features=_SINES, hidden=(8, 8), activation="tanh"),
    "plane": PlaygroundSettings(data="plane", hidden=(), epochs=50),
    "multi-gauss": PlaygroundSettings(data="multi-gauss", hidden=(8, 8), activation="tanh", epochs=500),
    "overfitting": PlaygroundSettings(
        features=tuple(FEATURES), hidden=(8, 8), activation="tanh", noise=0.25, train_share=0.2, epochs=500
    ),
}
"""A network that suits each set, the published one that cannot learn the circle, and one with 160 parameters for 100
training points with wrong labels among them."""
