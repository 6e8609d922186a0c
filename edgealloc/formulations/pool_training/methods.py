"""How pool training can be solved: names, what each proves, and where its code is."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.pool_training"
_ZENG: Final = "Zeng et al., arXiv 2404.17766"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "lower bounds and plans by dynamic programming over subsets, then local search", proves=True,
           reference="docs/pool_training.md", cites=("edgealloc",), run=f"{_HERE}.certified:run"),
)
