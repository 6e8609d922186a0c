"""Defects of the literal problem on the side of the servers: association, noise, equalities, shares of the clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.baselines import equal_allocation
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.reproduce.liu_zhao_2024.defect import Amount, Case, Defect
from edgealloc.system.radio import noise_psd_w_per_hz, rate_bits_per_s
from edgealloc.units import watt_to_dbm

__all__ = ["association", "equalities", "noise", "penalty", "shares"]

FloatArray = npt.NDArray[np.float64]


def association(case: Case) -> Defect:
    """The association step cannot move anybody."""
    problem = case.problem
    server = np.argmax(problem.gain, axis=1).astype(np.int64)
    start = equal_allocation(problem, server, case.allocation.local_layers)
    moves, possible_moves = _feasible(problem, start, _moves(problem, server))
    swaps, possible_swaps = _feasible(problem, start, _swaps(server))
    relaxed, _ = _feasible(problem.replace(resource_sense="at_most"), start, _moves(problem, server))
    fixed = problem.evaluate(start).objective
    shared = problem.evaluate(optimal_allocation(problem, server, case.allocation.local_layers)).objective
    return Defect(
        name="association",
        claim="The association step holds every share fixed while the shares of each server must add up to the whole, "
        "so nobody can change servers.",
        numbers=(
            Amount("moves of one user to another server", float(possible_moves)),
            Amount("moves of one user that keep all sums", float(moves)),
            Amount("exchanges of two users", float(possible_swaps)),
            Amount("exchanges of two users that keep all sums", float(swaps)),
            Amount("moves that keep all sums if sums may be lower", float(relaxed)),
            Amount("objective at the server of best gain, equal shares", float(fixed)),
            Amount("objective there, best shares", float(shared)),
            Amount("objective after moves priced with new shares", case.objective),
            Amount("proven lower bound", case.bound),
            Amount("gained by them", 100.0 * (1.0 - case.objective / shared), "%"),
            Amount("users on another server then", float((case.allocation.server != server).sum())),
            Amount("share of the objective that no association changes (device, stability)", _fixed_share(case), "%"),
        ),
        consequence="Alternating the printed steps returns the association that it was started from: what is reported "
        "as optimised is the initial one. In this setting little is lost by that, since hardly anything depends on it.",
        what_we_do="Moves are priced with the shares that follow from them: 'certified' and 'fp-cccp' both set all "
        "shares anew.",
    )


def _fixed_share(case: Case) -> float:
    """Percent of the objective that stays whatever server a user has: its device and its instability."""
    costs, problem = case.costs, case.problem
    time, energy, stability = (
        problem.weights.effective(term, problem.users) for term in ("delay", "energy", "stability")
    )
    own = time * costs.device_delay_s + energy * costs.device_energy_j + stability * costs.instability
    return 100.0 * float(own.sum()) / case.objective


def _moves(problem: SplitTraining, server: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Every association that differs in one user."""
    found = []
    for n in range(problem.users):
        for m in range(problem.servers):
            if m != server[n]:
                moved = server.copy()
                moved[n] = m
                found.append(moved)
    return found


def _swaps(server: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Every association in which two users of different servers have changed places."""
    found = []
    for n, k in zip(*np.triu_indices(server.size, 1), strict=True):
        if server[n] != server[k]:
            moved = server.copy()
            moved[[n, k]] = moved[[k, n]]
            found.append(moved)
    return found


def _feasible(
    problem: SplitTraining, start: Allocation, changed: Sequence[npt.NDArray[np.int64]]
) -> tuple[int, int]:
    """How many associations keep every limit with the shares of `start`, and of how many."""
    kept = 0
    for server in changed:
        moved = dataclasses.replace(start, server=server)
        kept += problem.relative_violation(moved) <= FEASIBILITY_TOLERANCE
    return int(kept), len(changed)


def penalty(case: Case) -> Defect:
    """The threshold of the exact penalty divides by zero."""
    problem = case.problem
    chi = np.zeros((problem.users, problem.servers))
    chi[np.arange(problem.users), np.maximum(case.allocation.server, 0)] = 1.0
    even = np.full_like(chi, 1.0 / problem.servers)
    penalty, spread = (float((x * (1.0 - x)).sum()) for x in (chi, even))
    with np.errstate(divide="ignore"):
        first = float(np.divide(case.objective, penalty))
    return Defect(
        name="penalty",
        claim="The threshold rho_0 of the exact penalty rho sum chi (1 - chi) is a difference of objectives over "
        "sum chi (1 - chi), which is 0 at every binary point, where the algorithm starts and ends.",
        numbers=(
            Amount("sum chi (1 - chi) at the association found", penalty),
            Amount("sum chi (1 - chi) with everybody spread evenly", spread),
            Amount("an objective over the first of these", first),
        ),
        consequence="The formula gives no penalty to start with; the number that was used is not in the paper.",
        what_we_do="The penalty starts from the spread of the costs and is doubled until the answer is binary; every "
        "answer is checked to be.",
    )


def noise(case: Case) -> Defect:
    """What sigma^2 = -134 dBm can mean."""
    problem = case.problem
    server = problem.gain.argmax(axis=1)
    gain = problem.gain[np.arange(problem.users), server]
    band = problem.bandwidth_max_hz[server]
    width = float(np.median(band))
    literal = problem.noise_psd_w_per_hz
    readings = {
        "as a density per Hz": literal,
        "as the noise of the whole band": literal / width,
        "thermal, -174 dBm/Hz": noise_psd_w_per_hz(),
    }
    numbers = [Amount("band of a server", width, "Hz"), Amount("sigma^2", watt_to_dbm(literal), "dBm")]
    for name, density in readings.items():
        rate = rate_bits_per_s(band, problem.power_max_w, gain, density)
        numbers += [
            Amount(f"noise over the band, {name}", watt_to_dbm(density * width), "dBm"),
            Amount(f"upload alone on a whole server at full power, {name}, median",
                   float(np.median(problem.upload_bits / rate)), "s"),
        ]
    thermal = noise_psd_w_per_hz()
    numbers += [
        Amount("above thermal noise, as a density", watt_to_dbm(literal / thermal) - watt_to_dbm(1.0), "dB"),
        Amount("band over which thermal noise is sigma^2", literal / thermal, "Hz"),
    ]
    return Defect(
        name="noise",
        claim="sigma^2 = -134 dBm is a power, used as a density per Hz; neither reading is near thermal noise.",
        numbers=tuple(numbers),
        consequence=f"Read as a density it is {literal / thermal:,.0f} times thermal noise; read as the noise of the "
        f"band it is a {width * thermal / literal:,.0f}th of it, quieter than a receiver at room temperature can be.",
        what_we_do="Preset 'physical' has -174 dBm/Hz and a noise figure; preset 'paper' keeps the density, marked.",
    )


def equalities(case: Case) -> Defect:
    """All of every server must be handed out."""
    problem, best = case.problem, case.allocation
    loose = problem.replace(resource_sense="at_most")
    freed = optimal_allocation(loose, best.server, best.local_layers)
    costs = loose.evaluate(freed)
    used = np.bincount(best.server, freed.server_frequency_hz, problem.servers)
    busy = np.bincount(best.server, minlength=problem.servers) > 0
    prices = problem.prices(best)["server_frequency_hz"]
    return Defect(
        name="equalities",
        claim="Bandwidth and clock of every server must be handed out whole, whether or not more clock pays, and even "
        "by a server that serves nobody.",
        numbers=(
            Amount("servers", float(problem.servers)),
            Amount("servers that serve nobody then", float((~busy).sum())),
            Amount("servers on which another Hz of clock costs more than it saves", float((prices[busy] < 0.0).sum())),
            Amount("energy of the servers, exactly", float(case.costs.server_energy_j.sum()), "J"),
            Amount("energy of the servers, at most", float(costs.server_energy_j.sum()), "J"),
            Amount("clock in use with at most",
                   100.0 * float(used[busy].sum() / problem.server_frequency_max_hz[busy].sum()), "%"),
            Amount("objective, exactly", case.objective),
            Amount("objective at the same association, at most", float(costs.objective)),
        ),
        consequence="Clock that no user wants is burnt, and an idle server makes the literal problem infeasible: a sum "
        "over nobody is 0 and not b_m.",
        what_we_do="At most by default; 'exactly' binds servers that serve somebody, and an idle one spends nothing.",
    )


def shares(case: Case) -> Defect:
    """A shared clock draws too little power."""
    problem, best = case.problem, case.allocation
    n = np.flatnonzero(best.server >= 0)
    m = best.server[n]
    drawn = np.bincount(m, problem.server_kappa[m] * best.server_frequency_hz[n] ** 3, problem.servers)
    load = np.bincount(m, minlength=problem.servers)
    whole = problem.server_kappa * problem.server_frequency_max_hz**3
    busy = load > 0
    return Defect(
        name="shares",
        claim="A share F of a server's clock draws kappa F^3, so a server that is shared by K users draws "
        "about kappa F_m^3 / K^2 in all.",
        numbers=(
            Amount("users per busy server, mean", float(load[busy].mean())),
            Amount("power of busy servers at their whole clock, sum", float(whole[busy].sum()), "W"),
            Amount("power that their users are charged for, sum", float(drawn[busy].sum()), "W"),
            Amount("the second over the first", 100.0 * float(drawn.sum() / whole[busy].sum()), "%"),
        ),
        consequence="The more users share a server, the less a FLOP costs: accelerators are shared in time, at one "
        "clock and full power.",
        what_we_do="Time-shared servers with a constant energy per FLOP by default; 'clock-scaled' is an option.",
    )
