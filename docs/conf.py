"""How Sphinx builds this documentation: `make docs`. It needs no network, and neither does the site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

import inventories
import reference_pages

import jaxnets
import jaxnets.types

HERE = Path(__file__).parent
project = "jaxnets"
author = "The jaxnets developers"
release = version = jaxnets.__version__

extensions = [
    "myst_nb",  # Markdown, and notebooks with the outputs that are stored in them
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "mathematics",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
exclude_patterns = ["_build"]
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "furo"
html_title = "jaxnets"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}
pygments_style, pygments_dark_style = "friendly", "github-dark"

maximum_signature_line_length = 88
add_module_names = False
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_type_aliases = {name: name for name in [*jaxnets.types.__all__, "Spec"]}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

intersphinx_mapping = inventories.write(HERE / "inventories.toml", HERE / "_build" / "inventories")
reference_pages.write(HERE / "reference")
