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
    """Display the formulas at the end of a paragraph if nothing stands between them and the colon before them."""
    if isinstance(paragraph.parent, nodes.entry | nodes.field_body | nodes.list_item):
        return
    first = next(at for at, child in enumerate(paragraph) if isinstance(child, nodes.math))
    before = paragraph[first - 1] if first else None
    tail = paragraph[first:]
    if isinstance(tail[-1], nodes.Text) and tail[-1] in (".", "\n"):
        tail = tail[:-1]
    leads_up = before is None or (isinstance(before, nodes.Text) and before.endswith(": "))
    if not leads_up or not all(isinstance(child, nodes.math) or _links(child) for child in tail):
        return
    text = "".join(child.astext() if isinstance(child, nodes.math) else _link(child.astext()) for child in tail)
    blocks = [nodes.math_block(line, line, number=None, label=None, nowrap=True) for line in text.split("\n")]
    parent, at = paragraph.parent, paragraph.parent.index(paragraph)
    if before is None:
        parent[at : at + 1] = blocks
    else:
        paragraph[first - 1 :] = [nodes.Text(before.rstrip())]
        parent[at + 1 : at + 1] = blocks


def _links(child: nodes.Node) -> bool:
    """Whether text may stand between the formulas of a displayed line."""
    return isinstance(child, nodes.Text) and bool(LINKING.fullmatch(child.astext()))


def _link(text: str) -> str:
    """What links two formulas, as LaTeX; the end of a line between formulas alone ends the line."""
    if text == "\n":
        return text
    word = text.strip(",; \n")
    return rf"\quad\text{{{word}}}\quad " if word else r",\quad "


def render(latex: str, display: str) -> str:
    """Translate LaTeX to MathML."""
    mathml: str = convert(latex, display=display)
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
