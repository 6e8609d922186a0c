"""Random SplitTraining problems over every variant of the model, for tests that compare methods.

A `Spec` says which variant, a seed draws the numbers: the same pair gives the same problem.
`instance(seed)` draws the variant too. Two scales:

- "physical": device, radio and server cost about the same and the stability term bends, so that cuts are
  not trivial;
- "extreme": gains from 1e-20 to 1, capacities, works and weights spread over many decades.

Every problem drawn is feasible: limits leave every user at least one option, and one link.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]


def count(usual: int) -> int:
    """How many instances to draw: `usual`, or EDGEALLOC_NIGHTLY times as many, or EDGEALLOC_SHARE of them.

    A share is for a second run of the same draws, under another Python.
    """
    wanted = usual * max(1, int(os.environ.get("EDGEALLOC_NIGHTLY", "0")))
    return max(1, round(wanted * float(os.environ.get("EDGEALLOC_SHARE", "1"))))


def chunks(usual: int, parts: int) -> list[range]:
    """`count(usual)` seeds in `parts` runs, so that a failure names a short range."""
    total = count(usual)
    edges = [total * i // parts for i in range(parts + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


@dataclass(frozen=True)
class Spec:
    """One variant of the model, and the size."""

    users: int = 3
    servers: int = 2
    layers: int = 4
    extreme: bool = False
    clock_scaled: bool = False
    fu: bool = False
    upload_counts: bool = True
    power_floor: bool = False
    circuit_power: bool = False
    idle_power: bool = False
    fixed_delay: bool = False
    head: bool = False
    clock_floor: bool = False
    stability_limit: bool = False
    device_memory: bool = False
    min_local: int = 1
    max_local: str = "default"  # "default", "split" (one below layers) or "layers" (fully local where finite)
    dead_links: bool = False
    same_users: bool = False
    same_servers: bool = False
    weights_per_user: bool = False
    reference: bool = False
    free_energy: bool = False
    free_stability: bool = False


def random_spec(rng: np.random.Generator, *, users: int = 4, servers: int = 3, layers: int = 6) -> Spec:
    """A variant at random, with sizes up to those given; degenerate traits are rare."""

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    return Spec(
        users=int(rng.integers(1, users + 1)),
        servers=int(rng.integers(1, servers + 1)),
        layers=int(rng.integers(1, layers + 1)),
        extreme=chance(0.25),
        clock_scaled=chance(0.5),
        fu=chance(0.5),
        upload_counts=not chance(0.25),
        power_floor=chance(0.25),
        circuit_power=chance(0.4),
        idle_power=chance(0.3),
        fixed_delay=chance(0.3),
        head=chance(0.5),
        clock_floor=chance(0.2),
        stability_limit=chance(0.2),
        device_memory=chance(0.2),
        min_local=int(rng.choice([0, 1, 1, 1, 2])),
        max_local=str(rng.choice(["default", "split", "layers"])),
        dead_links=chance(0.25),
        same_users=chance(0.15),
        same_servers=chance(0.15),
        weights_per_user=chance(0.3),
        reference=chance(0.2),
        free_energy=chance(0.1),
        free_stability=chance(0.1),
    )


def instance(seed: int, *, users: int = 4, servers: int = 3, layers: int = 6, **traits: Any) -> ea.SplitTraining:
    """A feasible random problem of a random variant; `traits` fix parts of the variant (see `Spec`)."""
    rng = np.random.default_rng([seed, 20_240_920])
    return build(replace(random_spec(rng, users=users, servers=servers, layers=layers), **traits), rng)


def sized(seed: int, users: int, servers: int, layers: int = 6, **traits: Any) -> ea.SplitTraining:
    """A feasible random problem of exactly this size."""
    rng = np.random.default_rng([seed, 20_191_120])
    return build(replace(random_spec(rng), users=users, servers=servers, layers=layers, **traits), rng)


def _log_uniform(rng: np.random.Generator, low: float, high: float, size: Any) -> FloatArray:
    return np.asarray(10.0 ** rng.uniform(np.log10(low), np.log10(high), size))


def build(spec: Spec, rng: np.random.Generator) -> ea.SplitTraining:
    """The problem of a variant with numbers from `rng`."""
    n, m, y = spec.users, spec.servers, spec.layers
    upload_counts = spec.upload_counts or spec.free_energy  # otherwise the upload would cost nothing
    fields = _devices(spec, rng)
    time = fields["layer_flops"] / (fields["user_flops_per_cycle"] * fields["user_frequency_max_hz"])
    fields["power_min_w"] = 0.0
    if spec.power_floor or not (upload_counts or spec.circuit_power):
        fields["power_min_w"] = fields["power_max_w"] * rng.choice([0.01, 0.3, 1.0], n)
    fields.update(_links(spec, rng, float(time.mean())))
    if spec.clock_scaled:
        # power of a whole server between a tenth and ten times that of a device
        watts = (fields["user_kappa"] * fields["user_frequency_max_hz"] ** 3).mean() * _log_uniform(rng, 0.1, 10.0, m)
        fields["server_kappa"] = watts / fields["server_frequency_max_hz"] ** 3
    else:
        joules = fields["user_kappa"] * fields["user_frequency_max_hz"] ** 2 / fields["user_flops_per_cycle"]
        fields["server_joules_per_flop"] = joules.mean() * _log_uniform(rng, 0.01, 1.0, m)
    if spec.fixed_delay:
        fields["fixed_delay_s"] = time.mean() * rng.uniform(0.0, 1.0, (n, m))
    if spec.same_servers:
        for name in (
            "server_flops_per_cycle",
            "server_frequency_max_hz",
            "bandwidth_max_hz",
            "server_kappa",
            "server_joules_per_flop",
        ):
            if name in fields:
                fields[name] = np.full(m, fields[name][0])
        fields["gain"] = np.repeat(fields["gain"][:, :1], m, axis=1)
    if spec.same_users:
        for name, value in fields.items():
            if isinstance(value, np.ndarray) and value.shape[:1] == (n,) and not name.startswith(("server", "bandw")):
                fields[name] = np.repeat(value[:1], n, axis=0)
    if spec.dead_links:
        dead = rng.random((n, m)) < 0.4
        dead[np.arange(n), rng.integers(0, m, n)] = False  # one link is left to everybody
        fields["gain"] = np.where(dead, 0.0, fields["gain"])
    stability = ea.Stability("fu", lipschitz=1.0, lambda_min=0.5) if spec.fu else ea.Stability("liu-zhao")
    fields.update(stability=stability, weights=_weights(spec, rng, fields, time), count_upload_delay=upload_counts)
    _limits(spec, rng, fields, stability)
    return ea.SplitTraining(layers=y, noise_psd_w_per_hz=4e-21, **fields)


def _devices(spec: Spec, rng: np.random.Generator) -> dict[str, Any]:
    n, wide = spec.users, spec.extreme
    fields: dict[str, Any] = {
        "layer_flops": _log_uniform(rng, 1e9 if wide else 5e11, 1e14 if wide else 4e12, n),
        "user_flops_per_cycle": _log_uniform(rng, 1.0 if wide else 200.0, 1e4 if wide else 2000.0, n),
        "user_kappa": _log_uniform(rng, 1e-28, 5e-27, n),
        "user_frequency_max_hz": rng.uniform(5e8, 1.5e9, n),
        "power_max_w": rng.uniform(0.1, 1.0, n),
        "samples": np.floor(rng.uniform(50.0, 500.0, n)),
    }
    if wide and rng.random() < 0.2:
        fields["user_kappa"] = np.zeros(n)
    if spec.clock_floor:
        fields["user_frequency_min_hz"] = fields["user_frequency_max_hz"] * rng.choice([0.3, 0.9, 1.0], n)
    if spec.head:
        fields["head_flops"] = fields["layer_flops"] * rng.uniform(0.0, 3.0, n)
    if spec.circuit_power:
        fields["circuit_power_w"] = rng.uniform(0.01, 0.3, n)
        fields["amplifier_efficiency"] = rng.uniform(0.2, 0.6, n)
    if spec.idle_power:
        fields["idle_power_w"] = rng.uniform(0.01, 0.5, n)
    return fields


def _links(spec: Spec, rng: np.random.Generator, layer_s: float) -> dict[str, Any]:
    """Servers and links: a server does a layer of all users in about the time a device needs for one."""
    n, m = spec.users, spec.servers
    clock = rng.uniform(1e9, 3e9, m)
    flops = layer_s * _log_uniform(rng, 0.1, 3.0, m)  # seconds per mean layer on the whole server
    band = _log_uniform(rng, 1e4 if spec.extreme else 5e6, 1e9 if spec.extreme else 4e7, m)
    gain = 10.0 ** (rng.uniform(-20.0, 0.0, (n, m)) if spec.extreme else rng.uniform(-13.0, -9.0, (n, m)))
    rate = band.mean() / n * np.log2(1.0 + 0.3 * np.median(gain) / (4e-21 * band.mean() / n))
    bits = np.clip(layer_s * max(float(rate), 1.0) * _log_uniform(rng, 0.1, 3.0, n), 1.0, 1e15)
    return {
        "server_flops_per_cycle": 1e12 / (flops * clock) * (1e-3 if spec.extreme else 1.0),
        "server_frequency_max_hz": clock,
        "bandwidth_max_hz": band,
        "gain": gain,
        "upload_bits": bits,
    }


def _weights(spec: Spec, rng: np.random.Generator, fields: dict[str, Any], time: FloatArray) -> ea.Weights:
    n = spec.users
    shape: Any = n if spec.weights_per_user else ()
    delay = _log_uniform(rng, 0.1, 10.0, shape) if not spec.extreme else _log_uniform(rng, 1e-4, 1e4, shape)
    energy = np.zeros(shape) if spec.free_energy else delay * _log_uniform(rng, 0.01, 10.0, shape)
    # a layer's worth of instability about as dear as a layer's time
    stability = (
        np.zeros(shape)
        if spec.free_stability
        else (delay * float((time * fields["samples"]).mean()) * _log_uniform(rng, 0.03, 3.0, shape))
    )
    reference = {"delay": 2.0, "energy": 3.0, "stability": 0.01} if spec.reference else None
    values: list[Any] = [delay, energy, stability]
    if not spec.weights_per_user:
        values = [float(value) for value in values]
    return ea.Weights(values[0], values[1], values[2], reference=reference)


def _limits(spec: Spec, rng: np.random.Generator, fields: dict[str, Any], stability: ea.Stability) -> None:
    """Ranges and limits of the cut that leave everybody an option."""
    n, y = spec.users, spec.layers
    local = spec.fu and spec.max_local != "split"
    low = min(spec.min_local, y if local else y - 1)
    top = y if local else y - 1
    fields["min_local_layers"] = low
    if spec.max_local == "split":
        fields["max_local_layers"] = max(top, low)
    elif spec.max_local == "layers":
        fields["max_local_layers"] = y
    reach = rng.integers(low, top + 1, n)  # the largest cut that a limit allows
    if spec.stability_limit:
        value = np.asarray(stability.value(reach / y, fields["samples"]))
        fields["stability_limit"] = value * rng.choice([1.0, 1.001], n)
    if spec.device_memory:
        fields["memory_bytes_fixed"] = 1e8
        fields["memory_bytes_per_layer"] = rng.uniform(1e8, 5e8, n)
        fields["memory_bytes_head"] = 1e9
        need = 1e8 + reach * fields["memory_bytes_per_layer"] + np.where(reach == y, 1e9, 0.0)
        fields["device_memory_bytes"] = need * rng.choice([1.0, 1.1], n)


def choose(problem: ea.SplitTraining, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A random association and cuts within every limit, by the library's own list of cuts."""
    server = np.empty(problem.users, dtype=np.int64)
    cut = np.empty(problem.users, dtype=np.int64)
    for n in range(problem.users):
        linked = np.flatnonzero(problem.gain[n] > 0.0)
        low, high = int(problem.cuts.low[n]), int(problem.cuts.high[n])
        can_split = linked.size > 0 and low <= high
        if can_split and not (problem.cuts.local[n] and rng.random() < 0.2):
            server[n], cut[n] = rng.choice(linked), rng.integers(low, high + 1)
        else:
            server[n], cut[n] = -1, problem.layers
    return server, cut


@st.composite
def specs(draw: st.DrawFn, *, users: int = 4, servers: int = 3, layers: int = 6) -> Spec:
    """Hypothesis strategy over variants: shrinks towards one user, one server, one layer and no extras."""
    flag = st.booleans()
    return Spec(
        users=draw(st.integers(1, users)),
        servers=draw(st.integers(1, servers)),
        layers=draw(st.integers(1, layers)),
        extreme=draw(flag),
        clock_scaled=draw(flag),
        fu=draw(flag),
        upload_counts=not draw(flag),
        power_floor=draw(flag),
        circuit_power=draw(flag),
        idle_power=draw(flag),
        fixed_delay=draw(flag),
        head=draw(flag),
        clock_floor=draw(flag),
        stability_limit=draw(flag),
        device_memory=draw(flag),
        min_local=draw(st.integers(0, 2)),
        max_local=draw(st.sampled_from(["default", "split", "layers"])),
        dead_links=draw(flag),
        same_users=draw(flag),
        same_servers=draw(flag),
        weights_per_user=draw(flag),
        reference=draw(flag),
        free_energy=draw(flag),
        free_stability=draw(flag),
    )


@st.composite
def problems(draw: st.DrawFn, *, users: int = 4, servers: int = 3, layers: int = 6) -> ea.SplitTraining:
    """Hypothesis strategy of feasible problems."""
    spec = draw(specs(users=users, servers=servers, layers=layers))
    return build(spec, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
