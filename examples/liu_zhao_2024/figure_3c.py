"""Figure 3c of Liu & Zhao (MobiHoc 2024), both editions: pictures and tables into the folder that is named, or here."""

import sys

from edgealloc.cli import app

if __name__ == "__main__":
    app(["figure", "3c", "--out", *(sys.argv[1:] or ["."])])
