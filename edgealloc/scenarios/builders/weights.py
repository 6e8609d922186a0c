"""The weights of a scenario: those of the caller or of the file, and the amounts that they are relative to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pydantic import BaseModel

from edgealloc.core.weights import Weights

__all__ = ["chosen_weights"]


class Declared(Protocol):
    """The weights of a file."""

    @property
    def delay(self) -> float: ...
    @property
    def energy(self) -> float: ...
    @property
    def reference(self) -> BaseModel | None: ...


def chosen_weights(
    declared: Declared, weights: Weights | None, typical: Callable[[], tuple[float, float]]
) -> Weights:
    """Weights of delay and energy with a reference.

    Parameters
    ----------
    declared : section of the file
        Used where the caller gives no weights; its reference counts before the typical amounts.
    weights : Weights, optional
        The caller's; those with a reference are taken as they are.
    typical : callable
        Seconds and joules that stand in for a reference; what is 0 becomes 1. Called if there is need.
    """
    chosen = weights or Weights(declared.delay, declared.energy, 0.0)
    if chosen.reference is not None:
        return chosen
    given = {} if declared.reference is None else declared.reference.model_dump(exclude_none=True)
    seconds, joules = typical()
    defaults = {"delay": seconds if seconds > 0.0 else 1.0, "energy": joules if joules > 0.0 else 1.0}
    return chosen.with_reference({**defaults, **given})
