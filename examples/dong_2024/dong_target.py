"""First and zeroth order to a target in a federation: time, energy, memory, bytes that are sent.

    python examples/dong_2024/dong_target.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "target", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
