"""The setting of Liu & Zhao, section 6 (MobiHoc 2024, arXiv 2409.20247), literally.

What the paper states is in `SOURCES`; what it leaves open, and what we chose, is in `ASSUMPTIONS`. Both travel with
the scenario. The setting has defects, which `edgealloc.reproduce.liu_zhao_2024.defects` shows by numbers.
"""

from __future__ import annotations

from typing import Any, Final

from edgealloc.units import dbm_to_watt

__all__ = ["ASSUMPTIONS", "MODEL", "SOURCES", "paper_scenario"]

#: The paper's "LLaMA-7B", by its Y and h: a classic block whose work per layer is 72 B d h^2 + 12 B d^2 h.
MODEL: Final = "liu-zhao-llama-7b"
_PAPER: Final = "Liu & Zhao, section 6"
_MODEL_ENTRY: Final[dict[str, Any]] = {
    "like": "llama-7b",
    "hidden": 1024,
    "heads": 8,
    "kv_heads": 8,
    "head_dim": 128,
    "ffn": 4096,
    "mlp": "gelu",
    "source": f"{_PAPER}: LLaMA-7B with Y = 32 and h = 1024; the released LLaMA-7B has h = 4096",
    "note": "8 heads of 128, two feed-forward matrices of 4 h: the shape whose work per layer is the paper's formula",
}
_KAPPA_USER: Final = 1e-27
_KAPPA_SERVER: Final = 1e-26

SOURCES: Final = {
    "model.training": "Liu & Zhao, section 3: 72 B d h^2 + 12 B d^2 h per layer counts every parameter as trained",
    "model.batch": _PAPER,
    "model.tokens": _PAPER,
    "model.count_head": "Liu & Zhao, section 3: no output head",
    "radio.path_loss": _PAPER,
    "radio.noise_density": f"{_PAPER}: sigma^2 = -134 dBm, used as a density per Hz",
    "radio.count_upload_delay": "Liu & Zhao, problem P1: the upload costs energy only",
    "users.clock": _PAPER,
    "users.cores": _PAPER,
    "users.flops_per_cycle": _PAPER,
    "radio.power_max": _PAPER,
    "servers.clock": _PAPER,
    "servers.cores": _PAPER,
    "servers.flops_per_cycle": _PAPER,
    "servers.bandwidth": _PAPER,
    "servers.energy": "Liu & Zhao, section 3: a share F draws kappa F^3",
    "weights.delay": f"{_PAPER}: 1 after normalisation",
    "weights.energy": f"{_PAPER}: 1 after normalisation",
    "weights.stability": f"{_PAPER}: 1 after normalisation",
    "stability.model": "Liu & Zhao, Theorem 1",
    "limits.resources": "Liu & Zhao, problem P1: shares add up to the whole",
}

ASSUMPTIONS: Final = {
    "model.activation_bytes": "s(.) is not given: B d h activations of 2 bytes, 8 bits each",
    "area.size": "not given: a square of 1 km, whatever the number of servers; servers on a jittered grid",
    "radio.carrier": "the path loss is for 2 GHz and does not ask",
    "radio.shadowing": "none: not mentioned",
    "radio.fading": "none: not mentioned",
    "radio.antenna_gain_db": "0: not mentioned",
    "radio.power_min": "10 dBm: not given, and with 0 W no power is the best one",
    "radio.amplifier_efficiency": "1: only the radiated power is counted",
    "radio.circuit_power": "0: only the radiated power is counted",
    "users.utilisation": "1: the paper has no such factor",
    "users.clock_min": "0: any lower clock can be set",
    "users.kappa": "not given: 1e-27 W s^3 for the whole device, 1 W at 1 GHz and 0.125 W at 0.5 GHz",
    "users.idle_power": "0: not mentioned",
    "users.samples": "k_n is not given: a few hundred to a few thousand samples of one person",
    "users.min_local_layers": "1: raw embeddings stay on the device, as split learning promises",
    "servers.accelerators": "1: the paper's cores are those of the whole server",
    "servers.utilisation": "1: the paper has no such factor",
    "servers.kappa": "not given: 1e-26 W s^3 for the whole server, 10 W at 1 GHz and 270 W at 3 GHz, as a GPU board",
    "stability.lipschitz": "L is not given: 1; the bound is known up to this factor only, which the weight absorbs",
    "weights.reference": "normalisers are not given: average delay, energy and instability of a user at the best-gain "
    "server with half of the layers on the device, equal shares, full power and clock",
}


def paper_scenario(users: int, servers: int, model: str | None, seed: int, **model_options: Any) -> dict[str, Any]:
    """The document of the paper's setting; the paper has 50 users and 10 servers.

    Parameters
    ----------
    users, servers : int
    model : str, optional
        A catalog model instead of the paper's.
    seed : int
    **model_options
        Further keys of [model].
    """
    sources = dict(SOURCES)
    if users == 50:
        sources["users.count"] = _PAPER
    if servers == 10:
        sources["servers.count"] = _PAPER
    if model is not None:
        del sources["model.training"]  # about the paper's formula, which is that of its model
    for key in model_options:
        sources.pop(f"model.{key}", None)
    return {
        "problem": "split-training",
        "version": 1,
        "name": f"paper-{users}x{servers}-{seed}",
        "description": f"the setting of Liu & Zhao, section 6, with {users} users and {servers} servers",
        "seed": seed,
        "model": {
            "name": MODEL if model is None else model,
            "training": "full",
            "batch": 512,
            "tokens": [512, 1024],
            "activation_bytes": 2.0,
            "count_head": False,
            **model_options,
        },
        "area": {"size": 1000.0},
        "radio": {
            "path_loss": "legacy-macro",
            "carrier": 2e9,
            "shadowing": False,
            "fading": "none",
            "noise_density": dbm_to_watt(-134.0),
            "power_min": dbm_to_watt(10.0),
            "power_max": [1.0, 2.0],
            "count_upload_delay": False,
        },
        "users": [
            {
                "count": users,
                "clock": [0.5e9, 1e9],
                "cores": [4, 6],
                "flops_per_cycle": 1.0,
                "kappa": _KAPPA_USER,
                "utilisation": 1.0,
                "samples": [300.0, 3000.0],
                "min_local_layers": 1,
            }
        ],
        "servers": [
            {
                "count": servers,
                "clock": [1e9, 3e9],
                "cores": [2560, 5120],
                "flops_per_cycle": [1.0, 2.0],
                "kappa": _KAPPA_SERVER,
                "utilisation": 1.0,
                "bandwidth": 20e6,
                "energy": "clock-scaled",
            }
        ],
        "weights": {"delay": 1.0, "energy": 1.0, "stability": 1.0},
        "stability": {"model": "liu-zhao", "lipschitz": 1.0},
        "limits": {"device_memory": False, "resources": "exactly"},
        "catalog": {"models": {MODEL: dict(_MODEL_ENTRY)}} if model is None else {},
        "sources": sources,
        "assumptions": dict(ASSUMPTIONS),
    }
