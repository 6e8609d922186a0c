"""Settings of the documentation site: ``make -C docs html``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import edgealloc as ea  # noqa: E402

project = "edgealloc"
author = "The edgealloc developers"
copyright = "the edgealloc developers, Apache License 2.0"
version = release = ea.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "site_pages",
    "site_links",
    "site_math",
]

source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "_static", "_templates", "gallery_scripts", "**/README.md", "Thumbs.db"]
templates_path = ["_templates"]
nitpicky = False
smartquotes = False  # tables and texts hold keys and values in quotes
default_role = "py:obj"  # `name` in a docstring is a link where such a name is documented, else plain code
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# ---- Markdown
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

suppress_warnings = ["myst.header"]  # generated tables may begin with smaller headings

# ---- docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {
    "npt.ArrayLike": "array_like", "Array": "ndarray", "FloatArray": "ndarray", "IntArray": "ndarray",
    "BoolArray": "ndarray",
}  # fmt: skip
autodoc_default_options = {"members": True, "show-inheritance": False}
autosummary_generate = False  # every object is on the page of its topic
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_validation_checks: set[str] = set()  # tests/docs checks what we ask of a docstring

# ---- gallery: every script is executed, one that fails ends the build
if list((HERE / "gallery_scripts").glob("**/plot_*.py")):
    from gallery_figures import SECTIONS

    extensions.insert(3, "sphinx_gallery.gen_gallery")
    sphinx_gallery_conf: dict[str, Any] = {
        "examples_dirs": "gallery_scripts",
        "gallery_dirs": "gallery",
        "filename_pattern": r"/plot_",
        "ignore_pattern": r"(__init__|conf|/_)[^/]*\.py$",
        "only_warn_on_example_error": False,
        "abort_on_example_error": False,
        "download_all_examples": True,
        "show_memory": False,
        "show_signature": False,
        "write_computation_times": False,
        "remove_config_comments": True,
        "image_scrapers": ("matplotlib", "gallery_figures"),
        "ignore_repr_types": r"matplotlib[.](figure|text)|edgealloc",  # shown as pictures, or printed
        "reset_modules": ("matplotlib",),
        "thumbnail_size": (480, 336),
        "subsection_order": [f"gallery_scripts/{one}" for one in SECTIONS],
        "within_subsection_order": "gallery_figures.ScriptOrder",
        "plot_gallery": "True",
        "parallel": False,
        "doc_module": ("edgealloc",),
        "reference_url": {"edgealloc": None},
        "inspect_global_variables": False,
    }

# ---- code
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
pygments_style = "tango"

# ---- pages
html_theme = "pydata_sphinx_theme"
html_title = "edgealloc"
html_static_path = ["_static"]
html_css_files = ["site.css", "gallery.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "edgealloc", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
    "back_to_top_button": False,
}
html_sidebars = {"index": [], "gallery/**": [], "certificate": []}
