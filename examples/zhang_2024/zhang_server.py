"""Four metrics of strategies on a server, by the axes of Fig. 4 of Zhang et al. (arXiv 2411.09148).

    python examples/zhang_2024/zhang_server.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "server", "--paper", "zhang-2024", "--out", *(sys.argv[1:] or ["."])])
