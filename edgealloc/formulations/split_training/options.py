"""One option (user, server, cut) at prices: the small kernels that oracle, resources, moves and closing share."""

from __future__ import annotations

from edgealloc.compiled import kernel
from edgealloc.formulations.split_training.reduced import Reduced
from edgealloc.system.responses import radio_response, server_response

__all__ = ["fixed_cost", "job_cycles", "job_response", "link_response", "own_cost"]


@kernel
def link_response(data: Reduced, n: int, m: int, price: float) -> tuple[float, float, float]:
    """Least radio cost of user n on server m at a price per Hz (rigorous lower bound), its bandwidth and received power."""
    gain = data.gain[n, m] * data.inverse_noise
    user = data.user[n]
    return radio_response(price, data.server[m].bandwidth, user.power_low * gain, user.power_high * gain, user.k1,
                          user.k2 / gain)


@kernel
def job_cycles(data: Reduced, n: int, m: int, cut: int) -> float:
    """Cycles of server m for the layers beyond the cut, and the head."""
    return ((data.factor.size - 1 - cut) * data.user[n].layer + data.user[n].head) / data.server[m].per_cycle


@kernel
def job_response(data: Reduced, n: int, m: int, cut: int, price: float) -> tuple[float, float]:
    """Least server cost of user n at a cut and a price per Hz of clock (rigorous lower bound), and its clock."""
    user, server = data.user[n], data.server[m]
    return server_response(price, server.clock, job_cycles(data, n, m, cut), user.time_weight,
                           server.joules * user.energy_weight, server.kappa * user.energy_weight)


@kernel
def fixed_cost(data: Reduced, n: int, m: int) -> float:
    """Cost of the link's fixed delay; the (1, 1) array of a problem without one holds 0."""
    return data.fixed[n, m] if data.fixed.size > 1 else data.fixed[0, 0]


@kernel
def own_cost(data: Reduced, n: int, m: int, cut: int) -> float:
    """The part of a user's cost that no price touches: device, stability, fixed delay; all of it if fully local."""
    user = data.user[n]
    if m < 0:
        return user.local_cost
    return user.device * cut + user.instability * data.factor[cut] + fixed_cost(data, n, m)
