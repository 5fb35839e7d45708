"""Sums and expressions against Python's own arithmetic and parser."""

import ast
import re
from fractions import Fraction

import numpy as np
import pytest

from jaxnets.data import addition_pairs, calculate, expressions, read_sum, write_addition

FORMS = ("plain", "reversed", "scratchpad")
PYTHON = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__"}


def by_python(text):
    """The value of an expression, read by Python's parser."""

    def value(node):
        if isinstance(node, ast.BinOp):
            return getattr(value(node.left), PYTHON[type(node.op)])(value(node.right))
        if isinstance(node, ast.UnaryOp):
            return -value(node.operand)
        return Fraction(node.value)

    return value(ast.parse(text, mode="eval").body)


def random_expression(generator, depth):
    """Numbers, operators, signs and brackets at random."""
    kind = generator.integers(4) if depth else 0
    if kind == 0:
        return str(generator.integers(20))
    if kind == 1:
        return f"-{random_expression(generator, depth - 1)}"
    if kind == 2:
        return f"({random_expression(generator, depth - 1)})"
    sides = [random_expression(generator, depth - 1) for _ in range(2)]
    return f" {generator.choice(list('+-*/'))}".join(sides)


def test_expressions_have_the_value_that_python_gives_them():
    generator = np.random.default_rng(0)
    divided_by_zero = 0
    for text in [random_expression(generator, 4) for _ in range(600)] + expressions(300):
        if len(text) > 200:
            continue
        try:
            expected = by_python(text)
        except ZeroDivisionError:
            divided_by_zero += 1
            with pytest.raises(ZeroDivisionError, match="division by zero at position"):
                calculate(text)
        else:
            assert calculate(text) == expected, text
    assert divided_by_zero > 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"expected a number, '-' or '\(' at position 0, got the end in ''"),
        ("1+", "expected a number, .* at position 2, got the end"),
        ("2**3", r"expected a number, .* at position 2, got '\*'"),
        ("(1+2", r"expected '\)' at position 4, got the end"),
        ("1+2)", r"expected an operator or the end at position 3, got '\)'"),
        ("3 4", "expected an operator or the end at position 2, got '4'"),
        ("0x10", "expected an operator or the end at position 1, got 'x'"),
        ("1.5", r"at position 1, got '\.'"),
        ("²", "at position 0, got '²'"),
        ("٣", "at position 0, got '٣'"),
        ("[1]", r"at position 0, got '\['"),
        ("__import__('os').getcwd()", "at position 0, got '_'"),
        ("(lambda: 1)()", "at position 1, got 'l'"),
        ("1" * 201, "at most 200 characters, got 201"),
    ],
)
def test_what_is_no_expression_is_an_error_with_its_place(text, expected):
    with pytest.raises(ValueError, match=expected):
        calculate(text)


def test_the_deepest_and_the_largest_that_fit_are_computed():
    assert calculate("(" * 99 + "7" + ")" * 99) == 7
    assert calculate("-" * 199 + "7") == -7
    assert calculate("9" * 99 + "*" + "9" * 100) == (10**99 - 1) * (10**100 - 1)
    with pytest.raises(TypeError, match="expected a text, got int"):
        calculate(5)


def test_pairs_are_all_there_are_and_those_of_a_larger_set_begin_with_those_of_a_smaller():
    every = addition_pairs(100, digits=(1, 1))
    assert {tuple(pair) for pair in every.tolist()} == {(a, b) for a in range(10) for b in range(10)}
    for digits in ((1, 3), (4, 4)):
        many = addition_pairs(70_000, seed=5, digits=digits)
        assert len(np.unique(many, axis=0)) == 70_000
        assert (many.min(), many.max()) == ((0, 999) if digits == (1, 3) else (1000, 9999))
        np.testing.assert_array_equal(addition_pairs(50, seed=5, digits=digits), many[:50])
        assert (addition_pairs(50, seed=6, digits=digits) != many[:50]).any()
        # Of a uniform number below m the mean is (m - 1) / 2 and the variance (m^2 - 1) / 12.
        numbers = 1000 if digits == (1, 3) else 9000
        middle = (many.min() + many.max()) / 2
        assert abs(many.mean() - middle) < 4 * numbers / np.sqrt(12 * many.size)


@pytest.mark.parametrize("form", FORMS)
def test_every_sum_is_written_right_and_read_back(form):
    for first, second in [*addition_pairs(300).tolist(), [0, 0], [999, 1], [5, 995], [12345, 99]]:
        question, _, answer = write_addition(first, second, form).partition("=")
        assert question == f"{first}+{second}"
        assert read_sum(answer, form) == first + second
        written = {"plain": answer, "reversed": answer[::-1], "scratchpad": answer.split(":")[-1]}[form]
        assert written == str(first + second)
        for column in re.findall(r"[^,:]+=\d+", answer):
            left, right = column.split("=")
            assert calculate(left) == int(right)
            assert len(right) == 2


def test_the_forms_as_the_page_has_them():
    written = [write_addition(128, 367, form) for form in FORMS]
    assert written == ["128+367=495", "128+367=594", "128+367=8+7+0=15,2+6+1=09,1+3+0=04:495"]


@pytest.mark.parametrize(
    ("text", "form", "number"),
    [
        ("100", "plain", 100),
        ("001", "reversed", 100),
        ("100", "reversed", None),
        ("0495", "plain", None),
        ("", "plain", None),
        ("4,5", "plain", None),
        ("٣", "plain", None),
        ("²", "plain", None),
        ("495", "scratchpad", 495),
        ("8+7+0=15:", "scratchpad", None),
        ("1:2:3", "scratchpad", 3),
        ("0", "plain", 0),
    ],
)
def test_only_a_well_written_number_is_an_answer(text, form, number):
    assert read_sum(text, form) == number


def test_expressions_are_different_and_have_every_length_and_kind_of_division():
    texts = expressions(2000, seed=1)
    assert len(set(texts)) == 2000
    assert texts[:20] == expressions(20, seed=1) != expressions(20, seed=2)
    chains = [re.fullmatch(r"\d+(?:([-+*/])\d+){1,3}", text) for text in texts]
    assert all(chains)
    assert {len(re.findall(r"[-+*/]", text)) for text in texts} == {1, 2, 3}
    assert all(0 <= int(number) <= 99 for text in texts for number in re.findall(r"\d+", text))
    divisions = [(int(a), int(b)) for text in texts for a, b in re.findall(r"(\d+)/(\d+)", text)]
    assert any(b == 0 for _, b in divisions)
    assert 0.6 < sum(b > 0 and a % b == 0 for a, b in divisions) / len(divisions) < 0.95


def test_errors():
    with pytest.raises(ValueError, match="count must be from 1 to 100 with numbers from 0 to 9, got 101"):
        addition_pairs(101, digits=(1, 1))
    with pytest.raises(ValueError, match=r"digits must be \(fewest, most\) from 1 to 9, got \(3, 2\)"):
        addition_pairs(1, digits=(3, 2))
    with pytest.raises(ValueError, match="count must be an integer of at least 1, got 0"):
        addition_pairs(0)
    for function in (lambda: write_addition(1, 2, "plane"), lambda: read_sum("3", "plane")):
        with pytest.raises(ValueError, match=r"form must be one of \('plain', 'reversed', 'scratchpad'\), got 'plane'"):
            function()
    with pytest.raises(ValueError, match="number must be an integer of at least 0, got -1"):
        write_addition(-1, 2)
    with pytest.raises(ValueError, match="from 1 to 8 with 4 terms up to 1, got 9"):
        expressions(9, largest=1)
    with pytest.raises(ValueError, match=r"terms must be \(fewest, most\) from 2, got \(4, 3\)"):
        expressions(9, terms=(4, 3))
