"""Time per sample where low-rank adapters on a frozen base are trained, both testbeds.

    python examples/zeng_2024/figure_adapters.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "adapters", "--paper", "zeng-2024", "--out", *(sys.argv[1:] or ["."])])
