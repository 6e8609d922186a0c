"""Every figure on Dong et al. (arXiv 2408.10691), both workloads: pictures and tables into a folder.

    python examples/dong_2024/dong_all.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "all", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
