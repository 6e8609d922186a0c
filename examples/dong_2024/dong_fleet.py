"""A small fleet by method of allocation: who trains how and where, and the distance to the proven bound.

    python examples/dong_2024/dong_fleet.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "fleet", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
