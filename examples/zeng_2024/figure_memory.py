"""Peak memory of four parallelisms over the capacity of the boards, both testbeds: which models fit whom.

    python examples/zeng_2024/figure_memory.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "memory", "--paper", "zeng-2024", "--out", *(sys.argv[1:] or ["."])])
