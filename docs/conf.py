"""The site of the documentation: `make docs` builds it into docs/_build/html, without the network."""

import re
from importlib.metadata import version as version_of

project = "PKDOT"
author = "the PKDOT authors"
release = version_of("pkdot")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"PKDOT {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_ivar = True
add_module_names = False
autodoc_typehints = "none"  # the docstrings say more of a type than its name
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "exclude-members": "model_config, model_fields, model_post_init, model_computed_fields, forward",
}
suppress_warnings = ["ref.python"]  # words such as "shape" in the type of a parameter are the names of several things


def setup(app):
    """Let docstrings be what they are, numpydoc and not reStructuredText: a star alone is a star."""
    app.connect("autodoc-process-docstring", _escape_stars)


def _escape_stars(app, what, name, obj, options, lines):
    lines[:] = [re.sub(r"(?<![*`\\w])\*(?=\w)", r"\\*", line) for line in lines]
