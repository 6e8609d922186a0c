r"""Branch and bound on what the bound leaves open: proves small and middle-sized problems to any gap.

At the prices of the bound D, an assignment that is better than the incumbent U takes only options whose reduced cost
(priced value minus the user's best) is below U - D. That leaves few of the M Y options of every user. The tree over
them is searched best-first (`solvers.branching`); a node is bounded by improving the prices for the options it has
left (`tree`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.run import Run
from edgealloc.formulations.split_training.ascent import GUARD, Options
from edgealloc.formulations.split_training.moves import make_state, search
from edgealloc.formulations.split_training.priced import SplitPricing
from edgealloc.formulations.split_training.resources import settle
from edgealloc.formulations.split_training.tree import list_options, work_node
from edgealloc.solvers.branching import Tree, Worked
from edgealloc.solvers.pricing import Pricing

__all__ = ["MOST_OPTIONS", "MOST_USERS", "list_all", "prove", "split_node", "worth_trying"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Beyond this the tree would not end in any time one waits for, and the search is not begun by `certified`.
MOST_USERS: Final = 400
MOST_OPTIONS: Final = 20_000
#: After so many nodes the tree is given up if more than this share of what was open before them is open still.
PATIENCE: Final = 5000
WORTH: Final = 0.9
#: Newton steps on the prices of a node, of the root.
EFFORT: Final = 14
ROOT_EFFORT: Final = 60


@dataclass(frozen=True, eq=False)
class _Node:
    mask: npt.NDArray[np.uint8]
    prices: FloatArray


class _Prover:
    """The tree's view of the problem: options, nodes, and solutions found in them."""

    def __init__(self, pricing: SplitPricing, options: Options) -> None:
        self.data, self.options = pricing.data, options
        self.slack = math.inf
        self.owner = np.repeat(np.arange(options.first.size - 1), np.diff(options.first))

    def work(self, node: _Node, cutoff: float, effort: int = EFFORT) -> Worked:
        """Bound a node and split it."""
        options = self.options
        mask, prices = node.mask.copy(), node.prices.copy()
        pick = np.zeros(options.first.size - 1, dtype=np.int64)
        share = np.zeros(options.server.size)
        target = cutoff if math.isfinite(cutoff) else 1e300
        bound, user, server, cut = work_node(
            self.data, options, mask, prices, target, self.slack, effort, pick, share)
        if user == -2:
            return Worked(bound)
        assignment = options.server[pick], options.cut[pick]
        if user == -1:
            return self._leaf(bound, *assignment)
        sides = split_node(options, mask, self.owner == user, server, cut)
        return Worked(bound, tuple(_Node(side, prices) for side in sides), suggestion=assignment)

    def _leaf(self, bound: float, server: IntArray, cut: IntArray) -> Worked:
        settled = settle(self.data, server, cut)
        least = max(bound, settled.cost - GUARD * abs(settled.cost))
        return Worked(least, (), settled.cost, suggestion=(server, cut))


def split_node(
    options: Options, mask: npt.NDArray[np.uint8], mine: npt.NDArray[np.bool_], server: int, cut: int
) -> list[npt.NDArray[np.uint8]]:
    """Both sides of a branching of the user whose options are `mine`, as `work_node` says it."""
    inside = mine & ((options.server == server) if cut < 0 else (options.cut <= cut))
    sides = []
    for side in (inside, mine & ~inside):
        left = mask.copy()
        left[mine & ~side] = 0
        sides.append(left)
    return sides


def worth_trying(pricing: SplitPricing) -> bool:
    """Small enough for the tree to be likely to end, or to help."""
    return bool(pricing.users <= MOST_USERS)


def list_all(pricing: SplitPricing, prices: FloatArray, room: float, most: int = MOST_OPTIONS) -> Options | None:
    """Options whose reduced cost at prices (K,) is at most `room`; None if there are too many."""
    data, users = pricing.data, pricing.users
    price = pricing.capacities.per_unit(prices)
    width = pricing.servers * data.factor.size + 1
    value, server, cut = np.empty(width), np.empty(width, np.int64), np.empty(width, np.int64)
    first, servers, cuts = [0], [], []
    for n in range(users):
        size = list_options(data, n, price, value, server, cut)
        keep = (
            np.flatnonzero(value[:size] - value[:size].min(initial=math.inf) <= room) if size else np.empty(0, np.int64)
        )
        first.append(first[-1] + keep.size)
        servers.append(server[keep])
        cuts.append(cut[keep])
    if first[-1] > most:
        return None
    capacities = pricing.capacities
    return Options(np.array(first, dtype=np.int64), np.concatenate(servers), np.concatenate(cuts),
                   _twins(pricing, servers, cuts), capacities.size.ravel().copy(),
                   capacities.low.ravel().copy(), capacities.high.ravel().copy())


def _twins(pricing: SplitPricing, servers: list[IntArray], cuts: list[IntArray]) -> IntArray:
    """The last earlier user (N,) with the same data, -1 if none."""
    data = pricing.data
    last: dict[bytes, int] = {}
    twin = np.full(pricing.users, -1, dtype=np.int64)
    for n in range(pricing.users):
        delay = data.delay[n].tobytes() if data.delay.size > 1 else b""
        key = b"|".join(
            (data.user[n].tobytes(), data.gain[n].tobytes(), delay, servers[n].tobytes(), cuts[n].tobytes())
        )
        twin[n] = last.get(key, -1)
        last[key] = n
    return twin


def prove(
    pricing: SplitPricing, state: Pricing, run: Run, attempts: list[str], gap: float, *, stubborn: bool = False
) -> None:
    """Branch and bound until the gap is proven or time is up; `state` and `pricing` are improved in place.

    Unless `stubborn` it gives up where `PATIENCE` nodes close little of what is open. What the tree minimises is the
    cost with what broken limits cost, so that it looks for a feasible assignment where none is
    known yet.
    """
    if state.prices is None or not pricing.best:
        return
    goal = max(0.9 * gap, 2.0 * GUARD)
    best = pricing.best[0].cost
    options = list_all(pricing, state.prices, (best - state.price_bound) * (1.0 + 1e-9) + GUARD * abs(best))
    if options is None:
        attempts.append(f"branch and bound not begun: more than {MOST_OPTIONS} options are left")
        return
    prover = _Prover(pricing, options)
    flat = np.zeros(options.size.size)
    flat[pricing.active] = state.prices
    tree = Tree(_Node(np.ones(options.server.size, dtype=np.uint8), flat), state.bound, pricing.best[0].cost, goal)
    effort = ROOT_EFFORT
    looked, open_then, stalled = 0, math.inf, False
    while not (tree.closed or stalled):
        if run.seconds_left <= 0.0:
            break
        spread = tree.cutoff - tree.bound
        prover.slack = spread if math.isfinite(spread) else 0.1 * max(abs(tree.bound), 1e-300)
        suggestions = tree.round(partial(prover.work, effort=effort), pricing.threads)
        effort = EFFORT
        _take_found(pricing, suggestions, tree, run)
        state.bound = max(state.bound, tree.bound)
        state.objective = pricing.objective
        if tree.nodes >= looked + PATIENCE and not stubborn:
            stalled = tree.cutoff - tree.bound > WORTH * open_then
            looked, open_then = tree.nodes, tree.cutoff - tree.bound
        if tree.nodes % 64 < 4:
            run.report("branches", tree.nodes, state.objective, state.bound)
    state.bound = max(state.bound, tree.bound)
    state.objective = pricing.objective
    if not tree.nodes:
        return
    run.report("branches", tree.nodes, state.objective, state.bound)
    if tree.closed:
        attempts.append(f"branch and bound: closed after {tree.nodes} nodes over {options.server.size} options")
    else:
        why = "it closes too slowly; method 'prove' goes on" if stalled else "time was up"
        attempts.append(
            f"branch and bound: stopped after {tree.nodes} nodes over {options.server.size} options with {tree.open} "
            f"open: {why}"
        )
        run.check_time()


def _take_found(pricing: SplitPricing, found: list[tuple[IntArray, IntArray]], tree: Tree, run: Run) -> None:
    """Settle the assignments that nodes suggested; promising ones are searched around."""
    for server, cut in found:
        settled = pricing.offer(server, cut)
        if settled is None:
            continue
        near = settled.cost <= tree.objective + 2.0 * max(tree.objective - tree.bound, 0.0)
        if (near and tree.nodes <= 40) or settled.cost < tree.objective:
            moved = make_state(pricing.data, server, cut)
            search(pricing.data, moved, least=1e-13 * abs(settled.cost), out_of_time=lambda: run.seconds_left <= 0.0)
            pricing.offer(moved.server, moved.cut)
        tree.objective = min(tree.objective, pricing.best[0].cost)
