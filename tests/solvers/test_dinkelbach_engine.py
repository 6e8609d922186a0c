"""Claims about the ratio engine: against enumeration in exact fractions, with exact, sloppy and lying oracles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.status import Termination
from edgealloc.errors import DataError
from edgealloc.solvers.dinkelbach import RatioAnswer, RatioSearch, maximise_ratio

Points = list[tuple[int, int]]


def points(seed: int, *, negative: bool = False) -> Points:
    """(N, D) of some points, whole numbers so that ratios are exact; one point in five has a huge denominator."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    numerator = rng.integers(-50 if negative else 1, 0 if negative else 200, count)
    denominator = rng.integers(1, 30, count) * np.where(rng.random(count) < 0.2, 1000, 1)
    return [(int(n), int(d)) for n, d in zip(numerator, denominator, strict=True)]


def best(given: Points) -> Fraction:
    """The largest ratio, exactly."""
    return max(Fraction(n, d) for n, d in given)


def oracle(
    given: Points, rng: np.random.Generator | None = None, *, slack: float = 0.0, proves: bool = True
) -> Callable[[float], RatioAnswer[int]]:
    """Exact by comparison of all points; with `slack`, any point that good, and an upper bound that loose."""

    def ask(q: float) -> RatioAnswer[int]:
        values = [n - q * d for n, d in given]
        top = max(values)
        near = [i for i, value in enumerate(values) if value >= top - slack]
        chosen = near[0] if rng is None else int(rng.choice(near))
        loose = top if rng is None else top + slack * float(rng.random())
        guard = 1e-14 * max(abs(n) + abs(q) * d for n, d in given)
        return RatioAnswer(chosen, given[chosen][0], given[chosen][1], loose + guard if proves else None)

    return ask


def history_is_monotone(search: RatioSearch[int]) -> bool:
    ratios = [step.ratio for step in search.history if step.ratio is not None]
    bounds = [step.bound for step in search.history if step.bound is not None]
    return ratios == sorted(ratios) and bounds == sorted(bounds, reverse=True)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("known", ["nothing", "low", "high", "both"])
def test_exact_oracles_give_the_best_ratio(known: str, negative: bool) -> None:
    """The ratio is that of enumeration, proven in a handful of calls, whatever is known and wherever it starts."""
    for seed in range(150):
        given = points(seed, negative=negative)
        optimum = best(given)
        low = float(min(d for _, d in given)) if known in ("low", "both") else None
        high = float(max(d for _, d in given)) if known in ("high", "both") else None
        start = float(np.random.default_rng(seed).uniform(-5.0, 250.0))
        search: RatioSearch[int] = RatioSearch(start, denominator_min=low, denominator_max=high)
        maximise_ratio(oracle(given), search, Run(gap=1e-9))
        assert search.termination is Termination.GAP
        assert search.ratio == float(optimum)
        assert Fraction(search.bound) >= optimum * (1 - Fraction(1, 10**15) * (1 if optimum > 0 else -1))
        assert search.bound - search.ratio <= 1e-9 * abs(search.ratio) + 1e-300
        assert search.point is not None
        assert Fraction(*given[search.point]) == optimum
        assert history_is_monotone(search)
        assert len(search.history) <= 15


@pytest.mark.parametrize("slack", [1e-6, 0.1, 30.0])
def test_sloppy_oracles_never_prove_too_much(slack: float) -> None:
    """Any answer within the slack and any valid upper bound: the bound holds, the ratio never falls, it ends."""
    for seed in range(300):
        given, rng = points(seed), np.random.default_rng([seed, 1])
        optimum = best(given)
        low = float(min(d for _, d in given)) * rng.uniform(0.1, 1.0) if rng.random() < 0.7 else None
        search: RatioSearch[int] = RatioSearch(float(rng.uniform(0.0, 100.0)), denominator_min=low)
        maximise_ratio(oracle(given, rng, slack=slack), search, Run(gap=1e-6))
        assert search.ratio <= float(optimum) <= search.bound * (1.0 + 1e-15)
        assert history_is_monotone(search)
        assert len(search.history) < 60
        assert search.termination in (Termination.GAP, Termination.STAGES_EXHAUSTED)
        if slack == 1e-6:
            assert search.gap() <= 1e-4


def test_the_bound_is_the_linear_program_over_the_denominator() -> None:
    """What several proofs give together is the largest t -> min_i q_i + U_i t over the possible t = 1/D."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        low, high = sorted(rng.uniform(0.5, 20.0, 2))
        proofs = [(float(q), float(rng.uniform(-1.0, 1.0) * 10.0)) for q in rng.uniform(0.0, 5.0, rng.integers(1, 6))]
        search: RatioSearch[int] = RatioSearch(0.0, denominator_min=float(low), denominator_max=float(high))
        for q, upper in proofs:
            search.prove(q, upper)
        ends = [1.0 / high, 1.0 / low]
        crossings = [(b[0] - a[0]) / (a[1] - b[1]) for a, b in itertools.combinations(proofs, 2) if a[1] != b[1]]
        possible = [t for t in [*ends, *crossings] if ends[0] <= t <= ends[1]]
        assert search.bound == pytest.approx(max(min(q + u * t for q, u in proofs) for t in possible), rel=1e-9)


def test_one_proof_by_hand() -> None:
    """q + U/D_min above the root, q + U/D_max below it, q where D_max is unknown, nothing without D_min."""
    for low, high, upper, bound in [
        (2.0, 8.0, 4.0, 5.0), (2.0, 8.0, -4.0, 2.5), (2.0, None, -4.0, 3.0), (None, None, -4.0, 3.0),
        (None, 8.0, 4.0, math.inf), (None, None, 0.0, 3.0),
    ]:  # fmt: skip
        search: RatioSearch[int] = RatioSearch(0.0, denominator_min=low, denominator_max=high)
        search.prove(3.0, upper)
        assert search.bound == pytest.approx(bound, rel=1e-12)
    chord: RatioSearch[int] = RatioSearch(0.0)
    chord.prove(2.0, 3.0)
    chord.prove(4.0, -1.0)
    assert chord.bound == pytest.approx(3.5, rel=1e-12)


def test_convergence_is_superlinear() -> None:
    """On a smooth F (a continuous problem, best ratio e) the error is squared in every step."""

    def ask(q: float) -> RatioAnswer[float]:
        x = 1.0 / q  # max over x > 0 of (2 + ln x) - q x
        return RatioAnswer(x, 2.0 + math.log(x), x, None)

    search: RatioSearch[float] = RatioSearch(4.0)
    maximise_ratio(ask, search, Run(gap=0.0))
    # the best ratio is e: d/dx of (2 + ln x)/x vanishes at ln x = -1
    errors = [math.e - step.ratio for step in search.history if step.ratio is not None]
    assert search.termination is Termination.CONVERGED
    assert search.ratio == pytest.approx(math.e, rel=1e-12)
    assert len(errors) <= 8
    assert all(after <= before**2 + 1e-14 for before, after in itertools.pairwise(errors) if before < 0.5)


def test_oracles_that_prove_nothing() -> None:
    """The ratio is the best all the same; there is no bound, and CONVERGED is all that is said."""
    for seed in range(50):
        given = points(seed)
        search: RatioSearch[int] = RatioSearch(0.0, denominator_min=1.0)
        maximise_ratio(oracle(given, proves=False), search, Run(gap=1e-3))
        assert search.termination is Termination.CONVERGED
        assert search.ratio == float(best(given))
        assert search.bound == math.inf


def test_wrong_proofs_are_withdrawn() -> None:
    """An upper bound below a ratio that was found is a contradiction: no bound is left, and it is said."""
    search: RatioSearch[int] = RatioSearch(0.0, denominator_min=1.0)
    search.offer(0, 6.0, 2.0)
    search.prove(2.0, -1.0)
    assert search.bound == math.inf
    assert "withdrawn" in search.notes[0]


def test_stops() -> None:
    """Time, an interruption and an oracle that was stopped lose nothing; a limit of iterations ends it."""
    given = [(1, 3), (5, 8), (7, 20), (9, 31)]
    search: RatioSearch[int] = RatioSearch(0.0)
    with pytest.raises(TimeUpError):
        maximise_ratio(oracle(given), search, Run(time_limit_s=-1.0))
    assert search.history == []

    def interrupt(_line: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maximise_ratio(oracle(given), search, Run(on_progress=interrupt))
    assert search.ratio == 9 / 31

    def stopped(q: float) -> RatioAnswer[int]:
        answer = oracle(given)(q)
        return RatioAnswer(answer.point, answer.numerator, answer.denominator, None, Termination.TIME_LIMIT)

    search = RatioSearch(0.0)
    maximise_ratio(stopped, search, Run())
    assert search.termination is Termination.TIME_LIMIT
    assert search.ratio == 9 / 31
    search = RatioSearch(0.0)
    maximise_ratio(oracle(given), search, Run(gap=0.0), iterations=1)
    assert search.termination is Termination.ITERATIONS


def test_an_oracle_without_a_point() -> None:
    """No point at all ends the search as NUMERICAL; its proofs are kept."""
    search: RatioSearch[int] = RatioSearch(2.0)
    maximise_ratio(lambda _q: RatioAnswer(None, upper=-1.0), search, Run())
    assert search.termination is Termination.NUMERICAL
    assert search.point is None
    assert search.bound == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("start", {"start": math.nan}),
        ("denominator_min", {"start": 0.0, "denominator_min": 0.0}),
        ("denominator_max", {"start": 0.0, "denominator_min": 2.0, "denominator_max": 1.0}),
    ],
)
def test_faulty_input(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=field):
        RatioSearch(**options)


@pytest.mark.parametrize("denominator", [0.0, -1.0, math.nan, 0.5])
def test_denominators_must_be_what_was_promised(denominator: float) -> None:
    search: RatioSearch[int] = RatioSearch(0.0, denominator_min=1.0)
    with pytest.raises(DataError, match="denominator"):
        search.offer(0, 1.0, denominator)
