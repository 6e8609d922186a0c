"""Claims about the service-cost ratio: against an optimum that shares no code with the library, and by its own laws.

The oracle is the twin: F(q) = sum(value) - q min(cost + w_s/q AS), its minimum by enumeration over who is where and
every cut, and the resources of each by golden sections. The best ratio is the root of F, so that a bound B is valid
if and only if F(B) <= 0, and a ratio r can be reached only if F(r) >= 0.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instances import chunks, instance, sized
from limits_instances import limited
from limits_twin import optimum as limited_optimum
from twin import Twin

import edgealloc as ea
from edgealloc.formulations.split_training.service_ratio import ASSUMPTIONS, DEFAULT_VALUE

FloatArray = npt.NDArray[np.float64]

#: The twin's minima are good to about this, relative.
TWIN = 1e-7


def weighted(problem: ea.SplitTraining, stability: Any) -> ea.SplitTraining:
    """The same problem with another stability weight."""
    old = problem.weights
    return problem.replace(weights=ea.Weights(old.delay, old.energy, stability, old.reference))


def worth(problem: ea.SplitTraining, seed: int) -> FloatArray:
    """Values that leave some service: what the most stable cut loses, and up to ten times that."""
    twin, rng = Twin(problem), np.random.default_rng([seed, 5])
    lost = np.empty(problem.users)
    for n in range(problem.users):
        cut = next(c for c in range(problem.layers + 1) if twin.cut_allowed(n, c))
        lost[n] = twin.w_s[n] * twin.instability(n, cut)
    typical = np.where(lost > 0.0, lost, max(float(lost.max()), 1.0))
    return np.asarray(lost + typical * 10.0 ** rng.uniform(-2.0, 1.0, problem.users))


def surplus(problem: ea.SplitTraining, value: FloatArray, q: float) -> tuple[float, float]:
    """F(q) by the twin, and how exactly it is known."""
    least = Twin(weighted(problem, problem.weights.stability / q)).optimum()
    return float(value.sum()) - q * least, TWIN * float(value.sum())


@pytest.mark.parametrize("seeds", chunks(24, 3))
def test_ratio_and_bound_enclose_the_optimum(seeds: range) -> None:
    """Over every variant of the model: F(bound) <= 0 <= F(ratio), the history is monotone, and 1e-4 is reached."""
    for seed in seeds:
        problem = instance(seed, users=2, servers=2, layers=4)
        value = worth(problem, seed)
        asked = 1e-4 if seed % 3 else 0.3  # a loose one leaves the inner problems with gaps of their own
        result = ea.service_cost_ratio(problem, value, gap=asked)
        assert result.ratio is not None, seed
        assert result.bound is not None, seed
        assert 0.0 < result.ratio <= result.bound
        for q, sign in ((result.bound, 1.0), (result.ratio, -1.0)):
            amount, tolerance = surplus(problem, value, q)
            assert sign * amount <= tolerance, (seed, q, amount)
        ratios = [step.ratio for step in result.history if step.ratio is not None]
        bounds = [step.bound for step in result.history if step.bound is not None]
        assert ratios == sorted(ratios)
        assert bounds == sorted(bounds, reverse=True)
        assert result.gap is not None
        assert (result.status is ea.Status.OPTIMAL) == (result.gap <= asked)
        assert result.gap <= max(asked, 2e-3), (seed, result.gap)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_optimum_is_that_of_enumeration(seed: int) -> None:
    """Directly: at given integers the service is given, so the best ratio there is service over the least cost."""
    problem = sized(seed, 2, 2, 3)
    value = worth(problem, seed)
    twin, costs = Twin(problem), Twin(weighted(problem, 0.0))
    best = -math.inf
    options = [
        [
            (m, cut)
            for m, cut in itertools.product(range(-1, 2), range(problem.layers + 1))
            if twin.cut_allowed(n, cut) and (cut == problem.layers) == (m < 0) and (m < 0 or problem.gain[n, m] > 0)
        ]
        for n in range(2)
    ]
    for place in itertools.product(*options):
        server, cut = (np.array(one, dtype=np.int64) for one in zip(*place, strict=True))
        service = sum(value[n] - twin.w_s[n] * twin.instability(n, int(cut[n])) for n in range(2))
        best = max(best, service / costs.at(server, cut))
    result = ea.service_cost_ratio(problem, value, gap=1e-6)
    assert result.ratio == pytest.approx(best, rel=2e-6)
    assert result.bound is not None
    assert result.bound >= best * (1.0 - 1e-8)


@pytest.mark.parametrize("trait", ["rounds", "limits"])
def test_rounds_and_limits(trait: str) -> None:
    """The longest delay as the delay of the cost, and deadlines, caps and memory (soft deadlines in the cost too)."""
    for seed in range(4):
        problem = limited(seed, users=2, servers=2, layers=3, feasible=True if seed % 4 else None)
        if trait == "rounds":
            delay = float(np.mean(problem.weights.delay))
            weights = ea.Weights(delay, problem.weights.energy, problem.weights.stability, problem.weights.reference)
            problem = problem.replace(
                delay="max", weights=weights, deadline_penalty_per_s=None, count_upload_delay=True
            )
        value = worth(problem, seed)
        result = ea.service_cost_ratio(problem, value, gap=1e-4)
        if result.diagnosis is not None:
            assert limited_optimum(problem)[0] == math.inf
            continue
        assert result.allocation is not None
        assert result.bound is not None
        assert result.ratio is not None
        assert result.ratio > 0.0
        assert problem.relative_violation(result.allocation) <= 1e-9
        for q, sign in ((result.bound, 1.0), (result.ratio, -1.0)):
            least = limited_optimum(weighted(problem, problem.weights.stability / q))[0]
            assert sign * (float(value.sum()) - q * least) <= 1e-5 * float(value.sum()), (seed, q)


@pytest.mark.parametrize("seeds", chunks(30, 2))
def test_no_method_beats_the_bound(seeds: range) -> None:
    """Ratios that baselines reach stay below what is proven, and are what their allocations give by `evaluate`."""
    for seed in seeds:
        problem = instance(seed, users=3, servers=2, layers=4)
        value = worth(problem, seed)
        proven = ea.service_cost_ratio(problem, value, gap=1e-2).bound
        assert proven is not None
        for method in ("greedy", "random"):
            found = ea.service_cost_ratio(problem, value, method=method, seed=seed)
            assert found.bound is None
            assert found.gap is None
            assert found.status is ea.Status.FEASIBLE
            assert found.ratio is not None
            assert found.allocation is not None
            assert found.ratio <= proven * (1.0 + 1e-12)
            costs = weighted(problem, 0.0).evaluate(found.allocation)
            stability = problem.weights.effective("stability", problem.users)
            service = float((value - stability * costs.instability).sum())
            assert found.ratio == pytest.approx(service / costs.objective, rel=1e-9, abs=1e-9 * value.sum())


def test_exact_and_certified_agree() -> None:
    for seed in range(5):
        problem = sized(seed, 3, 2, 4)
        value = worth(problem, seed)
        ours, exact = (ea.service_cost_ratio(problem, value, method=one, gap=1e-7) for one in ("certified", "exact"))
        assert exact.status is ea.Status.OPTIMAL
        assert ours.ratio == pytest.approx(exact.ratio, rel=1e-3)
        assert ours.ratio is not None
        assert exact.bound is not None
        assert ours.bound is not None
        assert exact.ratio is not None
        assert ours.ratio <= exact.bound
        assert exact.ratio <= ours.bound


def test_scaling() -> None:
    """Values and stability weights times c: the ratio times c. Delay and energy weights times c: divided by c."""
    problem = sized(3, 3, 2, 5)
    value, weights = worth(problem, 3), problem.weights
    plain = ea.service_cost_ratio(problem, value, gap=1e-6).ratio
    assert plain is not None
    more = ea.service_cost_ratio(weighted(problem, 7.0 * weights.stability), 7.0 * value, gap=1e-6).ratio
    dearer = problem.replace(
        weights=ea.Weights(7.0 * weights.delay, 7.0 * weights.energy, weights.stability, weights.reference)
    )
    less = ea.service_cost_ratio(dearer, value, gap=1e-6).ratio
    assert more == pytest.approx(7.0 * plain, rel=2e-6)
    assert less == pytest.approx(plain / 7.0, rel=2e-6)
    # worth more each: the ratio rises, and with values beyond all instability it is value over the least cost
    assert ea.service_cost_ratio(problem, 2.0 * value, gap=1e-6).ratio > plain  # type: ignore[operator]
    cheapest = weighted(problem, 0.0).solve(gap=1e-9).objective
    rich = ea.service_cost_ratio(problem, 1e9 * value, gap=1e-6).ratio
    assert rich == pytest.approx(1e9 * value.sum() / cheapest, rel=3e-6)


def test_no_weight_on_stability() -> None:
    """Service is then given, and the ratio is that over the least cost."""
    problem = weighted(sized(1, 3, 2, 4), 0.0)
    result = ea.service_cost_ratio(problem, gap=1e-6)
    assert result.service == pytest.approx(3 * DEFAULT_VALUE)
    assert result.cost == pytest.approx(problem.solve(gap=1e-9).objective, rel=1e-6)
    assert result.status is ea.Status.OPTIMAL


def test_default_value_and_page() -> None:
    """Twice the stability weight; the page and the text say that it is reconstructed and what was assumed."""
    problem = ea.Scenario.random(users=6, servers=2, seed=0).split_training(weights=ea.Weights(stability=3.0))
    result = ea.service_cost_ratio(problem)
    assert result.value.tolist() == [2.0 * 3.0] * 6
    page = str(result)
    for text in ("reconstructed", "2310.17872", "upper bound", "(proven)", "ratio  ", "assumptions"):
        assert text in page
    assert result.assumptions == ASSUMPTIONS
    assert "optimal" in repr(result)
    frame = result.to_frame()
    assert len(frame) == 6
    assert frame["service"].sum() == pytest.approx(result.service)
    assert frame["cost"].sum() == pytest.approx(result.cost)
    assert "gap          unknown" in str(ea.service_cost_ratio(problem, method="greedy"))


def test_the_same_bits() -> None:
    problem = ea.Scenario.random(users=12, servers=3, seed=2).split_training()
    results = [ea.service_cost_ratio(problem, threads=threads, time_limit_s=None) for threads in (1, 2)]
    one, two = ([(step.q, step.upper, step.ratio, step.bound) for step in result.history] for result in results)
    assert one == two
    assert results[0].ratio == results[1].ratio


def test_service_that_must_be_looked_for() -> None:
    """Where the cheapest allocation has no service left, a more stable one is found."""
    problem = sized(5, 2, 2, 6, clock_scaled=False, fu=False, extreme=False, free_stability=False, min_local=1,
                    stability_limit=False, device_memory=False)
    twin = Twin(problem)
    lost = np.array([twin.w_s[n] * twin.instability(n, 1) for n in range(2)])
    for factor in (1e-2, 1.0, 100.0):
        heavy = weighted(problem, np.asarray(problem.weights.stability) * factor)
        result = ea.service_cost_ratio(heavy, 1.01 * factor * lost)
        assert result.ratio is not None
        assert result.ratio > 0.0
        assert result.status is ea.Status.OPTIMAL


def test_infeasible() -> None:
    """The diagnosis is passed on; `require` raises with it."""
    problem = sized(0, 2, 2, 4, fu=False).replace(deadline_s=1e-9)
    result = ea.service_cost_ratio(problem, worth(problem.replace(deadline_s=None), 0))
    assert result.status is ea.Status.INFEASIBLE
    assert result.diagnosis is not None
    assert result.ratio is None
    assert "deadline_s" in str(result)
    for use in (result.require, result.to_frame):
        with pytest.raises(ea.InfeasibleError, match="deadline_s"):
            use()


def test_interruption_and_time() -> None:
    """Ctrl-C in a report and a clock that runs out keep the best so far, which is feasible and still bounded."""
    problem = ea.Scenario.random(users=20, servers=3, seed=4).split_training()
    whole = ea.service_cost_ratio(problem, gap=1e-5, time_limit_s=None)
    assert whole.bound is not None
    for after in (0, 1, 5, 20, 60):
        seen: list[ea.Progress] = []

        def stop(line: ea.Progress, after: int = after, seen: list[ea.Progress] = seen) -> None:
            seen.append(line)
            if len(seen) > after:
                raise KeyboardInterrupt

        result = ea.service_cost_ratio(problem, gap=1e-5, on_progress=stop)
        assert result.termination in (ea.Termination.INTERRUPTED, ea.Termination.GAP)
        if result.ratio is not None:
            assert result.ratio <= whole.bound * (1.0 + 1e-12)
            if result.bound is not None:
                assert whole.ratio is not None
                assert result.bound >= whole.ratio * (1.0 - 1e-12)
    short = ea.service_cost_ratio(problem, gap=0.0, time_limit_s=1e-3)
    assert short.termination is ea.Termination.TIME_LIMIT
    assert short.seconds < 5.0
    gaps = [line.gap for line in seen if line.gap is not None]
    assert all(later <= earlier + 1e-15 for earlier, later in itertools.pairwise(gaps))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": -1.0}, r"value: is -1; it must be finite and >= 0"),
        ({"value": [1.0, math.nan, 1.0]}, r"value\[1\]: is nan"),
        ({"value": [1.0, 2.0]}, r"value: has shape \(2,\); give a number or 3 of them"),
        ({"value": "much"}, r"value: is 'much', not a number"),
        ({"value": 0.0}, r"value: sums to 0, and instability takes .* give more than"),
        ({"method": "certifid"}, "did you mean 'certified'"),
        ({"gap": -1.0}, "gap: is -1.0"),
        ({"time_limit_s": 0.0}, "time_limit_s"),
    ],
)
def test_faulty_input(options: dict[str, Any], message: str) -> None:
    problem = sized(0, 3, 2, 4, free_stability=False)
    with pytest.raises(ea.DataError, match=message):
        ea.service_cost_ratio(problem, **options)


def test_not_a_problem() -> None:
    with pytest.raises(ea.DataError, match="SplitTraining"):
        ea.service_cost_ratio("problem")  # type: ignore[arg-type]


def test_example_and_page(tmp_path: Path) -> None:
    """The example runs and prints the table that the documentation shows, to the gap."""
    folder = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(folder / "examples" / "service_cost_ratio.py")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown = (folder / "docs" / "service_cost_ratio.md").read_text(encoding="utf-8")
    assert "reconstructed" in done.stdout

    def rows(text: str) -> FloatArray:
        table = text.partition("local layers\n")[2].split("```")[0]
        return np.array([line.split() for line in table.splitlines() if line], dtype=float)

    printed, written = rows(done.stdout), rows(shown)
    assert printed.shape == (4, 6)
    assert printed[:, :5] == pytest.approx(written[:, :5], rel=2e-3)
    assert (printed[:, 3:5] <= printed[:, 2:3]).all()
