"""Settings survive a link, and what is out of bounds is refused with words that help."""

import pytest
from hypothesis import given, strategies as st

from jaxnets.data.playground import FEATURES, SETS
from jaxnets.playground.settings import (
    ACTIVATIONS,
    EXAMPLES,
    MAX_LAYERS,
    MAX_NEURONS,
    REGULARIZATIONS,
    PlaygroundSettings,
    from_link,
    to_link,
)

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def settings(draw):
    """Any settings that are allowed."""
    return PlaygroundSettings(
        data=draw(st.sampled_from(list(SETS))),
        features=tuple(draw(st.lists(st.sampled_from(list(FEATURES)), min_size=1, unique=True))),
        hidden=tuple(draw(st.lists(st.integers(1, MAX_NEURONS), max_size=MAX_LAYERS))),
        activation=draw(st.sampled_from(list(ACTIVATIONS))),
        regularization=draw(st.sampled_from(REGULARIZATIONS)),
        regularization_rate=draw(st.floats(0, 10)),
        noise=draw(st.floats(0, 0.5)),
        batch_size=draw(st.integers(1, 50)),
        learning_rate=draw(st.floats(1e-6, 10)),
        train_share=draw(st.floats(0.1, 0.9)),
        epochs=draw(st.integers(0, 100_000)),
        seed=draw(SEEDS),
        data_seed=draw(SEEDS),
    )


@given(settings())
def test_a_link_has_every_setting(wanted):
    assert from_link(to_link(wanted)) == wanted
    assert (
        from_link("#" + to_link(wanted).replace("^", "%5E").replace("(", "%28")) == wanted
    )  # as browsers may write it


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("data=moons", "data must be one of circle, xor, gauss, spiral, plane, multi-gauss, got 'moons'"),
        ("hidden=8,9", r"hidden\[1\] must be from 1 to 8, got 9"),
        ("hidden=1,1,1,1,1,1,1", "hidden must be at most 6 layers"),
        ("hidden=3.5", "hidden must be a whole number, got '3.5'"),
        ("features=", "features must be one feature at least and each once"),
        ("features=x1,x1", "features must be one feature at least and each once"),
        ("features=x3", r"features\[0\] must be one of x1, x2"),
        ("learning_rate=nan", "learning_rate must be finite"),
        ("learning_rate=0", "learning_rate must be above 0 and at most 10, got 0.0"),
        ("noise=0.6", "noise must be from 0 to 0.5"),
        ("epochs=1000000000", "epochs must be from 0 to 100,000"),
        ("seed=-1", "seed must be from 0 to"),
        ("train_share=0.1&batch_size=51", "batch_size must be at most the number of training examples, 50, got 51"),
        ("depth=3", "PlaygroundSettings has no depth; its fields are data, features"),
        ("&".join(f"a{n}=1" for n in range(60)), "Max number of fields exceeded"),
    ],
)
def test_what_a_link_must_not_say(link, words):
    with pytest.raises(ValueError, match=words):
        from_link(link)


@pytest.mark.parametrize(
    "values", [{"hidden": "3"}, {"hidden": 3}, {"seed": True}, {"noise": "0.1"}, {"features": [["x1"]]}]
)
def test_other_types_are_refused(values):
    with pytest.raises(TypeError, match="must be"):
        PlaygroundSettings.from_dict(values)


def test_every_set_has_an_example_and_the_count_of_examples_is_that_of_the_data():
    from jaxnets.playground.network import make_data

    assert {example.data for example in EXAMPLES.values()} == set(SETS)
    for example in EXAMPLES.values():
        assert example.train_examples == len(make_data(example, 0).train[0])
