"""The documentation site: ``make site`` builds it from this repository alone, into ``out/site``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import docstrings  # noqa: E402
import generate  # noqa: E402
import mathml  # noqa: E402

import disco_samplers  # noqa: E402

generate.everything(HERE)

project = "disco-samplers"
author = "the authors of disco-samplers"
copyright = author
version = release = disco_samplers.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_templates"]
templates_path = ["_templates"]
suppress_warnings = [
    "config.cache",  # the renderer of formulas is a function
    "mystnb.unknown_mime_type",
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # saved outputs are shown; `make notebooks` executes them
nb_merge_streams = True

autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autosummary_ignore_module_all = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"disco-samplers {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True


def setup(app):
    """Adds formulas as MathML, and docstrings as they are written."""
    mathml.setup(app)
    docstrings.setup(app)
    app.connect("autodoc-skip-member", without_requests)


def without_requests(app, what, name, member, skip, options):
    """Leaves out the methods that scikit-learn makes for its metadata routing: their text refers to its own site."""
    return True if name.startswith("set_") and name.endswith("_request") else None
