"""Every figure on Zhang et al. (arXiv 2411.09148), both base models: pictures and tables into a folder.

    python examples/zhang_2024/zhang_all.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "all", "--paper", "zhang-2024", "--out", *(sys.argv[1:] or ["."])])
