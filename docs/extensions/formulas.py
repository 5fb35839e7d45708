r"""Formulas of docstrings as LaTeX: `$y = scale (x - mean) / sqrt(var + epsilon) + bias$` reads well in both places.

In a docstring a formula stands between dollars, in the notation in which one types mathematics:

- Factors stand side by side; `f(x)`, without a space, applies a function, `a (b + c)` multiplies.
- ` / ` with spaces makes a fraction of all factors before it and the one after it; `1/2` stays on the line.
- `x_t`, `h_(t-1)`, `a_ij` and `W_query` have subscripts, `x^2` and `e^(-x)` superscripts; `^T` transposes.
- `sum_i`, `prod_(s <= t)`, `max_w`, `sqrt(x)`, `|x|`, `p(x | z)`, `KL(p || q)`, `w . x`, `<-`, `->`, `~`, `...`.
- Greek letters are written out. Longer words are names; "for", "if", "else", "where" and the like stay words.

What it does not understand is an error, which names the formula.
"""

from __future__ import annotations

import itertools
import re

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?)|(?P<word>[^\W\d_]{2,}(?:_[^\W\d_]{2,})*|[^\W\d_])
    |(?P<symbol>\.\.\.|<-|->|<=|>=|!=|\+=|\|\||//|[-+*/=<>~,;:.'()\[\]{}|^_])""",
    re.VERBOSE,
)
GREEK = {"alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda", "mu", "pi", "sigma", "tau", "Phi"}
WORDS = {"for", "if", "else", "where", "over", "with", "and", "or", "of", "at", "all", "otherwise"}
LARGE = {"sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min", "mean": r"\mathrm{mean}"}
FUNCTIONS = {"log", "exp", "sin", "cos", "tanh", "grad"}
INFIX = {
    "=": "=", "<": "<", ">": ">", "<=": r"\leq", ">=": r"\geq", "!=": r"\neq", "<-": r"\leftarrow", "->": r"\to",
    "~": r"\sim", "+=": "+=", "+": "+", "-": "-", "*": r"\cdot", ".": r"\cdot", ",": ",", ";": r";\quad",
    ":": ":", "...": r"\dots", "||": r"\,\|\,", "|": r"\mid",
}  # fmt: skip
SEPARATING = {mark for name, mark in INFIX.items() if name not in ("+", "-", "*", ".", "|")}
CLOSING = {"(": ")", "[": "]", "{": "}"}


class FormulaError(ValueError):
    """A formula that cannot be read."""


def to_latex(formula: str) -> str:
    """Translate a formula.

    Args:
        formula: without its dollars.

    Returns:
        LaTeX, for math mode.

    Raises:
        FormulaError: if it cannot be read.
    """
    reader = _Reader(" ".join(formula.split()))
    latex = reader.read_sequence(frozenset())
    if reader.token:
        raise reader.error(f"{reader.token!r} has no opening counterpart")
    return latex


class _Reader:
    """Reads a formula from left to right; `token` is the next token, `spaced` whether a space stands before it."""

    def __init__(self, formula: str) -> None:
        self.formula, self.position, self.token, self.spaced = formula, 0, "", False
        self.advance()

    def error(self, why: str) -> FormulaError:
        return FormulaError(f"formula ${self.formula}$: {why}")

    def advance(self) -> str:
        """Step to the next token and return the one before it."""
        before, self.spaced = self.token, False
        while self.position < len(self.formula):
            match = TOKEN.match(self.formula, self.position)
            if match is None:
                raise self.error(f"what is {self.formula[self.position]!r}?")
            self.position = match.end()
            if match.lastgroup != "space":
                self.token = match.group()
                return before
            self.spaced = True
        self.token = ""
        return before

    @property
    def space_follows(self) -> bool:
        return self.formula[self.position : self.position + 1] in (" ", "")

    def read_sequence(self, ends: frozenset[str]) -> str:
        """Products, and what stands between them, up to one of `ends`, which stays the next token."""
        parts: list[str] = []
        while self.token and self.token not in ends and self.token not in ")]}":
            if self.token == "-" and (not parts or parts[-1] in SEPARATING):
                parts.append(f"{{{self.advance()}{self.read_product(ends)}}}")  # a group of its own is set as a sign
            elif self.token in INFIX and not (self.token == "|" and self.opens_bar(parts)):
                parts.append(INFIX[self.advance()])
            elif self.token in WORDS:
                parts.append(rf"\;\text{{{self.advance()}}}\;")
            else:
                parts.append(self.read_product(ends))
        return " ".join(parts)

    def opens_bar(self, parts: list[str]) -> bool:
        """Whether a bar opens an absolute value: nothing it could divide stands before it, or nothing after it."""
        return not self.space_follows and (not parts or parts[-1] in INFIX.values() or self.spaced)

    def read_product(self, ends: frozenset[str]) -> str:
        """Factors side by side, with fractions of them."""
        done: list[str] = []
        factors: list[str] = []
        while self.token and self.token not in ends and self.token not in WORDS:
            if self.token == "/" and factors and not (self.spaced and self.space_follows):
                self.advance()
                factors[-1:] = [f"{factors[-1]}/{self.read_factor()}"]
            elif self.token in ("/", "//") and factors:
                fraction = rf"\frac{{{_bare(factors)}}}"
                floor = self.advance() == "//"
                fraction += f"{{{self.read_denominator(ends)}}}"
                factors = [rf"\left\lfloor {fraction} \right\rfloor" if floor else fraction]
            elif not self.starts_factor():
                break
            else:
                opens = self.token in LARGE or self.token in FUNCTIONS
                if opens and factors:
                    done, factors = [*done, *factors], []
                factors.append(self.read_factor())
                if opens and not factors[-1].endswith(")"):
                    done, factors = [*done, *factors], []
        if not done and not factors:
            raise self.error(f"a factor is missing before {self.token!r}")
        return r" \, ".join([*done, *factors])

    def read_denominator(self, ends: frozenset[str]) -> str:
        """One factor; after a sum or a function, all that belongs to it."""
        if self.token in LARGE:
            return self.read_product(ends)
        return _bare([self.read_factor()])

    def starts_factor(self) -> bool:
        return self.token[0].isalnum() or self.token in CLOSING or (self.token == "|" and not self.space_follows)

    def read_factor(self) -> str:
        """A number, a name, a call or a group, with its subscript, superscript and primes."""
        if self.token == "-":
            return f"{{{self.advance()}{self.read_factor()}}}"
        name = self.token
        if name == "sqrt" and not self.space_follows:
            self.advance()
            latex = rf"\sqrt{{{_inside(self.read_group())}}}"
        elif name in CLOSING:
            latex = self.read_group()
        elif name == "|":
            self.advance()
            latex = _brackets("|", self.read_sequence(frozenset("|")), "|")
            self.close("|")
        else:
            self.advance()
            latex = self.read_name(name)
        latex = self.read_scripts(latex)
        callable_ = name[:1].isalpha()
        while callable_ and self.token in ("(", "[") and not self.spaced:
            latex = self.read_scripts(latex + self.read_group())
        return latex

    def read_name(self, name: str) -> str:
        """A number or a name; digits that follow a name directly are its subscript."""
        if name[0].isdigit():
            return name
        if name in LARGE:
            latex = rf"\mathrm{{{name}}}" if self.token == "(" and not self.spaced else LARGE[name]
        elif name in FUNCTIONS:
            latex = r"\nabla" if name == "grad" else rf"\{name}"
        elif name in GREEK:
            latex = rf"\{name}"
        elif len(name) == 1 and name.isalpha():
            latex = name
        elif name[0].isalpha():
            latex = rf"\mathrm{{{name}}}".replace("_", r"\_")
        else:
            raise self.error(f"a factor is missing before {name!r}")
        if self.token[:1].isdigit() and not self.spaced:
            latex += f"_{{{self.advance()}}}"
        return latex

    def read_scripts(self, latex: str) -> str:
        """Primes, a subscript, a superscript, in any order, if they follow without a space."""
        while self.token in ("'", "_", "^") and not self.spaced:
            mark = self.advance()
            latex += mark if mark == "'" else f"{mark}{{{self.read_script(mark)}}}"
        return latex

    def read_script(self, mark: str) -> str:
        if self.token == "(":
            return _inside(self.read_group())
        if mark == "^" and self.token == "T":
            self.advance()
            return r"\top"
        if self.token in ("-", "<"):
            return self.advance() + self.read_script(mark)
        if re.fullmatch("[h-nst]{2}", self.token):  # two indices, such as ij
            return " ".join(self.advance())
        if not self.token or not self.token[0].isalnum():
            raise self.error(f"{mark!r} needs a name, a number or a group in parentheses, got {self.token!r}")
        latex = self.read_name(self.advance())
        return self.read_scripts(latex) if mark == "^" and self.token == "_" else latex

    def read_group(self) -> str:
        """What stands in brackets, with them."""
        opening = self.advance()
        inside = self.read_sequence(frozenset())
        self.close(CLOSING[opening])
        left, right = (r"\{", r"\}") if opening == "{" else (opening, CLOSING[opening])
        return _brackets(left, inside, right)

    def close(self, mark: str) -> None:
        if self.token != mark:
            raise self.error(f"{mark!r} is missing before {self.token or 'its end'!r}")
        self.advance()


def _brackets(left: str, inside: str, right: str) -> str:
    """Brackets, which grow with what is in them if that is more than a line high."""
    is_high = any(mark in inside for mark in (r"\frac", r"\sum", r"\prod"))
    return rf"\left{left} {inside} \right{right}" if is_high else f"{left}{inside}{right}"


def _inside(group: str) -> str:
    """A group without its brackets."""
    return group.removeprefix(r"\left").removeprefix("(").removesuffix(")").removesuffix(r"\right").strip()


def _bare(factors: list[str]) -> str:
    """A product, without brackets if it is one group: the bar of a fraction groups as well."""
    if len(factors) == 1 and _is_one_group(factors[0]):
        return _inside(factors[0])
    return r" \, ".join(factors)


def _is_one_group(latex: str) -> bool:
    if not latex.removeprefix(r"\left").startswith("("):
        return False
    depths = itertools.accumulate({"(": 1, ")": -1}.get(character, 0) for character in latex)
    return 0 not in list(depths)[latex.index("(") : -1]
