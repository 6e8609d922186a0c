"""Peak memory of every fine-tuning method by component for four models, with what devices have as lines.

    python examples/dong_2024/dong_memory.py figures
"""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "memory", "--paper", "dong-2024", "--out", *(sys.argv[1:] or ["."])])
