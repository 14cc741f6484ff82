"""How Sphinx makes the site; `tools/site.py` lays its sources out and gives it the address."""

import os
import re
from importlib.util import find_spec

from docutils import nodes

project = "bdnn"
author = "the bdnn authors"
project_copyright = author
html_title = "bdnn: learning to hash"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinx_copybutton"] if find_spec("sphinx_copybutton") else []
copybutton_selector = "div.highlight:not(.cell_output *) pre"
suppress_warnings = ["mystnb.unknown_mime_type"]

# the outputs that are stored in the notebooks, and their mathematics
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
mathjax_path = "tex-svg.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "svg": {"displayAlign": "center", "mtextInheritFont": True},
}

# the reference, from the docstrings
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_mock_imports = ["numba"]
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which the file system does not allow
html_context = {"default_mode": "auto"}
html_theme_options = {
    "repository_url": os.environ["BDNN_ADDRESS"],
    "repository_branch": "main",
    "path_to_docs": ".",
    "use_repository_button": True,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search stands in the sidebar
}


def plain_text(app, what, name, obj, options, lines):
    """Let norms, |x|, and learned attributes, W_, stand for themselves in the docstrings."""
    for k, line in enumerate(lines):
        if not line.lstrip().startswith(".."):
            parts = re.split("(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
            lines[k] = "".join(parts)


def foreign(app, what, name, obj, skip, options):
    """Leave out what a class inherits from another library, and the fields of named tuples."""
    code = getattr(obj, "fget", obj)  # of a property
    module = getattr(code, "__module__", None) or ""
    inherited = callable(code) and not module.startswith("bdnn")
    return True if inherited or type(obj).__name__ == "_tuplegetter" else None


def equations(app, doctree, docname):
    """Hand displayed equations to MathJax as they are: Sphinx's `split` would forbid `\\tag`."""
    for node in doctree.findall(nodes.math_block):
        node["no-wrap"] = node["nowrap"] = True
        node.children = [nodes.Text(f"\\[{node.astext()}\\]")]


def setup(app):
    """Connect the hooks above."""
    app.connect("doctree-resolved", equations)
    app.connect("autodoc-process-docstring", plain_text)
    app.connect("autodoc-skip-member", foreign)
