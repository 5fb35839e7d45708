"""The tables that a notebook shows, as an independent parser of HTML reads them."""

import html5lib


def html_rows(text):
    """The texts of the cells of each row of all tables in a piece of HTML."""
    fragment = html5lib.parseFragment(text, namespaceHTMLElements=False)
    return [["".join(cell.itertext()) for cell in row] for row in fragment.iter("tr")]
