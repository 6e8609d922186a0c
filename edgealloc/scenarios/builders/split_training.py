"""From a checked scenario to the arrays of a SplitTraining problem."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog
from edgealloc.core.weights import TERMS, Weights
from edgealloc.formulations.split_training.allocation import Allocation
from edgealloc.formulations.split_training.problem import SplitTraining
from edgealloc.formulations.split_training.validate import SMALLEST_GAIN
from edgealloc.scenarios.builders.draws import stream
from edgealloc.scenarios.builders.groups import server_columns, user_columns
from edgealloc.scenarios.builders.limits import deadlines, group_size, optional_limits
from edgealloc.scenarios.split_training.schema import Document, RadioSection, ServerGroup, UserGroup
from edgealloc.system.memory import device_memory
from edgealloc.system.radio import noise_psd_w_per_hz, sample_gain
from edgealloc.system.stability import Stability
from edgealloc.system.transformer import activation_bits, head_flops, layer_flops, lora_params_per_layer

__all__ = ["PATH_LOSS_NAMES", "build", "reference_allocation", "reference_amounts"]

FloatArray = npt.NDArray[np.float64]

#: name in a scenario file -> name in the system model
PATH_LOSS_NAMES: Final = {"umi": "3gpp-umi", "uma": "3gpp-uma", "inh": "3gpp-inh", "legacy-macro": "legacy-macro"}
#: users whose channels are drawn at once: fixed, because it decides which random numbers a user gets
_CHUNK: Final = 8192


def build(
    document: Document, catalog: Catalog, gains: FloatArray | None, source: str, weights: Weights | None = None
) -> SplitTraining:
    """The problem of a scenario.

    Parameters
    ----------
    document, catalog, gains
        As `check_document` returns them.
    source : str
        Name that appears in tables.
    weights : Weights, optional
        Instead of the document's; a reference is filled in if they have none.
    """
    model, radio = document.model, document.radio
    shape = catalog.model(model.name).transformer()
    targets = model.lora_targets
    adapters = lora_params_per_layer(shape, model.lora_rank, targets) if model.training == "frozen" else 0
    users, user_names = user_columns(document, catalog)
    servers, server_names = server_columns(document, catalog)
    tokens: int | FloatArray = users["tokens"] if isinstance(model.tokens, tuple) else model.tokens
    user_xy, server_xy = _positions(document)
    gain = gains if gains is not None else _draw_gains(document.seed, radio, user_xy, server_xy)
    upload_bits = activation_bits(model.batch, tokens, shape.hidden, model.activation_bytes)
    limits: dict[str, Any] = {
        "stability_limit": document.limits.stability_limit,
        "delay": document.weights.delay_over_users,
        **optional_limits(document, catalog),
    }
    if document.limits.device_memory:
        memory = device_memory(
            shape,
            model.batch,
            tokens,
            training=model.training,
            states=model.optimizer_states,
            adapter_params_per_layer=adapters,
            targets=targets,
            fused_attention=model.fused_attention,
            recompute=model.recompute,
            overhead_bytes=model.memory_overhead,
            bytes_per_element=model.activation_bytes,
        )
        limits |= {
            "device_memory_bytes": users["memory"],
            "memory_bytes_fixed": memory.fixed_bytes,
            "memory_bytes_per_layer": memory.per_layer_bytes,
            "memory_bytes_head": memory.head_bytes,
        }
    noise = radio.noise_density
    problem = SplitTraining(
        layers=shape.layers,
        layer_flops=layer_flops(shape, model.batch, tokens, model.training, adapters, model.recompute),
        head_flops=head_flops(shape, model.batch, tokens, model.training) if model.count_head else 0.0,
        upload_bits=upload_bits,
        user_flops_per_cycle=users["flops_per_cycle"],
        user_kappa=users["kappa"],
        user_frequency_min_hz=users["clock_min"],
        user_frequency_max_hz=users["clock"],
        power_min_w=radio.power_min,
        power_max_w=users["power_max"],
        samples=users["samples"],
        min_local_layers=users["min_local_layers"],
        max_local_layers=_max_local_layers(document, users["max_local_layers"], shape.layers),
        **servers,
        gain=gain,
        noise_psd_w_per_hz=noise_psd_w_per_hz(radio.noise_figure_db or 0.0) if noise is None else noise,
        fixed_delay_s=0.0 if radio.downlink_rate is None else np.reshape(upload_bits, (-1, 1)) / radio.downlink_rate,
        amplifier_efficiency=radio.amplifier_efficiency,
        circuit_power_w=radio.circuit_power,
        idle_power_w=users["idle_power"],
        weights=Weights(),
        stability=_stability(document),
        count_upload_delay=radio.count_upload_delay,
        user_names=user_names,
        server_names=server_names,
        # measured gains tell nothing of places, so only given positions belong on a map then
        user_xy_m=user_xy if gains is None or _all_placed(document.users) else None,
        server_xy_m=server_xy if gains is None or _all_placed(document.servers) else None,
        source=source,
        **limits,
    )
    chosen = _weights(document, weights, problem)
    return problem.replace(weights=chosen, deadline_penalty_per_s=_penalties(document, chosen))


def _penalties(document: Document, weights: Weights) -> FloatArray | None:
    """Objective per second late; like every weight of the file, the price of being late is relative to the
    reference."""
    weight = deadlines(document)[1]
    return None if weight is None else weight / (weights.reference or {}).get("delay", 1.0)


def _weights(document: Document, weights: Weights | None, problem: SplitTraining) -> Weights:
    declared = document.weights
    chosen = weights or Weights(declared.delay, declared.energy, declared.stability)
    if chosen.reference is not None:
        return chosen
    given = {} if declared.reference is None else declared.reference.model_dump(exclude_none=True)
    reference = given if set(given) == set(TERMS) else {**reference_amounts(problem), **given}
    return chosen.with_reference(reference)


def _stability(document: Document) -> Stability:
    section = document.stability
    return Stability(section.model, section.lipschitz, section.lambda_min)


def _max_local_layers(document: Document, given: FloatArray, layers: int) -> FloatArray | None:
    """None where no group limits the cut; where only some do, the others get what the problem would default
    to."""
    if np.isnan(given).all():
        return None
    top = layers if _stability(document).finite_when_local else layers - 1
    low = np.concatenate([np.full(group_size(group), group.min_local_layers) for group in document.users])
    return np.where(np.isnan(given), np.maximum(top, low), given)


# ---- geometry and channels
# --------------------------------------------------------------------------------------------


def _all_placed(groups: tuple[UserGroup, ...] | tuple[ServerGroup, ...]) -> bool:
    return all(group.positions is not None for group in groups)


def _positions(document: Document) -> tuple[FloatArray, FloatArray]:
    """Positions (N, 2) and (M, 2) in metres: the given ones, users uniform in the area, servers on a
    jittered grid."""
    area = document.area
    side = area.size or 0.0 if area.radius is None else 2.0 * area.radius
    users = []
    for i, group in enumerate(document.users):
        if group.positions is not None:
            users.append(np.array(group.positions, dtype=np.float64).reshape(-1, 2))
            continue
        points = stream(document.seed, "users.positions", i).random((group_size(group), 2))
        if area.radius is not None:
            distance, angle = area.radius * np.sqrt(points[:, 0]), 2.0 * math.pi * points[:, 1]
            points = area.radius + np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
        else:
            points = side * points
        users.append(points)
    wanted = sum(group_size(group) for group in document.servers if group.positions is None)
    free = _grid(wanted, side, stream(document.seed, "servers.positions"))
    servers, taken = [], 0
    for server_group in document.servers:
        if server_group.positions is not None:
            servers.append(np.array(server_group.positions, dtype=np.float64).reshape(-1, 2))
        else:
            servers.append(free[taken : taken + group_size(server_group)])
            taken += group_size(server_group)
    return np.concatenate(users), np.concatenate(servers)


def _grid(count: int, side: float, numbers: np.random.Generator) -> FloatArray:
    """One point per cell of a grid with rows of nearly equal length, jittered by a quarter cell, cells
    shuffled."""
    if count == 0:
        return np.empty((0, 2))
    rows = max(1, round(math.sqrt(count)))
    points = np.empty((count, 2))
    first = 0
    for row in range(rows):
        last = (row + 1) * count // rows
        length = last - first
        jitter = numbers.uniform(-0.25, 0.25, (length, 2))
        points[first:last, 0] = (np.arange(length) + 0.5 + jitter[:, 0]) * side / length
        points[first:last, 1] = (row + 0.5 + jitter[:, 1]) * side / rows
        first = last
    return points[numbers.permutation(count)]


def _draw_gains(seed: int, radio: RadioSection, user_xy: FloatArray, server_xy: FloatArray) -> FloatArray:
    """Channel gains (N, M); what is weaker than any receiver could hear is no link."""
    numbers = stream(seed, "channels")
    gain = np.empty((len(user_xy), len(server_xy)))
    for first in range(0, len(user_xy), _CHUNK):
        part = user_xy[first : first + _CHUNK]
        distance = np.hypot(part[:, None, 0] - server_xy[None, :, 0], part[:, None, 1] - server_xy[None, :, 1])
        gain[first : first + _CHUNK] = sample_gain(
            PATH_LOSS_NAMES[radio.path_loss or "umi"],
            distance,
            radio.carrier,
            numbers,
            shadowing=radio.shadowing,
            fading=radio.fading,
            antenna_gain_db=radio.antenna_gain_db,
        )
    gain[gain < SMALLEST_GAIN] = 0.0
    return gain


# ---- the reference of the weights
# ---------------------------------------------------------------------------------------


def reference_allocation(problem: SplitTraining) -> Allocation:
    """The allocation that the weights are relative to.

    Every user is at the server with its best gain, cut in the middle (within its range of cuts, not fully
    local), at
    full power and clock, with an equal share of its server's bandwidth and clock. It need not satisfy every
    limit.
    """
    server = np.argmax(problem.gain, axis=1)
    top = problem.layers - 1 if problem.max_local_layers is None else problem.max_local_layers
    cut = np.clip(problem.layers // 2, problem.min_local_layers, top)
    cut = np.minimum(cut, problem.layers - 1).astype(np.int64)
    load = np.bincount(server, minlength=problem.servers)[server]
    return Allocation(
        server=server,
        local_layers=cut,
        power_w=problem.power_max_w,
        bandwidth_hz=problem.bandwidth_max_hz[server] / load,
        user_frequency_hz=problem.user_frequency_max_hz,
        server_frequency_hz=problem.server_frequency_max_hz[server] / load,
    )


def reference_amounts(problem: SplitTraining) -> dict[str, float]:
    """Average delay (s), energy (J) and instability of a user under `reference_allocation`.

    Where only the slowest user's delay counts (synchronous rounds), the delay is that of the round divided by the
    number of users: the one delay then weighs as much as the energies of all users together, as their delays
    would. Users that no server hears are left out; where an amount does not exist it is 1.
    """
    costs = problem.evaluate(reference_allocation(problem))
    amounts: dict[str, float] = {}
    for term, values in (("delay", costs.delay_s), ("energy", costs.energy_j), ("stability", costs.instability)):
        finite = values[np.isfinite(values) & (values > 0.0)]
        round_only = term == "delay" and problem.delay == "max"
        amount = finite.max() / finite.size if round_only and finite.size else finite.mean() if finite.size else 1.0
        amounts[term] = float(amount)
    return amounts
