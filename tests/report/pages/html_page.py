"""A page as a strict parser of HTML reads it."""

import json
import re

import pytest


class Page:
    """A page whose HTML has no mistake and which asks for nothing elsewhere."""

    def __init__(self, text):
        html5lib = pytest.importorskip("html5lib")
        self.root = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
        self.check_asks_for_nothing()
        names = [node.get("id") for node in self.root.iter() if node.get("id")]
        assert len(names) == len(set(names))
        assert {link.get("href")[1:] for link in self.all("a")} <= set(names)

    def check_asks_for_nothing(self):
        for node in self.root.iter():
            for attribute, value in node.items():
                if attribute in ("src", "href", "srcset", "action", "poster", "data"):
                    assert value.startswith(("data:", "#")), (attribute, value[:80])
            if node.tag in ("style", "script"):
                assert not re.search(
                    r"@import|url\(\s*[^#)]|fetch\(|XMLHttpRequest|import\(", node.text or "".replace("`", "")
                )

    def all(self, tag):
        return list(self.root.iter(tag))

    def by_id(self, name):
        (found,) = (node for node in self.root.iter() if node.get("id") == name)
        return found

    def tables(self, section):
        """The tables of a section, as lists of rows of (text, title)."""
        return [
            [[(words(cell), cell.get("title")) for cell in row if cell.tag in ("td", "th")] for row in table.iter("tr")]
            for table in self.by_id(section).iter("table")
        ]

    def charts(self):
        return json.loads(self.by_id("charts").text)


def words(node):
    return " ".join("".join(node.itertext()).split())
