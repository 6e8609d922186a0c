"""What the figures are drawn from: two editions of the paper's setting, and the choices that are ours.

``literal`` is the paper's section 6 as printed (preset "paper"); ``physical`` is the library's default preset at the
paper's sizes. Both are made of samples: a seed draws positions, channels, devices and data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.weights import TERMS, Weights
from edgealloc.errors import DataError, nearest
from edgealloc.scenarios.scenario import Scenario

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["EDITIONS", "SERVERS", "USERS", "Setting", "check_edition", "edition_choices", "energy_parts", "scenario"]

#: edition -> what it is.
EDITIONS: Final = {
    "literal": "the setting of Liu & Zhao, section 6, as printed (preset 'paper')",
    "physical": "the library's default setting at the paper's sizes (preset 'physical')",
}
#: The paper's sizes.
USERS: Final = 50
SERVERS: Final = 10


def check_edition(name: str) -> str:
    """The name, or a DataError that says which was probably meant."""
    if name not in EDITIONS:
        raise DataError(f"edition: no edition '{name}'; {nearest(str(name), EDITIONS)}")
    return name


def scenario(edition: str, users: int, servers: int, users_per_server: float, seed: int) -> Scenario:
    """One sample of an edition.

    Parameters
    ----------
    edition : str
    users, servers : int
    users_per_server : float
        Physical edition: the load that a server is dimensioned for, so that more users at the same servers means
        less for each (the preset itself would buy capacity in proportion). The paper's servers are what they are.
    seed : int
    """
    if edition == "literal":
        return Scenario.random(users=users, servers=servers, preset="paper", seed=seed)
    dimensioned = max(1, round(users_per_server * servers))
    return Scenario.random(users=dimensioned, servers=servers, seed=seed).changed({"users.0.count": users})


@dataclass(frozen=True)
class Setting:
    """The function ``(value, seed) -> problem`` of a family of runs.

    Attributes
    ----------
    edition : str
    varied : str
        What `value` is: the weight of a term ("delay", "energy", "stability"), the number of "users" or of "servers".
    users, servers : int
        Sizes of everything that is not varied.
    """

    edition: str
    varied: str
    users: int
    servers: int

    def __call__(self, value: float, seed: int) -> SplitTraining:
        users = int(value) if self.varied == "users" else self.users
        servers = int(value) if self.varied == "servers" else self.servers
        load = self.users / self.servers
        reference = _reference(self.edition, self.users, self.servers, seed)
        weight = {self.varied: float(value)} if self.varied in TERMS else {}
        weights = Weights(**weight, reference=dict(reference))
        return scenario(self.edition, users, servers, load, seed).split_training(weights=weights)


@lru_cache(maxsize=64)
def _reference(edition: str, users: int, servers: int, seed: int) -> tuple[tuple[str, float], ...]:
    """The normalisers of a sample at its usual sizes: they do not move while something is varied."""
    weights = scenario(edition, users, servers, users / servers, seed).split_training().weights
    return tuple(sorted((weights.reference or {}).items()))


def energy_parts(solution: Solution[Any, Any]) -> dict[str, float]:
    """Further columns of the rows: where the energy goes (J, all users), and the cuts."""
    costs, allocation = solution.costs, solution.allocation
    if costs is None or allocation is None:
        return {}
    return {
        "device_energy_j": float(costs.device_energy_j.sum() + costs.idle_energy_j.sum()),
        "upload_energy_j": float(costs.upload_energy_j.sum()),
        "server_energy_j": float(costs.server_energy_j.sum()),
        "mean_local_layers": float(allocation.local_layers.mean()),
    }


def edition_choices(edition: str, users: int, servers: int) -> list[str]:
    """The choices of an edition that the paper leaves open or that are ours: one text each."""
    example = scenario(edition, users, servers, users / servers, 0)
    texts = [f"{path}: {reason}" for path, reason in example.assumptions().items()]
    if edition == "physical":
        texts.append(
            f"servers are dimensioned for {users / servers:g} users each, also where the number of users or servers "
            "is varied"
        )
    texts.append("normalisers of the weights: those of each sample at its usual sizes, not of each point")
    return texts
