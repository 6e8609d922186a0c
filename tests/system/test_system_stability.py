"""Stability bounds: values, validation and inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgealloc.errors import DataError
from edgealloc.system.stability import Stability


def test_values_by_hand() -> None:
    """2 L^2/(k (1 - a)) and 2 L^2/((Lambda + 2 (1 - a)) k) with L = 3, k = 50, and their ends."""
    np.testing.assert_allclose(
        Stability("liu-zhao", lipschitz=3.0).value([0.0, 0.75, 1.0], 50), [0.36, 1.44, np.inf]
    )
    np.testing.assert_allclose(Stability("fu", 3.0, 0.5).value([0.0, 0.75, 1.0], 50), [0.144, 0.36, 0.72])
    assert Stability("fu", lambda_min=0.0).value([[0.5], [1.0]], [10, 20]).tolist() == [
        [0.2, 0.1],
        [np.inf, np.inf],
    ]


def test_finite_when_local() -> None:
    """Only the pointwise form with a positive eigenvalue is finite at a = 1."""
    assert Stability("fu", lambda_min=0.1).finite_when_local
    assert not Stability("fu", lambda_min=0.0).finite_when_local
    assert not Stability("liu-zhao").finite_when_local


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model": "liu"}, "stability.model"),
        ({"lipschitz": 0.0}, "stability.lipschitz"),
        ({"lipschitz": float("nan")}, "stability.lipschitz"),
        ({"lambda_min": 0.5}, "stability.lambda_min"),
        ({"model": "fu"}, "stability.lambda_min"),
        ({"model": "fu", "lambda_min": -1.0}, "stability.lambda_min"),
    ],
)
def test_faulty_constants(arguments: dict[str, object], field: str) -> None:
    """Each faulty constant is named."""
    with pytest.raises(DataError) as caught:
        Stability(**arguments)  # type: ignore[arg-type]
    assert field in {fault.field for fault in caught.value.faults}


@settings(deadline=None, derandomize=True)
@given(st.floats(0.0, 0.999), st.floats(1.0, 1e6), st.floats(1e-3, 1e3), st.none() | st.floats(0.0, 10.0))
def test_inverse(a: float, k: float, lipschitz: float, lambda_min: float | None) -> None:
    """largest_fraction(value(a)) = a, to the conditioning of the curve."""
    model = Stability("liu-zhao", lipschitz) if lambda_min is None else Stability("fu", lipschitz, lambda_min)
    assert float(model.largest_fraction(model.value(a, k), k)) == pytest.approx(a, abs=1e-12)


def test_inverse_ends() -> None:
    """nan when nothing fits, 1 when even full local training does."""
    paper = Stability("liu-zhao")
    assert np.isnan(paper.largest_fraction([0.0, -1.0, 0.0199], 100)).all()
    assert float(paper.largest_fraction(np.inf, 100)) == 1.0
    assert float(Stability("fu", lambda_min=1.0).largest_fraction(0.02, 100)) == 1.0
