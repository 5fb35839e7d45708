"""Formulas of docstrings are mathematics that TeX understands."""

import ast
import re
import sys
from pathlib import Path

import pytest

import jaxnets
from tests.test_docs import ROOT

sys.path.insert(0, str(ROOT / "docs" / "extensions"))

from formulas import FormulaError, to_latex


def test_functions_stand_apart_from_their_neighbors_as_in_tex():
    pytest.importorskip("sphinx", reason="the packages of the documentation are not installed")
    pytest.importorskip("latex2mathml", reason="the packages of the documentation are not installed")
    from mathematics import THIN_SPACE, render

    spaces = {r"y \log p": 2, r"2 \log(1 - p)": 1, r"-\log x": 1, r"f = \tanh": 0, r"\log_2 8": 0, r"(a) \exp x^2": 2}
    assert {latex: render(latex, "inline").count(THIN_SPACE) for latex in spaces} == spaces
    assert render(r"\log 65", "inline").endswith(f"<mi>log</mi>{THIN_SPACE}<mn>65</mn></mrow></math>")


def docstrings():
    for path in sorted(Path(jaxnets.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield f"{path.stem}.{getattr(node, 'name', '')}", ast.get_docstring(node) or ""


FORMULAS = {
    (where, formula)
    for where, text in docstrings()
    for formula in re.findall(r"\$([^$]+)\$", re.sub(r"`[^`]*`", "", text))
}


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("y = x W + b", r"y = x W + b"),
        ("a / b c", r"\frac{a}{b} c"),
        ("a b / (c + d)", r"\frac{a b}{c + d}"),
        ("(a + b) (c + d) / 2", r"\frac{( a + b ) ( c + d )}{2}"),
        ("1/2 x", r"1/2 x"),
        ("sqrt(x + 1)", r"\sqrt{x + 1}"),
        ("x_t^2", r"x_{t}^{2}"),
        ("h_(t-1)", r"h_{t - 1}"),
        ("e^-x", r"e^{-x}"),
        ("W_query", r"W_{\mathrm{query}}"),
        ("a_ij", r"a_{i j}"),
        ("|x - y|^2", r"| x - y |^{2}"),
        ("p(x | z)", r"p( x \mid z )"),
        ("KL(p || q)", r"\mathrm{KL}( p \,\|\, q )"),
        ("-sum_k y_k log p_k", r"{- \sum_{k} y_{k} \log p_{k}}"),
        ("(sum_i w_i) / n", r"\frac{\sum_{i} w_{i}}{n}"),
        ("w <- w - rate g", r"w \leftarrow w - \mathrm{rate} g"),
        ("size // 2", r"\lfloor \frac{\mathrm{size}}{2} \rfloor"),
        ("K^T", r"K^{\top}"),
        ("[w . x > 0]", r"[ w \cdot x > 0 ]"),
    ],
)
def test_notation(formula, latex):
    """Spaces and the size of brackets are left out of the comparison."""

    def plain(text):
        return re.sub(r"\\(left|right)(?=[^a-z])|\\,|\s", "", text)

    assert plain(to_latex(formula)) == plain(latex)


@pytest.mark.parametrize("formula", ["(a + b", "a + b)", "x_", "a @ b", "/ 2", "|x", "sqrt(x"])
def test_what_cannot_be_read_is_an_error(formula):
    with pytest.raises(FormulaError, match=re.escape(formula)):
        to_latex(formula)


def test_many_docstrings_have_formulas():
    assert len({where for where, _ in FORMULAS}) > 100


def test_formulas_are_understood_by_another_program():
    """Matplotlib reads TeX by a parser of its own."""
    parser = pytest.importorskip("matplotlib.mathtext").MathTextParser("path")
    for where, formula in FORMULAS:
        latex = to_latex(formula).replace(r"\,\|\,", r"\|").replace(r"\;", " ").replace(r"\text", r"\mathrm")
        try:
            parser.parse(f"${latex}$")
        except ValueError as error:
            pytest.fail(f"{where}: {formula}: {error}")
