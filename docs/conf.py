"""Settings of the documentation site: `make docs` builds it with Sphinx.

The source folder is the whole checkout, so that pages, README and results link to each other as they do on disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# notebooks call lcm in a shell, too
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# of site_extension
sys.path.insert(0, str(Path(__file__).parent))

from lcm.base import __version__

project = "lcm"
author = "The lcm authors"
project_copyright = "The lcm authors"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["docs/**", "results/**", "data/README.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = ["docs/_build", "docs/_static", "docs/_root", ".*", "runs", "build", "dist"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_extension"]
# docstrings write code in single backticks, as Markdown does
default_role = "literal"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# "Attributes:" as fields; a property that is named there is documented once more, in full
napoleon_use_ivar = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False

# anchors of headings as GitHub makes them
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "notebooks")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

# formulas are written in Unicode: no renderer of formulas, and so no script of one, is needed
html_theme = "furo"
html_title = "lcm: latent causal models"
html_static_path = ["_static"]
html_extra_path = ["_root"]
html_css_files = ["lcm.css"]
html_copy_source = False
html_show_sourcelink = False
