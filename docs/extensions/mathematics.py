"""Mathematics in the pages, as MathML, which browsers draw without a script and without the network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from formulas import to_latex
from latex2mathml.converter import convert
from markup import STAND_IN, formula_of
from sphinx.transforms import SphinxTransform

LINKING = re.compile(r"\s*,?\s+(?:with|where|and)\s+|\s*[,;]?\s*")
LONGEST_LINE = 160
"""Of LaTeX, in characters."""
FUNCTION = r"(?<!<msub>)(?<!<msup>)<mi>[a-z]{2,}</mi>(?!</msu)"
"""Such as log, which TeX parts from its neighbors by a thin space, but not from a parenthesis that follows it."""
THIN_SPACE = '<mspace width="0.17em"/>'


class Formulas(SphinxTransform):
    """Put mathematics in the place of the stand-ins, displayed if a sentence leads up to it."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Go through the text of the page."""
        paragraphs = {}
        for text in list(self.document.findall(nodes.Text)):
            if STAND_IN.search(text):
                parent = text.parent
                at = next(at for at, child in enumerate(parent) if child is text)
                parent[at : at + 1] = list(_with_mathematics(text))
                if isinstance(parent, nodes.paragraph):
                    paragraphs[id(parent)] = parent
        for paragraph in paragraphs.values():
            _display(paragraph)


def _with_mathematics(text: nodes.Text) -> Any:
    end = 0
    for match in STAND_IN.finditer(text):
        if match.start() > end:
            yield nodes.Text(text[end : match.start()])
        latex = to_latex(formula_of(match))
        yield nodes.math(latex, latex)
        end = match.end()
    if end < len(text):
        yield nodes.Text(text[end:])


def _display(paragraph: nodes.paragraph) -> None:
    """Display the formulas at the end of a paragraph if nothing but a word stands between them and a colon."""
    if isinstance(paragraph.parent, nodes.entry | nodes.field_body | nodes.list_item):
        return
    children = list(paragraph)
    if isinstance(children[-1], nodes.Text) and children[-1] in (".", "\n"):
        children.pop()
    fitting = (at for at in range(len(children)) if _is_displayed(children[:at], children[at:]))
    first = next(fitting, None)
    if first is None:
        return
    tail = children[first:]
    blocks = [nodes.math_block(line, line, number=None, label=None, nowrap=True) for line in _lines(tail)]
    if first:
        paragraph[first - 1 :] = [nodes.Text(children[first - 1].astext().rstrip())]
        blocks.insert(0, paragraph)
    replaced = paragraph
    if not first and isinstance(paragraph.parent, nodes.block_quote) and len(paragraph.parent) == 1:
        replaced = paragraph.parent
    parent, at = replaced.parent, replaced.parent.index(replaced)
    parent[at : at + 1] = blocks


def _is_displayed(before: list[nodes.Node], tail: list[nodes.Node]) -> bool:
    """Whether the tail of a paragraph is formulas, to which a colon or nothing leads up."""
    leads_up = not before or (isinstance(before[-1], nodes.Text) and before[-1].endswith(": "))
    are_formulas = all(isinstance(child, nodes.math) or _links(child) for child in tail)
    return leads_up and are_formulas and isinstance(tail[0], nodes.math)


def _links(child: nodes.Node) -> bool:
    """Whether text may stand between the formulas of a displayed line."""
    return isinstance(child, nodes.Text) and bool(LINKING.fullmatch(child.astext()))


def _lines(tail: list[nodes.Node]) -> list[str]:
    """Formulas and the text between them as lines of LaTeX; long formulas have a line of their own."""
    first, *others = (child.astext() for child in tail if isinstance(child, nodes.math))
    words = [child.astext() for child in tail if not isinstance(child, nodes.math)]
    if len(first) + sum(map(len, others)) > LONGEST_LINE or "\n" in words:
        return [first, *(_link(word) + formula for word, formula in zip(words, others, strict=True))]
    linked = ((_link(word) or r",\quad ") + formula for word, formula in zip(words, others, strict=True))
    return ["".join([first, *linked])]


def _link(text: str) -> str:
    """A word between formulas as LaTeX."""
    word = text.strip(",; \n")
    return rf"\quad\text{{{word}}}\quad " if word else ""


def render(latex: str, display: str) -> str:
    """Translate LaTeX to MathML."""
    mathml: str = convert(latex, display=display)
    mathml = re.sub(rf"({FUNCTION})(?=<m[a-z]*(?<!<mo)[ >])", rf"\1{THIN_SPACE}", mathml)
    mathml = re.sub(rf"(</m(?!o)[a-z]+>|\)</mo>|&#x00029;</mo>)(?={FUNCTION})", rf"\1{THIN_SPACE}", mathml)
    return mathml.replace("<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">&#x0002F;</mo>')


def visit_math(self: Any, node: nodes.Element) -> None:
    """Write mathematics in a line."""
    self.body.append(render(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.Element) -> None:
    """Write displayed mathematics."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(render(node.astext(), "block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer and the transform."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_transform(Formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
