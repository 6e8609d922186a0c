"""The best fine-tuning method that fits, for nine models on nine devices.

    python examples/dong_2024/dong_fits.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "fits", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
