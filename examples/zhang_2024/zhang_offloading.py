"""On the device, at the edge, or both, by the axes of Fig. 5 of Zhang et al. (arXiv 2411.09148).

    python examples/zhang_2024/zhang_offloading.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "offloading", "--paper", "zhang-2024", "--out", *(sys.argv[1:] or ["."])])
