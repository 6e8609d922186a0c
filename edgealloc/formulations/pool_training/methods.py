"""How pool training can be solved: names, what each proves, and where its code is."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.pool_training"
_ZENG: Final = "Zeng et al., arXiv 2404.17766"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "lower bounds and plans by dynamic programming over subsets, then local search", proves=True,
           reference="docs/pool_training.md", cites=("edgealloc",), run=f"{_HERE}.certificate.certified:run"),
    Method("exact", "every plan, for small pools: pipelines by bounded search, shares by their trade-offs", proves=True,
           slow=True, reference="enumeration", cites=("edgealloc",), run=f"{_HERE}.exact:run"),
    Method("milp", "devices, order and layers of a pipeline as one MILP, by HiGHS; nothing proven about hybrids",
           proves=True, slow=True, reference="docs/pool_training.md",
           cites=("edgealloc", "mitchell2011pulp", "huangfu2018highs", "forrest2005cbc"), run=f"{_HERE}.milp:run"),
    Method("hybrid", "pipelines of groups: dynamic programming over orders of devices, then small moves",
           reference="Ye et al., arXiv 2408.08015", cites=("ye2024asteroid", "edgealloc"), run=f"{_HERE}.hybrid:run"),
    Method("edgeshard", "pipeline with the shortest longest stage, over layers and sets of devices",
           reference="Zhang et al., arXiv 2405.14371, made for training", cites=("zhang2024edgeshard",),
           run=f"{_HERE}.baselines:edgeshard"),
    Method("single-best", "the best single device", reference=_ZENG, cites=("zeng2024implementation",),
           run=f"{_HERE}.baselines:single_best"),
    Method("data", "data parallelism of all devices, samples by speed and memory", reference=_ZENG,
           cites=("zeng2024implementation",), run=f"{_HERE}.baselines:data"),
    Method("sequence", "sequence parallelism of all devices, tokens by speed and memory", reference=_ZENG,
           cites=("zeng2024implementation",), run=f"{_HERE}.baselines:sequence"),
    Method("tensor", "tensor parallelism of all devices, heads by speed and memory", reference=_ZENG,
           cites=("zeng2024implementation",), run=f"{_HERE}.baselines:tensor"),
    Method("pipeline", "pipeline of all devices in the best of a few orders, layers by dynamic programming",
           reference=_ZENG, cites=("zeng2024implementation",), run=f"{_HERE}.baselines:pipeline"),
    Method("data-equal", "data parallelism of all devices with equal numbers of samples", reference=_ZENG,
           cites=("zeng2024implementation",), run=f"{_HERE}.baselines:data_equal"),
    Method("pipeline-equal", "pipeline of all devices in the order given with equal numbers of layers",
           reference=_ZENG, cites=("zeng2024implementation",), run=f"{_HERE}.baselines:pipeline_equal"),
    Method("greedy", "the fastest devices, one more while it helps, under the best parallelism without groups",
           reference=_ZENG, cites=("zeng2024implementation",), run=f"{_HERE}.baselines:greedy"),
)
