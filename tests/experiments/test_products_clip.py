"""The titles by which `products_clip` describes a class."""

import pytest

from experiments.products_clip import titles_with

TITLES = [
    "Puma Men Grey T-shirt",
    "Arrow Men Check Shirt",
    "Titan Women Silver Watch",
    "Gini and Jony Girls Black Dress",
    "Nike Men Black Casual Shoes",
    "Nike Men Casual Shirt with Shoe Print",
]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("Tshirts", [0]),
        ("Shirts", [1, 5]),  # not the T-shirt
        ("Watches", [2]),
        ("Dresses", [3]),
        ("Casual Shoes", [4, 5]),  # all words, in any order
        ("Black", [3, 4]),
    ],
)
def test_a_class_is_described_by_the_titles_that_have_its_words(name, places):
    assert titles_with(name, TITLES) == [TITLES[place] for place in places]


def test_a_name_that_no_title_has_stands_for_itself():
    assert titles_with("Perfume and Body Mist", TITLES) == ["Perfume and Body Mist"]
