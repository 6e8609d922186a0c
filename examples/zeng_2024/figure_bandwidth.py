"""Time and energy of four parallelisms and of the certified best plans over the rate of the links, both testbeds.

    python examples/zeng_2024/figure_bandwidth.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "bandwidth", "--paper", "zeng-2024", "--out", *(sys.argv[1:] or ["."])])
