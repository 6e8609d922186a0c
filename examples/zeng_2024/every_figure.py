"""Every figure on Zeng et al. (arXiv 2404.17766), both testbeds: pictures and tables into a folder.

    python examples/zeng_2024/every_figure.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "all", "--paper", "zeng-2024", "--out", *(sys.argv[1:] or ["."])])
