"""Random scenarios: the default physical setting and the paper's, seeded, declared in the same words as a file.

Numbers that no catalog knows are listed in `ASSUMPTIONS` with the reason, and travel with the scenario.
"""

from __future__ import annotations

import math
from typing import Any, Final

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.scenarios.paper import paper_scenario
from edgealloc.units import dbm_to_watt

__all__ = ["DEFAULT_MODEL", "LOADS", "NOMINAL_USERS_PER_SERVER", "PRESETS", "random_scenario"]

#: With this many users on average, a server has the capacity below; "proportional" capacity follows their
#: number.
NOMINAL_USERS_PER_SERVER: Final = 50
#: Share of the proportional capacity (bandwidth and accelerators) that each load family leaves.
LOADS: Final = {"proportional": 1.0, "congested": 0.25}
PRESETS: Final = ("physical", "paper")
#: The model of the physical setting.
DEFAULT_MODEL: Final = "llama3.2-1b"

#: catalog device -> accelerators of a nominal server (13 to 36 TFLOP/s effective in all), W at the wall for
#: each:
#: a board's data sheet leaves out its part of the host, which costs more than a small board does
_SERVERS: Final = {"l4": (1.0, 170.0), "t4": (1.0, 170.0), "jetson-agx-orin-64gb": (4.0, 75.0)}
_PHONES: Final = {
    "snapdragon-865": 1.0,
    "snapdragon-8-gen-2": 1.0,
    "snapdragon-8-gen-3": 1.0,
    "apple-a17-pro": 1.0,
}
_BANDWIDTH_HZ: Final = 100e6
_CELL_M: Final = 200.0

ASSUMPTIONS: Final = {
    "model.batch": "2 sequences per step: what a phone's memory allows",
    "model.tokens": "512 tokens, a usual length for instruction tuning",
    "model.lora_rank": "a common rank",
    "model.memory_overhead": "framework and buffers on the phone",
    "area.size": "one server per 200 m x 200 m, the site distance of an urban micro cell",
    "radio.carrier": "mid-band 5G",
    "radio.shadowing": "log-normal, with the deviation of TR 38.901; no fast fading: average channels",
    "radio.noise_figure_db": "5 dB, base station below 6 GHz (TR 38.901 calibration)",
    "radio.power_max": "23 dBm, power class 3 (TR 38.901 calibration)",
    "radio.downlink_rate": "per user; the gradients are as large as the activations",
    "users.device": "four classes of phone, equally frequent",
    "users.utilisation": "training reaches 0.35 of a phone's peak rate; measure it and put your number here",
    "users.memory_share": "half of the memory is left to training",
    "users.samples": "a few hundred to a few thousand samples of one person",
    "servers.accelerators": "one T4 or L4, or four Orin boards, per 50 users in the proportional load; a "
    "share of one "
    "is set aside for this service",
    "servers.utilisation": "training steps of single users reach 0.3 of the peak rate of an accelerator",
    "servers.power": "at the wall: 70 W board and 100 W for its part of the host; 60 W module and 15 W carrier board",
    "servers.bandwidth": "100 MHz per 50 users in the proportional load",
    "users.idle_power": "0: the phone is on anyway while it waits for the server",
    "users.clock_min": "0: any lower clock can be set",
    "radio.antenna_gain_db": "0: omnidirectional at both ends",
    "radio.power_min": "0: any lower power can be set",
    "radio.amplifier_efficiency": "1: only the radiated power is counted",
    "radio.circuit_power": "0: only the radiated power is counted",
    "stability.lipschitz": "L = 1: the bound is known up to this factor only, which the weight absorbs",
}


def random_scenario(
    users: int,
    servers: int,
    model: str | None,
    load: str | None,
    seed: int,
    preset: str,
    *,
    deadline: float | str | None = None,
    users_per_server: int | None = None,
    server_memory: bool = False,
    **model_options: Any,
) -> dict[str, Any]:
    """The document of a random scenario as a plain mapping; see `Scenario.random`.

    Raises
    ------
    DataError
        With every faulty argument.
    """
    faults: list[Fault] = []
    whole: tuple[tuple[str, object, int], ...] = (
        ("users", users, 1),
        ("servers", servers, 1),
        ("seed", seed, 0),
    )
    if users_per_server is not None:
        whole += (("users_per_server", users_per_server, 1),)
    for name, value, low in whole:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            faults.append(Fault(name, f"is {value!r}; give a whole number >= {low}"))
    for name, text, known in (("load", load, tuple(LOADS)), ("preset", preset, PRESETS)):
        if text not in known and (name, text) != ("load", None):
            faults.append(Fault(name, f"is {text!r}; {nearest(str(text), known)}"))
    if preset == "paper" and load is not None:
        faults.append(Fault("load", f"is {load!r}, but preset 'paper' has the paper's servers; leave it out"))
    if faults:
        raise DataError(faults, "Scenario.random")
    server: dict[str, Any] = {} if users_per_server is None else {"users_max": users_per_server}
    if preset == "paper":
        raw = paper_scenario(users, servers, model, seed, **model_options)
        if deadline is not None:
            raw["limits"]["deadline"] = deadline
        if server_memory is not False:
            raw["limits"]["server_memory"] = server_memory
        raw["servers"][0] |= server
        return raw
    model = DEFAULT_MODEL if model is None else model
    load = "proportional" if load is None else load
    scale = LOADS[load] * users / (servers * NOMINAL_USERS_PER_SERVER)
    kinds = list(_SERVERS)
    counts = [len(range(k, servers, len(kinds))) for k in range(len(kinds))]
    limits: dict[str, Any] = {"device_memory": True}
    if deadline is not None:
        limits["deadline"] = deadline
    assumptions = dict(ASSUMPTIONS)
    if server_memory is not False:
        limits["server_memory"] = server_memory
        server["memory_share"] = 0.9
        assumptions["servers.memory_share"] = "a tenth of a server's memory is left to framework and buffers"
    return {
        "problem": "split-training",
        "version": 1,
        "name": f"random-{users}x{servers}-{load}-{seed}",
        "description": f"{users} phones fine-tune {model} with the help of {servers} edge servers ({load} load)",
        "seed": seed,
        "model": {
            "name": model,
            "training": "frozen",
            "lora_rank": 16,
            "batch": 2,
            "tokens": 512,
            "memory_overhead": 500e6,
            **model_options,
        },
        "area": {"size": float(round(_CELL_M * math.sqrt(servers)))},
        "radio": {
            "path_loss": "umi",
            "carrier": 3.5e9,
            "shadowing": True,
            "fading": "none",
            "noise_figure_db": 5.0,
            "power_max": dbm_to_watt(23.0),
            "downlink_rate": 200e6,
        },
        "users": [
            {
                "count": users,
                "device": dict(_PHONES),
                "utilisation": 0.35,
                "memory_share": 0.5,
                "samples": [300.0, 3000.0],
                "min_local_layers": 1,
            }
        ],
        "servers": [
            {
                "count": count,
                "device": kind,
                "accelerators": _SERVERS[kind][0] * scale,
                "utilisation": 0.3,
                "power": _SERVERS[kind][1],
                "bandwidth": _BANDWIDTH_HZ * scale,
                "energy": "time-shared",
                **server,
            }
            for kind, count in zip(kinds, counts, strict=True)
            if count
        ],
        "weights": {"delay": 1.0, "energy": 1.0, "stability": 1.0},
        "stability": {"model": "liu-zhao", "lipschitz": 1.0},
        "limits": limits,
        "assumptions": assumptions,
    }
