"""On the device, at the edge, or both, by the number of phones that share a server (arXiv 2411.09148).

    python examples/zhang_2024/zhang_sharing.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "sharing", "--paper", "zhang-2024", "--out", *(sys.argv[1:] or ["."])])
