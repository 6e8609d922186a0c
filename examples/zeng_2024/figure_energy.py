"""Energy per sample of four parallelisms and of the certified best plan over one device, both testbeds.

    python examples/zeng_2024/figure_energy.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "energy", "--paper", "zeng-2024", "--out", *(sys.argv[1:] or ["."])])
