"""Change of four metrics by strategy against half precision, by the axes of Fig. 1C of Zhang et al. (arXiv 2411.09148).

    python examples/zhang_2024/zhang_strategies.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "strategies", "--paper", "zhang-2024", "--out", *(sys.argv[1:] or ["."])])
