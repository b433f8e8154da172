"""Configuration of Sphinx, which builds the site from the sources that `generate.py` stages."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import conformance

project = "nn-conformance"
author = "the authors of nn-conformance"
copyright = author
release = version = conformance.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "nn-conformance"
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["site.css"]
html_js_files = [("filter.js", {"defer": "defer"})]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# Make anchors as GitHub does, because people read the same files there.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = ["myst.header"]
pygments_style, pygments_dark_style = "default", "github-dark"
# A fence that names no language is a failure or a command, not Python.
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
default_role = "code"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
# Types of other packages, and names in signatures that are not public.
nitpick_ignore_regex = [("py:.*", r"(?!conformance\.(backends\.)?[A-Z]\w*$).*")]

linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False


def setup(app: Sphinx) -> None:
    """Copy the sample reports, which stand beside the sources, into the site unchanged."""

    def add_extra_path(app: Sphinx, config: Config) -> None:
        folder = Path(app.srcdir).parent / "extra"
        config.html_extra_path = [str(folder)] if folder.exists() else []

    app.connect("config-inited", add_extra_path)
