"""Published memory of fine-tuning beside the model's, with the error of every row.

    python examples/dong_2024/dong_published.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "published", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
