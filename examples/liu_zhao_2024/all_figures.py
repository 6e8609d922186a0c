"""Every figure of Liu & Zhao (MobiHoc 2024), both editions: pictures and tables into the folder that is named, or here.

    python examples/liu_zhao_2024/all_figures.py figures --samples 2 --workers 2
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "all", "--out", *(sys.argv[1:] or ["."])])
