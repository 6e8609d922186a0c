"""The methods of SplitTraining by name. Texts, so that naming a method imports nothing."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.split_training"
_LIU_ZHAO: Final = "Liu & Zhao, MobiHoc 2024, arXiv 2409.20247, section 6"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "prices, recovery, exact moves and branches, with a proven lower bound", proves=True,
           reference="docs/certificate.md", run=f"{_HERE}.certified:run"),
    Method("prove", "certified, then branch and bound until the gap is proven", proves=True, slow=True,
           reference="docs/certificate.md", run=f"{_HERE}.certified:run_prove"),
    Method("exact", "every association and cut, for tiny problems (not for rounds)", proves=True, slow=True,
           reference="enumeration", run=f"{_HERE}.exact:run"),
    Method("convex", "resources by a cone solver at a given association and cut: a second opinion", slow=True,
           reference="docs/certificate.md", run=f"{_HERE}.convex:run"),
    Method("fp-cccp", "the paper's algorithm: fractional programming and a penalised association, in turns",
           reference="Liu & Zhao, MobiHoc 2024, arXiv 2409.20247, section 5", run=f"{_HERE}.fp_cccp:run"),
    Method("milp", "association, cut and tangents of the shares as one MILP, by HiGHS", proves=True, slow=True,
           reference="docs/certificate.md", run=f"{_HERE}.milp:run"),
    Method("edge-only", "smallest allowed cut, best server, resources optimised",
           reference=_LIU_ZHAO, run=f"{_HERE}.baselines:edge_only"),
    Method("local-only", "largest allowed cut, best server where one is needed, resources optimised",
           reference=_LIU_ZHAO, run=f"{_HERE}.baselines:local_only"),
    Method("greedy", "server with the best rate, equal shares, best cut",
           reference=_LIU_ZHAO, run=f"{_HERE}.baselines:greedy"),
    Method("random", "random server, equal shares, best cut",
           reference=_LIU_ZHAO, run=f"{_HERE}.baselines:random"),
)
