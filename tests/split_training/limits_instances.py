"""Random SplitTraining problems with limits that bind: deadlines, caps, server memory, "exactly", rounds.

`limited(seed)` takes an instance of `instances`, draws a *witness* (an association, cuts and equal shares at
nearly full power and clock) and sets the limits near what the witness needs. So most problems are feasible, and
with ``feasible=True`` all are: the witness keeps every limit. With ``feasible=False`` one limit is out of reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from instances import choose, instance, sized

import edgealloc as ea

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Traits that `limited` knows: True or False fixes one, otherwise it is drawn.
TRAITS = ("deadlines", "penalties", "caps", "server_memory", "exactly", "rounds")


def limited(seed: int, *, users: int = 4, servers: int = 3, layers: int = 6, feasible: bool | None = None,
            **traits: Any) -> ea.SplitTraining:
    """A problem of up to this size with at least one of the limits.

    Traits: deadlines, penalties (some or all deadlines soft), caps, server_memory, exactly, rounds; everything
    else goes to `instance`. feasible: True and False are guaranteed, None is mostly feasible.
    """
    rng = np.random.default_rng([seed, 20_250_712])
    wanted, rest = _draw(rng, traits, feasible)
    return _limit(instance(seed, users=users, servers=servers, layers=layers, **_suited(wanted, rest)), rng, wanted,
                  feasible)


def sized_limited(seed: int, users: int, servers: int, layers: int = 6, *, feasible: bool | None = None,
                  **traits: Any) -> ea.SplitTraining:
    """The same at exactly this size."""
    rng = np.random.default_rng([seed, 20_250_713])
    wanted, rest = _draw(rng, traits, feasible)
    return _limit(sized(seed, users, servers, layers, **_suited(wanted, rest)), rng, wanted, feasible)


def _draw(rng: np.random.Generator, traits: dict[str, Any], feasible: bool | None) -> tuple[dict[str, bool],
                                                                                           dict[str, Any]]:
    """Which limits there are, and the traits of the instance under them."""
    chance = {"deadlines": 0.6, "penalties": 0.3, "caps": 0.3, "server_memory": 0.3, "exactly": 0.3, "rounds": 0.25}
    drawn = {name: bool(rng.random() < share) for name, share in chance.items()}
    fixed = {name: bool(traits[name]) for name in TRAITS if traits.get(name) is not None}
    rest = {name: value for name, value in traits.items() if name not in TRAITS}
    wanted = drawn | fixed
    if wanted["rounds"] and wanted["penalties"]:  # rounds take hard deadlines only
        if fixed.get("rounds") and fixed.get("penalties"):
            raise ValueError("rounds take no penalties")
        wanted["rounds" if fixed.get("penalties") else "penalties"] = False
    if wanted["penalties"] and fixed.get("penalties"):
        wanted["deadlines"] = True
    wanted["penalties"] &= wanted["deadlines"]
    if not any(wanted.values()):
        # something must bind: the first limit that the caller did not switch off
        wanted[next((name for name in TRAITS if name not in fixed and name != "penalties"), "deadlines")] = True
    if feasible is False and not (wanted["caps"] or wanted["server_memory"] or wanted["deadlines"]):
        wanted["deadlines"] = True
    return wanted, rest


def _suited(wanted: dict[str, bool], traits: dict[str, Any]) -> dict[str, Any]:
    """What a limit asks of the instance under it."""
    needs: dict[str, Any] = {}
    if wanted["rounds"]:
        needs = {"upload_counts": True, "weights_per_user": False}
    return needs | traits


def _limit(problem: ea.SplitTraining, rng: np.random.Generator, wanted: dict[str, bool],
           feasible: bool | None) -> ea.SplitTraining:
    server, cut = choose(problem, rng)
    fields: dict[str, Any] = {}
    if wanted["exactly"]:
        fields["resource_sense"] = "exactly"
    if wanted["rounds"]:
        fields["delay"] = "max"
    if wanted["caps"]:
        fields["users_per_server"] = _caps(problem, rng, server, feasible is True)
    if wanted["server_memory"]:
        fields.update(_memory(problem, rng, server, cut))
    if wanted["deadlines"]:
        fields.update(_deadlines(problem, rng, server, cut, soft=wanted["penalties"], keep=feasible is True))
    if feasible is False:
        fields.update(_broken(problem, rng, fields))
    return problem.replace(**fields)


def witness(problem: ea.SplitTraining, server: IntArray, cut: IntArray) -> ea.Allocation:
    """Equal shares at almost full power and clock: a feasible point but for deadlines."""
    m, remote = np.maximum(server, 0), server >= 0
    count = np.maximum(np.bincount(m[remote], minlength=problem.servers), 1)[m]

    def near_top(low: FloatArray, high: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(low, 0.9 * high))

    return ea.Allocation(
        server=server,
        local_layers=cut,
        power_w=np.where(remote, near_top(problem.power_min_w, problem.power_max_w), 0.0),
        bandwidth_hz=np.where(remote, problem.bandwidth_max_hz[m] / count, 0.0),
        user_frequency_hz=near_top(problem.user_frequency_min_hz, problem.user_frequency_max_hz),
        server_frequency_hz=np.where(remote, problem.server_frequency_max_hz[m] / count, 0.0),
    )


def _caps(problem: ea.SplitTraining, rng: np.random.Generator, server: IntArray, keep: bool) -> IntArray:
    """Room for N or N + 1 users: the witness's own numbers, or a random split of that room."""
    own = np.bincount(server[server >= 0], minlength=problem.servers)
    if not keep and rng.random() < 0.5:
        own = rng.multinomial(problem.users, np.full(problem.servers, 1.0 / problem.servers))
    if rng.random() < 0.5:
        own[rng.integers(problem.servers)] += 1
    return own.astype(np.int64)


def _memory(problem: ea.SplitTraining, rng: np.random.Generator, server: IntArray, cut: IntArray) -> dict[str, Any]:
    """Room for 1.0 to 1.3 times what the witness takes; now and then an endless server."""
    n, remote = problem.users, server >= 0
    fixed = rng.choice([0.0, 1.0], n) * rng.uniform(1e8, 1e9, n)
    layer = rng.uniform(1e8, 1e9, n) if rng.random() < 0.8 else np.full(n, 5e8)
    need = np.where(remote, fixed + (problem.layers - cut) * layer, 0.0)
    used = np.bincount(np.maximum(server, 0), weights=need, minlength=problem.servers)
    # a server that the witness leaves empty holds about one user at its highest cut
    used = np.where(used > 0.0, used, np.median(fixed + layer))
    room = used * np.where(rng.random(problem.servers) < 0.3, 1.0 + 1e-12, rng.uniform(1.0, 1.3, problem.servers))
    if rng.random() < 0.1:
        room[rng.integers(problem.servers)] = np.inf
    return {"server_memory_bytes": room, "server_memory_bytes_fixed": fixed, "server_memory_bytes_per_layer": layer}


def _deadlines(problem: ea.SplitTraining, rng: np.random.Generator, server: IntArray, cut: IntArray, *, soft: bool,
               keep: bool) -> dict[str, Any]:
    """0.5 to 1.5 times the response of the witness; `keep`: at least 1.02 times; some users have none."""
    n = problem.users
    time = problem.evaluate(witness(problem, server, cut)).response_s
    tight = rng.random() < 0.5  # otherwise deadlines that bind here and there
    low, high = (0.5, 1.1) if tight else (0.7, 1.5)
    deadline = time * (rng.uniform(1.02, 1.5 if tight else 3.0, n) if keep else rng.uniform(low, high, n))
    free = rng.random(n) < 0.2
    if free.all():
        free[rng.integers(n)] = False
    deadline = np.where(free | (time <= 0.0), np.inf, deadline)
    if not soft:
        return {"deadline_s": deadline}
    costs = problem.evaluate(witness(problem, server, cut)).user_objective
    # a second late is as dear as a hundredth to a hundred times the whole cost per second
    penalty = costs / np.maximum(time, 1e-300) * 10.0 ** rng.uniform(-2.0, 2.0, n)
    late = rng.random(n) < (1.0 if rng.random() < 0.5 else 0.5)
    penalty = np.where(late & np.isfinite(penalty) & (penalty > 0.0), penalty, np.inf)
    return {"deadline_s": deadline, "deadline_penalty_per_s": penalty}


def _broken(problem: ea.SplitTraining, rng: np.random.Generator, fields: dict[str, Any]) -> dict[str, Any]:
    """One limit that nobody can keep, whatever the association."""
    names = [name for name in ("users_per_server", "server_memory_bytes", "deadline_s") if name in fields]
    local = problem.cuts.local
    name = str(rng.choice(names))
    if local.all():
        name = "deadline_s"  # fully local users need no server
    n = int(rng.choice(np.flatnonzero(~local))) if not local.all() else int(rng.integers(problem.users))
    if name == "users_per_server":
        # all that may be alone are, and still one place is missing
        room = np.zeros(problem.servers, dtype=np.int64)
        missing = int((~local).sum()) - 1
        room[rng.integers(problem.servers)] = missing
        return {"users_per_server": room}
    if name == "server_memory_bytes":
        layer = np.array(fields["server_memory_bytes_per_layer"])
        most = problem.layers - int(problem.cuts.high[n])
        least = float(fields["server_memory_bytes_fixed"][n] + most * layer[n])
        return {"server_memory_bytes": np.full(problem.servers, 0.9 * least)}
    return _hopeless(problem, n, fields)


def _hopeless(problem: ea.SplitTraining, n: int, fields: dict[str, Any]) -> dict[str, Any]:
    """A hard deadline for user n shorter than any of its options with a whole server for itself."""
    fastest = []
    for m in range(problem.servers):
        cuts = [*range(int(problem.cuts.low[n]), int(problem.cuts.high[n]) + 1)] if problem.gain[n, m] > 0.0 else []
        fastest += [_fastest(problem, n, m, cut) for cut in cuts]
    if problem.cuts.local[n]:
        fastest.append(_fastest(problem, n, -1, problem.layers))
    deadline = np.array(fields.get("deadline_s", np.full(problem.users, np.inf)))
    deadline[n] = 0.9 * min(fastest)
    change: dict[str, Any] = {"deadline_s": deadline}
    if fields.get("deadline_penalty_per_s") is not None:
        penalty = np.array(fields["deadline_penalty_per_s"])
        penalty[n] = np.inf
        change["deadline_penalty_per_s"] = penalty
    return change


def _fastest(problem: ea.SplitTraining, n: int, m: int, cut: int) -> float:
    """Response of user n with a whole server at full power and clock."""
    server = np.full(problem.users, -1)
    server[n] = m
    cuts = np.full(problem.users, problem.layers)
    cuts[n] = cut
    return float(problem.evaluate(ea.Allocation(
        server=server, local_layers=cuts, power_w=np.array(problem.power_max_w),
        bandwidth_hz=np.full(problem.users, problem.bandwidth_max_hz[max(m, 0)]),
        user_frequency_hz=np.array(problem.user_frequency_max_hz),
        server_frequency_hz=np.full(problem.users, problem.server_frequency_max_hz[max(m, 0)]),
    )).response_s[n])
