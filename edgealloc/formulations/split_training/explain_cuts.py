r"""Which force holds each cut where it is; see `explain`.

At the prices of a solution every user pays for time and energy on the device and on the server, for its share of the
clock, for instability, for server memory and for lateness. One local layer more or less changes these; what makes the
step dearer holds the cut, or a limit does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.explain_gap import Buffers, State, site_value
from edgealloc.formulations.split_training.limits import highest_cut, memory_need, server_memory_need
from edgealloc.formulations.split_training.options import (
    EXACT,
    device_response,
    job_bytes,
    job_cycles,
    job_response,
    link_delay,
    link_response,
    timed_option,
)
from edgealloc.formulations.split_training.resources import members_of
from edgealloc.formulations.split_training.views import server_label

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["FORCES", "LIMITS", "forces"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: What a user pays for, in the order of the columns; names for people.
FORCES: Final[Mapping[str, str]] = {
    "device_time": "device time", "device_energy": "device energy", "server_time": "server time",
    "server_energy": "server energy", "clock_price": "clock price", "stability": "stability",
    "memory_price": "memory price", "deadline": "deadline", "radio": "radio",
}
#: Limits that can hold a cut; names for people.
LIMITS: Final[Mapping[str, str]] = {
    "min_local_layers": "privacy (min_local_layers)", "max_local_layers": "max_local_layers",
    "no_layer_left": "no local layer left", "finite_stability": "stability has no finite value fully local",
    "stability_limit": "stability limit", "device_memory_bytes": "device memory",
    "server_memory_bytes": "server memory", "deadline_s": "deadline", "users_per_server": "users per server",
    "no_server": "no server possible",
}
#: A force below this share of what the user pays is rounding.
_ROUNDING: Final = 1e-9
#: Moves that prices recommend are evaluated exactly for at most this many users, the keenest.
_EXACT_MOVES: Final = 2_000
_DEVICE_TIME, _DEVICE_ENERGY, _SERVER_TIME, _SERVER_ENERGY, _CLOCK, _STABILITY, _MEMORY, _DEADLINE, _RADIO = range(9)


def _split_level(
    state: State, n: IntArray, m: IntArray, cut: IntArray, theta: FloatArray, price: FloatArray
) -> FloatArray:
    """What users n pay for on servers m at cuts below Y, by force (len, 9); prices (M, 4), deadlines' theta (len,)."""
    data = state.data
    user, server = data.user[n], data.server[m]
    device, share, radio, upload, fixed = (np.zeros(n.size) for _ in range(5))
    for i, (a, b, c, t) in enumerate(zip(n.tolist(), m.tolist(), cut.tolist(), theta.tolist(), strict=True)):
        device[i] = device_response(data, a, max(c, 1), t)[1]
        share[i] = job_response(data, a, b, c, price[b, 1], t)[1]
        cost, band, received = link_response(data, a, b, price[b, 0], t)
        if band > 0.0:
            upload[i] = user["nats"][i] / (band * math.log1p(received / band))
        fixed[i] = link_delay(data, a, b)
        radio[i] = cost - t * upload[i] + user["time_weight"][i] * fixed[i]
    cycles = ((state.layers - cut) * user["layer"] + user["head"]) / server["per_cycle"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        elapsed = np.where(cut > 0, cut * user["cycles"] / device, 0.0)
        served = np.where(cycles > 0.0, cycles / share, 0.0)
        late = elapsed + served + upload + fixed - user["deadline"]
    level = np.zeros((n.size, len(FORCES)))
    level[:, _DEVICE_TIME] = _times(user["device_time"], elapsed)
    level[:, _DEVICE_ENERGY] = cut * user["cycles"] * user["kappa"] * device**2
    level[:, _SERVER_TIME] = _times(user["time_weight"], served)
    level[:, _SERVER_ENERGY] = cycles * user["energy_weight"] * (server["joules"] + server["kappa"] * share**2)
    level[:, _CLOCK] = price[m, 1] * share
    level[:, _STABILITY] = user["instability"] * data.factor[cut]
    # a place on the server is an opportunity, like its bytes
    level[:, _MEMORY] = price[m, 2] + price[m, 3] * (user["fixed_bytes"] + (state.layers - cut) * user["layer_bytes"])
    level[:, _DEADLINE] = _times(theta, late)
    level[:, _RADIO] = radio
    return level


def _local_level(state: State) -> tuple[FloatArray, BoolArray]:
    """What every user would pay for fully local, by force (N, 9), and whether its hard deadline forbids it.

    As if it were allowed; instability is inf where it has no finite value.
    """
    problem, user = state.problem, state.data.user
    cycles = state.layers * user["cycles"] + problem.head_flops / problem.user_flops_per_cycle
    hard = user["hard"] > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        natural, most = (np.where(user["kappa"] > 0.0, np.cbrt(weight / (2.0 * user["kappa"])), user["clock_high"])
                         for weight in (user["device_time"], user["device_time"] + user["penalty"]))
        needed = cycles / user["deadline"]
        clock = np.maximum(natural, np.where(hard, needed, np.minimum(needed, most)))
        clock = np.clip(clock, user["clock_low"], user["clock_high"])
        elapsed = np.where(clock > 0.0, cycles / clock, np.inf)
        late = np.where(np.isfinite(user["deadline"]), np.maximum(elapsed - user["deadline"], 0.0), 0.0)
        instability = np.asarray(problem.stability.value(1.0, problem.samples))
    level = np.zeros((problem.users, len(FORCES)))
    level[:, _DEVICE_TIME] = _times(user["device_time"], elapsed)
    level[:, _DEVICE_ENERGY] = cycles * user["kappa"] * clock**2
    level[:, _STABILITY] = np.where(np.isfinite(instability), user["instability"] * state.data.factor[-1], np.inf)
    level[:, _DEADLINE] = np.where(hard, 0.0, _times(user["penalty"], late))
    return level, hard & (late > 1e-12 * user["deadline"])


def _late(problem: SplitTraining) -> str:
    """What limits everybody's time: in a synchronous round the only deadline that is paid for is its end."""
    return "end of the round" if problem.delay == "max" else LIMITS["deadline_s"]


def _times(weight: Any, amount: FloatArray) -> FloatArray:
    """weight * amount with 0 inf = 0."""
    return np.where(weight > 0.0, weight * np.where(weight > 0.0, amount, 0.0), 0.0)


def _obstacles(state: State, cut: IntArray, local_late: BoolArray) -> dict[str, BoolArray]:
    """Limits that forbid the users (N,) these cuts on the servers where they are, by name."""
    problem, remote = state.problem, state.server >= 0
    layers, whole = state.layers, cut == state.layers
    inside = np.clip(cut, 0, layers)
    instability = np.asarray(problem.stability.value(inside / layers, problem.samples))
    names = {"no_layer_left": cut < 0, "min_local_layers": (cut >= 0) & (cut < problem.min_local_layers),
             "finite_stability": whole & ~np.isfinite(instability)}
    top = highest_cut(problem)
    # without a limit of its own, the range ends where stability does
    names["max_local_layers"] = (cut > top) & ~(names["finite_stability"] & (problem.max_local_layers is None))
    if problem.stability_limit is not None:
        names["stability_limit"] = np.isfinite(instability) & (instability > problem.stability_limit)
    if problem.device_memory_bytes is not None:
        names["device_memory_bytes"] = memory_need(problem, inside) > problem.device_memory_bytes
    if problem.server_memory_bytes is not None:
        m = np.maximum(state.server, 0)
        need = np.where(remote, server_memory_need(problem, state.cut), 0.0)
        used = np.bincount(m, weights=need, minlength=problem.servers)[m]
        after = used - need + np.where(whole, 0.0, server_memory_need(problem, inside))
        names["server_memory_bytes"] = remote & (cut < state.cut) & (after > problem.server_memory_bytes[m])
    late = whole & local_late
    data, user = state.data, state.data.user
    for n in np.flatnonzero(remote & ~whole & (cut >= 0) & (user["hard"] > 0.0)).tolist():
        # `cut_range` asks this of the allowed cuts only; here it is asked beyond them, too
        at, c = int(state.server[n]), int(cut[n])
        band, clock = data.server["bandwidth"][at], data.server["clock"][at]
        received = user["power_high"][n] * data.gain[n, at] * data.inverse_noise
        fastest = user["nats"][n] / (band * math.log1p(received / band)) + link_delay(data, n, at)
        fastest += c * user["cycles"][n] / user["clock_high"][n] + job_cycles(data, n, at, c) / clock
        late[n] = fastest > user["deadline"][n] * (1.0 + 1e-12)
    names["deadline_s"] = late
    return names


def forces(state: State) -> tuple[dict[str, Any], dict[str, int]]:
    """Columns of the users' frame about their cuts, and how many users are held by what."""
    users, layers = state.server.size, state.layers
    local, local_late = _local_level(state)
    price = state.settled.price.copy()
    # users and bytes have no price at held integers: the bound's says what they are worth
    price[:, 2:] = state.price[:, 2:]
    remote = np.flatnonzero(state.server >= 0)
    theta = state.settled.theta
    now = local.copy()
    now[remote] = _split_level(state, remote, state.server[remote], state.cut[remote], theta[remote], price)
    change = np.full((2, users, len(FORCES)), np.nan)  # of one more and of one less
    for side, step in ((0, 1), (1, -1)):
        cut = state.cut[remote] + step
        n = remote[(cut >= 0) & (cut < layers)]
        change[side, n] = _split_level(state, n, state.server[n], state.cut[n] + step, theta[n], price) - now[n]
        n = remote[cut == layers]
        change[side, n] = local[n] - now[n]
    alone = np.flatnonzero(state.server < 0)
    verdicts = ["" for _ in range(users)]
    held_by = ["" for _ in range(users)]
    saved = np.full(users, np.nan)
    judge = _Judge(state, price, change, now, local_late)
    best = {n: judge.leave(n, now[n]) for n in alone.tolist()}
    tested = judge.keenest(remote)
    for user in range(users):
        verdict = best[user] if user in best else judge.split(user, user in tested)
        verdicts[user], held_by[user], saved[user] = verdict
    columns: dict[str, Any] = {}
    against = _strongest(state.problem, change)
    for side, name in ((0, "more"), (1, "less")):
        columns[f"{name}_total"] = change[side].sum(axis=1)
        columns |= {f"{name}_{force}": change[side, :, i] for i, force in enumerate(FORCES)}
        columns[f"against_{name}"] = against[side]
    columns["verdict"] = np.array(verdicts, dtype=object)
    columns["held_by"] = np.array(held_by, dtype=object)
    columns["saved_by_a_layer"] = saved
    held = Counter(f"{verdict}: {by}" if by else verdict for verdict, by in zip(verdicts, held_by, strict=True))
    return columns, dict(sorted(held.items(), key=lambda item: (-item[1], item[0])))


def _strongest(problem: SplitTraining, change: FloatArray) -> npt.NDArray[np.object_]:
    """Name (...,) of the force that makes each step (..., 9) dearer most; empty where none does."""
    names = np.array([_late(problem) if name == "deadline" else text for name, text in FORCES.items()], dtype=object)
    known = np.where(np.isnan(change), 0.0, change)
    return np.asarray(np.where((known > 0.0).any(axis=-1), names[known.argmax(axis=-1)], ""), dtype=object)


class _Judge:
    """What holds each cut, from the changes (2, N, 9) of one local layer more and less."""

    def __init__(
        self, state: State, price: FloatArray, change: FloatArray, now: FloatArray, local_late: BoolArray
    ) -> None:
        self.state, self.price, self.change = state, price, change
        self.rounding = _ROUNDING * np.abs(np.where(np.isfinite(now), now, 0.0)).sum(axis=1)
        self.obstacles = [_obstacles(state, state.cut + step, local_late) for step in (1, -1)]
        forbidden = [np.any(list(side.values()), axis=0) for side in self.obstacles]
        self.forbidden = np.array(forbidden)
        # what a step changes in the objective: memory is an opportunity, not a cost; where the model has no finite
        # stability fully local, that is a limit and no force
        wanted = change.copy()
        wanted[:, :, _MEMORY] = 0.0
        wanted[np.isinf(wanted)] = 0.0
        self.wanted = wanted.sum(axis=2)
        # below 0 layers there is nothing; the pull is that of the last one
        nothing = self.obstacles[1]["no_layer_left"]
        self.wanted[1, nothing] = -self.wanted[0, nothing]
        self.without_deadline = self.wanted - np.nan_to_num(wanted[:, :, _DEADLINE])
        self.order, self.offsets = members_of(state.server, state.data.server.size)

    def keenest(self, remote: IntArray) -> set[int]:
        """Users whose free moves are worth an exact look."""
        pull = np.where(self.forbidden, np.inf, self.wanted)[:, remote].min(axis=0, initial=np.inf)
        pull = np.where(np.isnan(pull), np.inf, pull)
        rank = remote[np.argsort(pull, kind="stable")[:_EXACT_MOVES]]
        return set(rank.tolist())

    def split(self, n: int, exactly: bool) -> tuple[str, str, float]:
        """Verdict about a user on a server: (verdict, by what, what a layer would save)."""
        state, rounding = self.state, self.rounding[n]
        limits: list[tuple[float, str]] = []
        weight, late = False, False
        for side, step in ((0, 1), (1, -1)):
            pull = float(self.wanted[side, n])
            if pull >= -rounding or math.isnan(pull):
                late |= bool(self.without_deadline[side, n] < -rounding)
                continue
            if self.forbidden[side, n]:
                names = [_late(state.problem) if name == "deadline_s" else LIMITS[name]
                         for name, mask in self.obstacles[side].items() if mask[n]]
                limits.append((-pull, " and ".join(names)))
                continue
            if not exactly:
                return "might move", "one layer more" if step > 0 else "one layer less", -pull
            cut = int(state.cut[n]) + step
            if self._later(n, cut) >= -rounding:
                late = True
                continue
            change, broken = self._exact(n, cut)
            if change < -rounding:
                return "would move", "one layer more" if step > 0 else "one layer less", -change
            # at the prices it would be in time, but then there is not enough for all on the server
            late, weight = late or broken, weight or not broken
        if limits:
            gain, by = max(limits)
            return "limit", by, gain
        if late:
            return "limit", _late(state.problem), 0.0
        if weight:
            return "own weight", "prices would move with it", 0.0
        more, less = _strongest(state.problem, self.change[:, n])
        return "balanced", f"{more or 'nothing'} against {less or 'nothing'}", 0.0

    def _later(self, n: int, cut: int) -> float:
        """Change of the priced cost with the user's deadline multiplier adapted; -inf without a deadline."""
        state, m = self.state, int(self.state.server[n])
        if not math.isfinite(state.data.user["deadline"][n]) or cut == state.layers:
            return -math.inf
        theta = float(state.settled.theta[n])
        before, after = (timed_option(state.data, n, m, c, self.price[m, 0], self.price[m, 1], theta, EXACT)[0]
                         for c in (int(state.cut[n]), cut))
        return float(after - before)

    def _members(self, m: int) -> IntArray:
        return self.order[self.offsets[m] : self.offsets[m + 1]]

    def _exact(self, n: int, cut: int) -> tuple[float, bool]:
        """Change of the optimal cost when a user takes another cut or trains alone; whether a deadline is lost."""
        state, m = self.state, int(self.state.server[n])
        members, moved = self._members(m), state.cut.copy()
        before, _ = site_value(state, members, m, state.cut)
        if cut == state.layers:
            after, _ = site_value(state, members[members != n], m, state.cut)
            return after + float(state.data.user["local_cost"][n]) - before, False
        moved[n] = cut
        after, broken = site_value(state, members, m, moved)
        return after - before, broken

    def leave(self, n: int, now: FloatArray) -> tuple[str, str, float]:
        """Verdict about a fully local user; writes its cheapest option on a server as its step "less"."""
        state, data = self.state, self.state.data
        own_price = self.price * np.array([1.0, 1.0, 0.0, 0.0])
        value, at, cut = Buffers(data).list(n, own_price)
        options = np.flatnonzero(at >= 0)
        if not options.size:
            reachable = (data.gain[n] > 0.0).any() and state.problem.cuts.low[n] <= state.problem.cuts.high[n]
            late = reachable and data.user["hard"][n] > 0.0
            return "fully local", _late(state.problem) if late else LIMITS["no_server"], math.nan
        own, rounding = float(data.user["local_cost"][n]), self.rounding[n]
        best = options[int(np.argmin(value[options]))]
        m, alpha = int(at[best]), int(cut[best])
        theta = 0.0
        if math.isfinite(data.user["deadline"][n]):
            theta = float(timed_option(data, n, m, alpha, self.price[m, 0], self.price[m, 1], 0.0, EXACT)[3])
        who, where, at_cut = (np.array([k]) for k in (n, m, alpha))
        self.change[1, n] = _split_level(state, who, where, at_cut, np.array([theta]), self.price)[0] - now
        full = ""
        for m in np.unique(at[options]).tolist():
            mine = options[at[options] == m]
            choice = mine[int(np.argmin(value[mine]))]
            if value[choice] - own >= -rounding:
                continue
            moved = state.cut.copy()
            moved[n] = cut[choice]
            members = self._members(m)
            joined = np.sort(np.append(members, n))
            after, broken = site_value(state, joined, m, moved)
            change = after - site_value(state, members, m, state.cut)[0] - own
            if change < -rounding:
                return "would move", f"to {server_label(state.problem, m)}", -change
            if members.size >= data.server["users"][m]:
                full = LIMITS["users_per_server"]
            elif sum(float(job_bytes(data, k, int(moved[k]))) for k in joined.tolist()) > data.server["bytes"][m]:
                full = LIMITS["server_memory_bytes"]
            else:
                full = full or (_late(state.problem) if broken else "prices would move with it")
        return "fully local", full or "cheaper than any server", 0.0
