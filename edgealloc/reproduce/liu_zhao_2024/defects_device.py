"""Defects of the literal problem on the side of the devices: cut, power, stability, workload."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import default_catalog
from edgealloc.errors import DataError
from edgealloc.formulations.split_training.allocation import Allocation, Costs
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.formulations.split_training.resources import optimal_allocation
from edgealloc.reproduce.liu_zhao_2024.defect import GAP, Amount, Case, Defect
from edgealloc.scenarios.scenario import Scenario
from edgealloc.system.memory import device_memory
from edgealloc.system.transformer import layer_flops, total_params
from edgealloc.units import format_si

__all__ = ["cut", "local", "power", "tuned", "work_and_size"]

FloatArray = npt.NDArray[np.float64]

#: A clock-scaled server of ten times the preset's kappa: 2.7 kW at 3 GHz, beyond any single server.
_LARGE_KAPPA: Final = 1e-25
_DAY_S: Final = 86_400.0


def _layer_costs(problem: SplitTraining, allocation: Allocation) -> tuple[FloatArray, FloatArray]:
    """Objective of one layer of every user on its device and on its server (N,), with the shares it has."""
    costs = problem.evaluate(allocation)
    time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
    device = (time * costs.device_delay_s + energy * costs.device_energy_j) / allocation.local_layers
    server = time * costs.server_delay_s + energy * costs.server_energy_j
    return device, server / (problem.layers - allocation.local_layers)


def cut(case: Case) -> Defect:
    """The cut is one layer for everybody."""
    problem, allocation = case.problem, case.allocation
    device, server = _layer_costs(problem, allocation)
    ratio = device / server
    hot = problem.replace(server_kappa=_LARGE_KAPPA)
    hot_device, hot_server = _layer_costs(hot, optimal_allocation(hot, allocation.server, allocation.local_layers))
    deeper = problem.replace(min_local_layers=np.maximum(problem.min_local_layers, 2)).solve(gap=GAP).require()
    phones = default_catalog()
    phone = phones.device("snapdragon-8-gen-2").flops_per_cycle(0.35)
    return Defect(
        name="cut",
        claim="The best cut is one layer on the device for every user, so the paper's main variable decides nothing.",
        numbers=(
            Amount("users", float(problem.users)),
            Amount("users with one layer on the device", float((allocation.local_layers == 1).sum())),
            Amount("kappa of devices", float(problem.user_kappa.max()), "W*s^3"),
            Amount("kappa of servers", float(problem.server_kappa.max()), "W*s^3"),
            Amount("cost of a layer on the device over one on the server, smallest", float(ratio.min())),
            Amount("the same, median", float(np.median(ratio))),
            Amount("the same with server kappas of 1e-25, smallest", float((hot_device / hot_server).min())),
            Amount("time of one layer on a device, mean", float(case.costs.device_delay_s.mean()), "s"),
            Amount("FLOP per cycle of a device", float(problem.user_flops_per_cycle.mean())),
            Amount("FLOP per cycle at which a layer costs as much on the device, smallest",
                   float((problem.user_flops_per_cycle * ratio).min())),
            Amount("FLOP per cycle of a real phone (snapdragon-8-gen-2 at 35 %)", phone),
            Amount("increase of the optimum if all cuts were 2 or more, proven to be at least",
                   100.0 * (float(deeper.bound or 0.0) / case.objective - 1.0), "%"),
        ),
        consequence="The objective is linear in the cut but for the stability term, which grows with it, too; with one "
        "FLOP per cycle and core a device is far from being worth a second layer, and any method that optimises the "
        "cut ends where 'edge-only' starts.",
        what_we_do="Preset 'physical' takes FLOP per cycle from data sheets; there the stability term and the shares "
        "of the servers put cuts strictly inside their range.",
    )


def power(case: Case) -> Defect:
    """The power is the lowest allowed one."""
    problem, allocation = case.problem, case.allocation
    offloaded = allocation.server >= 0
    gain = problem.gain[np.flatnonzero(offloaded), allocation.server[offloaded]]
    limit = problem.upload_bits[offloaded] * problem.noise_psd_w_per_hz * math.log(2.0) / gain
    at_floor = allocation.power_w <= problem.power_min_w * (1.0 + 1e-9)
    numbers = [
        Amount("users at the lowest power", float((at_floor & offloaded).sum())),
        Amount("lowest power", float(problem.power_min_w.max()), "W"),
    ]
    powers = {"p_max": problem.power_max_w}
    for share in (1.0, 1e-2, 1e-4):
        lower = problem.power_min_w * share
        powers[format_si(float(lower.max()), "W")] = lower
    for name, power in powers.items():
        costs = _at_power(problem, allocation, power)
        energy, time = (float(one[offloaded].mean()) for one in (costs.upload_energy_j, costs.upload_delay_s))
        numbers += [
            Amount(f"objective at {name}", float(costs.objective)),
            Amount(f"energy of an upload at {name}, mean", energy, "J"),
            Amount(f"time of an upload at {name}, mean", time / _DAY_S, "days"),
        ]
    numbers += [
        Amount("infimum s N0 ln 2 / g of the energy as p -> 0, mean", float(limit.mean()), "J"),
        Amount("delay that is counted, mean", float(case.costs.delay_s.mean()) / _DAY_S, "days"),
    ]
    refusal = ""
    try:
        problem.replace(power_min_w=0.0)
    except DataError as error:
        refusal = error.faults[0].message
    return Defect(
        name="power",
        claim="The upload costs energy and no time, so the best power is the lowest allowed one, and with p_min = 0 "
        "there is no best power: the infimum is not attained.",
        numbers=tuple(numbers),
        consequence="All that p_min, which the paper does not give, decides is how long the upload takes, which "
        "nothing counts: for hardly less energy it grows without end, beyond everything that is counted. edgealloc "
        f'refuses p_min = 0: "{refusal}".',
        what_we_do="The upload delay counts (count_upload_delay = true); the literal problem needs p_min > 0.",
    )


def _at_power(problem: SplitTraining, allocation: Allocation, power_w: FloatArray) -> Costs:
    """Costs with everybody who uploads at this power, all else held."""
    return problem.evaluate(
        dataclasses.replace(allocation, power_w=np.where(allocation.server >= 0, power_w, 0.0))
    )


def local(case: Case) -> Defect:
    """The stability bound has a pole inside the domain."""
    problem, best = case.problem, case.allocation
    alone = np.arange(problem.users) == 0
    moved = dataclasses.replace(
        best,
        server=np.where(alone, -1, best.server),
        local_layers=np.where(alone, problem.layers, best.local_layers),
        **{
            name: np.where(alone, 0.0, getattr(best, name))
            for name in ("power_w", "bandwidth_hz", "server_frequency_hz")
        },
    )
    fraction = np.array([1.0, problem.layers - 1.0]) / problem.layers
    one, last = (float(value) for value in problem.stability.value(fraction, float(problem.samples.mean())))
    return Defect(
        name="local",
        claim="The domain of the cut contains alpha = Y (everything on the device), where the stability bound "
        "2 L^2/(k (1 - alpha/Y)) divides by zero.",
        numbers=(
            Amount("objective with one user at alpha = Y", float(problem.evaluate(moved).objective)),
            Amount("stability bound at alpha = 1, mean samples", one),
            Amount("stability bound at alpha = Y - 1", last),
            Amount("the same, times that at alpha = 1", last / one),
        ),
        consequence="A 'local only' baseline that trains everything on the device has an infinite objective; what is "
        "drawn for it must be something else.",
        what_we_do="Fully local only where the bound is finite (Fu et al. with lambda_min > 0); 'local-only' means the "
        "largest allowed cut.",
    )


def tuned(case: Case) -> Defect:
    """The stability term counts the layers of the device only."""
    problem, best = case.problem, case.allocation
    counted = float(best.local_layers.mean())
    return Defect(
        name="tuned",
        claim="The bound is for the fraction of parameters that is fine-tuned, but the problem inserts the fraction on "
        "the device, while the server trains all the other layers.",
        numbers=(
            Amount("layers that are trained, per user", float(problem.layers)),
            Amount("layers that the stability term counts, mean", counted),
            Amount("instability that is counted, mean", float(case.costs.instability.mean())),
            Amount("instability at the fraction that is trained",
                   float(problem.stability.value(1.0, float(problem.samples.mean())))),
            Amount("share of the stability term in the objective", _share_of_stability(case), "%"),
        ),
        consequence="The term rewards offloading for a stability that offloading does not bring: wherever a layer is "
        "trained, it is trained.",
        what_we_do="Kept as the paper has it, with this remark: read it as the instability of what the device itself "
        "tunes. Its weight can be 0.",
    )


def _share_of_stability(case: Case) -> float:
    weight = case.problem.weights.effective("stability", case.problem.users)
    return 100.0 * float((weight * case.costs.instability).sum()) / case.objective


def work_and_size(case: Case) -> list[Defect]:
    """The work is that of a batch; the model is not the one named, and its batch does not fit."""
    scenario = Scenario.random(1, 1, preset="paper")
    model = scenario.document.model
    entry, released = scenario.catalog.model(model.name), default_catalog().model("llama-7b")
    shape = entry.transformer()
    low, high = model.tokens if isinstance(model.tokens, tuple) else (model.tokens, model.tokens)
    tokens = 0.5 * (low + high)
    work = float(layer_flops(shape, model.batch, tokens))
    speed = float((case.problem.user_flops_per_cycle * case.allocation.user_frequency_hz).mean())
    need = device_memory(shape, model.batch, [low, high], training="full", fused_attention=True)
    memory = [float(one) for one in need.per_layer_bytes]
    largest = max(
        one.memory_bytes or 0.0 for one in default_catalog().devices.values() if one.device_class == "phone"
    )
    return [
        Defect(
            name="work",
            claim="72 B d h^2 + 12 B d^2 h is called the work per token; it is that of a whole batch.",
            numbers=(
                Amount("tokens of a batch at mean length", model.batch * tokens),
                Amount("work of a layer by the formula", work, "FLOP"),
                Amount("work of a layer per token", work / (model.batch * tokens), "FLOP"),
                Amount("time of one layer on a device, per batch", work / speed, "s"),
                Amount("the same if the formula were per token",
                       work * model.batch * tokens / speed / (365.25 * _DAY_S), "years"),
            ),
            consequence="Taken at its word, one layer of one step would outlast its user.",
            what_we_do="The formula is used per batch, as Narayanan et al. derive it.",
        ),
        Defect(
            name="size",
            claim=f"h = {entry.hidden} is not LLaMA-7B, and one layer with a batch of {model.batch} sequences takes "
            "more memory than a phone leaves to training.",
            numbers=(
                Amount("hidden size in the paper", float(entry.hidden)),
                Amount("hidden size of the released LLaMA-7B", float(released.hidden)),
                Amount("parameters by the paper's sizes", float(total_params(shape))),
                Amount("parameters of the released LLaMA-7B", float(released.params)),
                Amount("device memory of one layer, shortest sequences", memory[0], "B"),
                Amount("device memory of one layer, longest sequences", memory[1], "B"),
                Amount("largest memory of a phone in the catalog", largest, "B"),
                Amount("half of it, which the preset 'physical' leaves to training", 0.5 * largest, "B"),
            ),
            consequence=f"The workload is that of a model {released.params / total_params(shape):.0f} times smaller, "
            "trained with batches that such devices cannot hold; the paper has no memory limit, so nothing notices.",
            what_we_do="Preset 'physical' has a catalog model, batches of 2, and the memory of devices as a limit.",
        ),
    ]
