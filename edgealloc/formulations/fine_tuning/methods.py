"""How fine-tuning jobs can be assigned: names, what each proves, and where its code is."""

from __future__ import annotations

from typing import Final

from edgealloc.core.method import Method

__all__ = ["METHODS"]

_HERE: Final = "edgealloc.formulations.fine_tuning"
_DONG: Final = "Dong et al., arXiv 2408.10691"

METHODS: Final[tuple[Method, ...]] = (
    Method("certified", "prices of the servers, repaired and improved; what stays open by branch and bound",
           proves=True, reference="docs/fine_tuning.md", cites=("edgealloc",), run=f"{_HERE}.certified:run"),
    Method("exact", "every assignment, by branch and bound", proves=True, slow=True, reference="branch and bound",
           cites=("edgealloc",), run=f"{_HERE}.exact:run"),
    Method("milp", "job x method x place as one MILP, by HiGHS", proves=True, slow=True,
           reference="docs/fine_tuning.md",
           cites=("edgealloc", "mitchell2011pulp", "huangfu2018highs", "forrest2005cbc"), run=f"{_HERE}.milp:run"),
    Method("full-server", "the method that trains everything, at the nearest server that still has room",
           reference=_DONG, cites=("dong2024finetuning",), run=f"{_HERE}.baselines:full_server"),
    Method("lora-device", "low-rank adapters, on every job's own device", reference=_DONG,
           cites=("dong2024finetuning",), run=f"{_HERE}.baselines:lora_device"),
    Method("largest", "the method with most memory that fits the device, else the nearest server that has room",
           reference=_DONG, cites=("dong2024finetuning",), run=f"{_HERE}.baselines:largest"),
    Method("greedy-memory", "jobs by the memory they need, each to its cheapest option that still fits",
           reference=_DONG, cites=("dong2024finetuning",), run=f"{_HERE}.baselines:greedy_memory"),
    Method("random", "a random option of every job that still fits", reference=_DONG, cites=("dong2024finetuning",),
           run=f"{_HERE}.baselines:random_choice"),
)
