"""MathJax from a package instead of from the network: formulas are seen offline, too.

The package has all of MathJax in 24 MB; a page needs one script and its fonts. Without the package the pages load
MathJax from where Sphinx says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

__all__ = ["SCRIPT", "mathjax_folder", "setup"]

SCRIPT: Final = "tex-chtml.js"
_FONTS: Final = "output/chtml/fonts/woff-v2"


def mathjax_folder() -> Path | None:
    """Where the package keeps MathJax; None if it is not installed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static" / "mathjax"
    return folder if (folder / SCRIPT).is_file() and (folder / _FONTS).is_dir() else None


def _copy(app: Any, error: Exception | None) -> None:
    from sphinx.util.fileutil import copy_asset

    folder = mathjax_folder()
    if error is None and folder is not None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "mathjax"
        copy_asset(folder / SCRIPT, target)
        copy_asset(folder / _FONTS, target / _FONTS)


def setup(app: Any) -> dict[str, Any]:
    if mathjax_folder() is not None:
        app.config.mathjax_path = f"mathjax/{SCRIPT}"
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
