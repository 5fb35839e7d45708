"""The site that `make docs` builds: searched as its own search does, complete, and without the network.

Slow: it builds the site, unless the environment variable JAXNETS_SITE names a folder where it is built already.
"""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("sphinx", reason="the packages of the documentation are not installed: pip install -e '.[docs]'")
pytest.importorskip("myst_nb", reason="the packages of the documentation are not installed: pip install -e '.[docs]'")
DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if "JAXNETS_SITE" in os.environ:
        return Path(os.environ["JAXNETS_SITE"])
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "sphinx", "-W", "--quiet", "-b", "html", DOCS, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def index(site):
    text = (site / "searchindex.js").read_text()
    return json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))


def search(index, query):
    """The pages that Sphinx's searchtools.js finds, best first: by titles, names, the index and all words."""
    from sphinx.search.en import SearchEnglish

    stem = SearchEnglish({}).stem
    scores = {}
    for word in query.lower().split():
        found = {}
        for table, whole, part in (("terms", 5, 2), ("titleterms", 15, 7)):
            for term, numbers in index[table].items():
                score = whole if term == stem(word) else part if len(word) > 2 and stem(word) in term else 0
                for number in numbers if isinstance(numbers, list) else [numbers]:
                    found[number] = max(found.get(number, 0), score)
        for number, score in found.items():
            if score:
                scores.setdefault(number, []).append(score)
    words = len(query.split())
    ranks = {number: max(found) for number, found in scores.items() if len(found) == words}
    for prefix, entries in index["objects"].items():
        for number, _, priority, _, name in entries:
            whole = f"{prefix}.{name}".lower()
            if query.lower() in whole:
                score = (11 if whole.split(".")[-1] == query.lower() else 6) + {0: 15, 1: 5}.get(priority, -5)
                ranks[number] = max(ranks.get(number, 0), score)
    for table, most in (("alltitles", 15), ("indexentries", 100)):
        for text, places in index[table].items():
            if query.lower() in text.lower() and len(query) >= len(text) / 2:
                for number, *_ in places:
                    ranks[number] = max(ranks.get(number, 0), most * len(query) / len(text))
    return [index["docnames"][number] for number in sorted(ranks, key=lambda number: -ranks[number])]


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("remat", "performance"),
        ("remat", "words"),
        ("inference", "how-to/inference"),
        ("learning rate", "how-to/options"),
        ("batch size", "how-to/options"),
        ("batch size", "how-to/data-sources"),
        ("shuffle", "how-to/data-sources"),
        ("freeze", "how-to/freeze"),
        ("mixed precision", "how-to/options"),
        ("gradient clipping", "how-to/options"),
        ("tensorboard", "how-to/logging"),
        ("optuna", "how-to/sweeps"),
        ("dataloader", "words"),
        ("lstm", "reference/jaxnets.nn.lstm"),
    ],
)
def test_search_finds(index, query, page):
    found = search(index, query)
    assert page in found[:6], found[:10]


class Page(HTMLParser):
    """What a page loads from elsewhere, where it links to, and its text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.tags, self.text = [], [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag in ("script", "img", "iframe", "source"):
            self.loads.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(attributes.get("href") or "")
        if tag == "a":
            self.links.append(attributes.get("href") or "")

    def handle_data(self, data):
        self.text.append(data)


def test_nothing_is_loaded_from_the_network(site):
    for path in site.rglob("*.html"):
        elsewhere = [address for address in Page(path).loads if address.startswith(("http:", "https:", "//"))]
        assert not elsewhere, path
    for path in (site / "_static").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text()), path


def test_a_family_has_a_table_formulas_and_sources(site):
    page = Page(site / "reference" / "jaxnets.nn.convolution.html")
    names = [link for link in page.links if link.startswith("#jaxnets.nn.")]
    assert names[:2] == ["#jaxnets.nn.conv_spec", "#jaxnets.nn.conv"]
    assert page.tags.count("math") > 3
    assert any(link.startswith("../_modules/jaxnets/nn/convolution.html#") for link in page.links)


def test_names_of_other_packages_are_links_to_their_documentation(site):
    links = Page(site / "reference" / "jaxnets.nn.activations.html").links
    assert "https://docs.jax.dev/en/latest/_autosummary/jax.nn.relu.html#jax.nn.relu" in links


def test_formulas_leave_no_marks(site):
    for path in (site / "reference").glob("*.html"):
        text = "".join(Page(path).text)
        assert not re.search("[\ue000\U000f0000-\U000ffffd]", text), path
        assert not re.search(r"\$\w+ =", text), path


def test_constants_are_described_by_the_library(site):
    """Not by the docstring of the class that their value has."""
    text = "".join(" ".join(Page(path).text) for path in (site / "reference").glob("*.html"))
    for words in ("integer ([x])", "Convert a number or string to an integer", "Built-in immutable sequence"):
        assert words not in text


def test_signatures_show_types_alone(site):
    """Not the rules for their values, nor where a function was in the memory of whoever built the site."""
    for path in (site / "reference").glob("*.html"):
        assert not re.search(r" at 0x\w{6}", "".join(Page(path).text)), path
    text = "".join(Page(site / "reference" / "jaxnets.models.gpt.html").text)
    assert re.search(
        r"heads: int = 12,\s*features: int = 768,\s*bias: bool = True,\s*activation: str = 'gelu_tanh'", text
    )


def test_every_notebook_is_a_page(site):
    notebooks = list((DOCS / "notebooks").glob("*.ipynb"))
    assert notebooks
    overview = Page(site / "notebooks.html").links
    for notebook in notebooks:
        page = Page(site / "notebooks" / f"{notebook.stem}.html")
        assert "pre" in page.tags
        assert f"notebooks/{notebook.stem}.html" in overview
