"""Docstrings as reStructuredText, and code in the text as links to what it names."""

from __future__ import annotations

import re
from typing import Any

import reference_pages
from docutils import nodes
from markup import markup
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

NAME = re.compile(r"(?P<name>[A-Za-z]\w*(?:\.\w+)*)(?:\(.*\))?", re.DOTALL)
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
MARKS = re.compile(r"""'[^']*'|"[^"]*"|[\[\](),]""")
PACKAGES = ("jaxnets", "jax", "optax", "numpy")
ABBREVIATIONS = {"jnp": "jax.numpy", "np": "numpy"}
NO_LINKS = nodes.title | nodes.reference | addnodes.pending_xref


def process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Prepare a docstring for Sphinx."""
    lines[:] = markup("\n".join(lines)).split("\n")


def name_types(app: Any, what: str, name: str, value: Any, options: Any, signature: Any, result: Any) -> Any:
    """Show type aliases such as `Params` by their names, and types with a rule without it."""
    return tuple(text and without_rules(ALIAS.sub(r"\1", text)) for text in (signature, result))


def without_rules(signature: str) -> str:
    """Write `Annotated[int, Rule('at least 1')]` as `int`."""
    while "Annotated[" in signature:
        before, _, after = signature.rpartition("Annotated[")  # the last one has no other in it
        depth, commas = 0, []
        for mark in MARKS.finditer(after):
            if mark[0] == "]" and depth == 0:
                break
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(mark[0], 0)
            if mark[0] == "," and depth == 0:
                commas.append(mark.start())
        signature = before.removesuffix("~typing.") + after[: commas[0]] + after[mark.end() :]
    return signature


def skip_fields(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """The fields of a NamedTuple are described under Attributes."""
    return True if type(value).__name__ == "_tuplegetter" else None


class Links(SphinxTransform):
    """Make code that names something public a link to it: of this library, or of a package with an inventory."""

    default_priority = 210

    def apply(self, **kwargs: Any) -> None:
        """Go through the code within the text of the page."""
        public = reference_pages.public_paths()
        page = self.env.docname.removeprefix("reference/")
        module = next((name for name in _prefixes(page) if name in reference_pages.pages()), "")
        for literal in list(self.document.findall(nodes.literal)):
            match = NAME.fullmatch(literal.astext())
            if match is None or _is_inside(literal, NO_LINKS) or match["name"] in _parameters(literal):
                continue
            target = _target(match["name"], module, public)
            if target is not None and target not in _described(literal):
                reference = addnodes.pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=False
                )
                literal.replace_self(reference)
                reference.append(literal)


def _target(name: str, module: str, public: dict[str, str]) -> str | None:
    first, _, rest = name.partition(".")
    if not rest:
        return public.get(f"{module}.{name}")
    if first in ABBREVIATIONS:
        return f"{ABBREVIATIONS[first]}.{rest}"
    if first in PACKAGES:
        return public.get(name, name)
    return public.get(f"jaxnets.{name}")


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _is_inside(node: nodes.Node, kinds: Any) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def _description(node: nodes.Node) -> addnodes.desc | None:
    while node is not None and not isinstance(node, addnodes.desc):
        node = node.parent
    return node


def _parameters(literal: nodes.literal) -> set[str]:
    """The parameters of the function whose description the code is in: they are names of their own."""
    description = _description(literal)
    if description is None:
        return set()
    found = description[0].findall(addnodes.desc_parameter)
    return {re.split(r"[:=]", parameter.astext())[0].strip("* ") for parameter in found}


def _described(literal: nodes.literal) -> list[str]:
    description = _description(literal)
    return [] if description is None else description[0].get("ids", [])


def setup(app: Any) -> dict[str, bool]:
    """Connect the functions above."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", name_types)
    app.connect("autodoc-skip-member", skip_fields)
    app.add_transform(Links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
