"""How deployments can be planned: names, what each proves, and where its code is."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.deployment"
_ZHANG: Final = "Zhang et al., arXiv 2411.09148"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "prices of servers and of the fleet's limits, repaired and improved; queues by levels of load",
           proves=True, reference="docs/deployment.md", cites=("edgealloc",), run=f"{_HERE}.certified:run"),
    Method("exact", "every rollout, by branch and bound", proves=True, slow=True, reference="branch and bound",
           cites=("edgealloc",), run=f"{_HERE}.exact:run"),
    Method("milp", "device x variant x classes x server as one MILP, queues by tangents, by HiGHS", proves=True,
           slow=True, reference="docs/deployment.md",
           cites=("edgealloc", "mitchell2011pulp", "huangfu2018highs", "forrest2005cbc"), run=f"{_HERE}.milp:run"),
    Method("threshold", "simple classes on the device, from one difficulty on at the edge; the best such difficulty",
           reference=_ZHANG, cites=("zhang2025democratized",), run=f"{_HERE}.baselines:threshold"),
    Method("device-only", "on the device whatever it can answer, by its cheapest variant; the rest at the edge",
           reference=_ZHANG, cites=("zhang2025democratized",), run=f"{_HERE}.baselines:device_only"),
    Method("edge-only", "at the nearest server with room whatever it may answer; the rest on the device",
           reference=_ZHANG, cites=("zhang2025democratized",), run=f"{_HERE}.baselines:edge_only"),
    Method("greedy", "devices by their rate of queries, each to its cheapest option that still fits",
           reference=_ZHANG, cites=("zhang2025democratized",), run=f"{_HERE}.baselines:greedy"),
    Method("random", "a random option of every device that still fits", reference=_ZHANG,
           cites=("zhang2025democratized",), run=f"{_HERE}.baselines:random_choice"),
)
