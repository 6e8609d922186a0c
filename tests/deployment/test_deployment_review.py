"""Cases in which deployments were once answered badly."""

from __future__ import annotations

import numpy as np
import pytest

from edgealloc import Deployment, Weights


@pytest.mark.parametrize("method", ["certified", "exact", "milp"])
def test_what_exceeds_a_load_limit_by_tolerances_is_mended(method: str) -> None:
    # both devices together exceed the limit by 3e-9 of it: too much for an answer, too little for HiGHS to notice
    problem = Deployment(
        device_memory_bytes=np.full(2, 2e9), query_rate_per_s=[[0.25], [0.25]], memory_bytes=[1e9],
        local_delay_s=[[[3.0]], [[3.5]]], busy_s=[[1.0]], load_limit=0.5 * (1.0 - 3e-9),
        uplink_bps=np.full((2, 1), 1e6), downlink_bps=1e6, weights=Weights(1.0, 0.0, 0.0))
    solution = problem.solve(method, gap=1e-6)
    assert solution.allocation is not None
    # the faster one answers itself: 3 s; the other waits 1 s and 1/3 s for the load
    assert solution.objective == pytest.approx(0.5 * (3.0 + 1.0 / 0.75), rel=1e-12)
    assert solution.bound is not None
    assert solution.bound <= 0.5 * (3.0 + 1.0 / 0.75) * (1.0 + 1e-12)
