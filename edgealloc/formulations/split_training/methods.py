"""The methods of SplitTraining by name. Texts, so that naming a method imports nothing."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.split_training"
_OURS: Final = ("edgealloc", "geoffrion1974lagrangean", "kiwiel1990proximity", "lemarechal1995bundle")
_LIU_ZHAO: Final = "Liu & Zhao, MobiHoc 2024, arXiv 2409.20247, section 6"
_QIAN_ZHAO: Final = "Qian & Zhao, arXiv 2310.17872 (acronyms expanded from memory)"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "prices, recovery, exact moves and branches, with a proven lower bound", proves=True,
           reference="docs/certificate.md", cites=_OURS, run=f"{_HERE}.certified:run"),
    Method("prove", "certified, then branch and bound until the gap is proven", proves=True, slow=True,
           reference="docs/certificate.md", cites=(*_OURS, "held1971traveling"), run=f"{_HERE}.certified:run_prove"),
    Method("exact", "every association and cut, for tiny problems (not for rounds)", proves=True, slow=True,
           reference="enumeration", cites=("edgealloc",), run=f"{_HERE}.exact:run"),
    Method("convex", "resources by a cone solver at a given association and cut: a second opinion", slow=True,
           reference="docs/certificate.md", cites=("edgealloc", "diamond2016cvxpy", "goulart2024clarabel"),
           run=f"{_HERE}.convex:run"),
    Method("fp-cccp", "the paper's algorithm: fractional programming and a penalised association, in turns",
           reference="Liu & Zhao, MobiHoc 2024, arXiv 2409.20247, section 5",
           cites=("liu2024resource", "shen2018fractional1", "yuille2003cccp"), run=f"{_HERE}.fp_cccp:run"),
    Method("milp", "association, cut and tangents of the shares as one MILP, by HiGHS", proves=True, slow=True,
           reference="docs/certificate.md",
           cites=("edgealloc", "mitchell2011pulp", "huangfu2018highs", "forrest2005cbc"), run=f"{_HERE}.milp:run"),
    Method("alternating", "cuts, resources and association in turns, each exact, from several starts",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.alternating:run"),
    Method("edge-only", "smallest allowed cut, best server, resources optimised",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:edge_only"),
    Method("local-only", "largest allowed cut, best server where one is needed, resources optimised",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:local_only"),
    Method("alpha-only", "server with the best rate, random resources, best cut for them",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:alpha_only"),
    Method("resource-only", "server with the best rate, random cut, resources optimised",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:resource_only"),
    Method("greedy", "server with the best rate, equal shares, best cut",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:greedy"),
    Method("random", "random server, equal shares, best cut",
           reference=_LIU_ZHAO, cites=("liu2024resource",), run=f"{_HERE}.baselines:random"),
    Method("rucaa", "random server, equal shares, best cut: the same rules as random", slow=True,
           reference=_QIAN_ZHAO, cites=("qian2023association",), run=f"{_HERE}.baselines:rucaa"),
    Method("gucaa", "server with the best rate, equal shares, best cut: the same rules as greedy", slow=True,
           reference=_QIAN_ZHAO, cites=("qian2023association",), run=f"{_HERE}.baselines:gucaa"),
    Method("aauco", "servers by local search, equal shares, best cut",
           reference=_QIAN_ZHAO, cites=("qian2023association",), run=f"{_HERE}.baselines:aauco"),
    Method("gucro", "server with the best rate, cuts and resources optimised in turns",
           reference=_QIAN_ZHAO, cites=("qian2023association",), run=f"{_HERE}.baselines:gucro"),
)
