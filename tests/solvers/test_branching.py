"""Branch and bound on problems without phones and servers: knapsacks and integer quadratics, against brute force."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from edgealloc.solvers.branching import ROUND, Tree, Worked

FloatArray = npt.NDArray[np.float64]
Fixed = tuple[int | None, ...]
Box = tuple[tuple[int, int], ...]


@dataclass
class Knapsack:
    """Least -value within a weight; a node fixes items, its bound is the linear relaxation."""

    value: FloatArray
    weight: FloatArray
    room: float
    worked: list[Fixed] = field(default_factory=list)

    @classmethod
    def random(cls, seed: int, items: int = 11) -> Knapsack:
        rng = np.random.default_rng(seed)
        weight = rng.integers(5, 40, items).astype(float)
        return cls(weight + rng.integers(-3, 4, items), weight, math.floor(0.5 * weight.sum()))

    def brute_force(self) -> float:
        every = np.array(list(itertools.product((0, 1), repeat=self.value.size)))
        fits = every @ self.weight <= self.room
        return float(-(every[fits] @ self.value).max())

    def work(self, node: Fixed, cutoff: float) -> Worked:
        self.worked.append(node)
        taken = [i for i, fixed in enumerate(node) if fixed == 1]
        room = self.room - float(self.weight[taken].sum())
        if room < 0.0:
            return Worked(math.inf)
        whole = total = float(self.value[taken].sum())
        split = None
        for i in sorted((i for i, fixed in enumerate(node) if fixed is None),
                        key=lambda i: -self.value[i] / self.weight[i]):
            share = min(1.0, room / self.weight[i])
            if share < 1.0 and split is None:
                split = i
            total += share * self.value[i]
            if share == 1.0:
                whole += float(self.value[i])
            room -= share * self.weight[i]
        if split is None:
            return Worked(-total, (), -total)
        if -total >= cutoff:
            return Worked(-total)
        sides = tuple((*node[:split], side, *node[split + 1:]) for side in (1, 0))
        return Worked(-total, sides, -whole)

    def tree(self, gap: float = 0.0) -> Tree:
        return Tree((None,) * self.value.size, -float(self.value.sum()), math.inf, gap)


@dataclass(frozen=True)
class Quadratic:
    """Least x'Qx + c'x over whole x in a box; a node is a box, its bound by the smallest eigenvalue."""

    q: FloatArray
    c: FloatArray

    @classmethod
    def random(cls, seed: int, size: int = 3) -> Quadratic:
        rng = np.random.default_rng([seed, 1])
        root = rng.normal(size=(size, size))
        return cls(root @ root.T + 0.2 * np.eye(size), rng.normal(0.0, 8.0, size))

    def at(self, x: FloatArray) -> float:
        return float(x @ self.q @ x + self.c @ x)

    def brute_force(self, box: Box) -> float:
        return min(self.at(np.array(x, dtype=float)) for x in itertools.product(*(range(a, b + 1) for a, b in box)))

    def work(self, node: Box, _: float) -> Worked:
        # x'Qx >= e |x|^2, which falls apart into single variables
        low, high = np.array(node, dtype=float).T
        least = float(np.linalg.eigvalsh(self.q)[0])
        best = np.clip(-self.c / (2.0 * least), low, high)
        bound = float((least * best**2 + self.c * best).sum())
        if (low == high).all():
            return Worked(self.at(low), (), self.at(low))
        here = self.at(np.clip(np.round(best), low, high))
        i = int(np.argmax(high - low))
        a, b = node[i]
        middle = (a + b) // 2
        sides = ((*node[:i], part, *node[i + 1:]) for part in ((a, middle), (middle + 1, b)))
        return Worked(bound, tuple(sides), here)


BOX: Box = ((-4, 4), (-4, 4), (-4, 4))


def close(
    tree: Tree, problem: Knapsack | Quadratic, threads: int = 1, optimum: float | None = None, *, rises: bool = True
) -> Tree:
    """Work until nothing of interest is left; the bound rises, the objective falls, and the optimum is between."""
    while not tree.closed:
        bound, objective = tree.bound, tree.objective
        tree.round(problem.work, threads)
        assert not rises or tree.bound >= bound
        assert tree.objective <= objective
        if optimum is not None:
            assert tree.bound <= optimum + 1e-9 <= tree.objective + 2e-9
    return tree


@pytest.mark.parametrize("seed", range(10))
def test_knapsack_by_brute_force(seed: int) -> None:
    problem = Knapsack.random(seed)
    optimum = problem.brute_force()
    tree = close(problem.tree(), problem, optimum=optimum)
    assert tree.objective == pytest.approx(optimum, abs=1e-9)
    assert tree.bound == pytest.approx(optimum, abs=1e-9)
    assert tree.nodes == len(problem.worked)
    assert tree.nodes < 2 ** problem.value.size


@pytest.mark.parametrize("seed", range(6))
def test_integer_quadratic_by_brute_force(seed: int) -> None:
    problem = Quadratic.random(seed)
    optimum = problem.brute_force(BOX)
    tree = close(Tree(BOX, -1e6, math.inf, 0.0), problem, optimum=optimum)
    assert tree.objective == pytest.approx(optimum, abs=1e-9)
    assert tree.bound == pytest.approx(optimum, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_threads_change_nothing(seed: int) -> None:
    """Objective, bound and number of nodes are the same for one thread, two and five, round by round."""
    steps = []
    for threads in (1, 2, 5):
        problem = Quadratic.random(seed)
        tree = Tree(BOX, -1e6, math.inf, 0.0)
        seen = []
        while not tree.closed:
            tree.round(problem.work, threads)
            seen.append((tree.objective, tree.bound, tree.nodes, tree.open))
        steps.append(seen)
    assert steps[0] == steps[1] == steps[2]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_exception_puts_the_nodes_back(threads: int, error: type[BaseException]) -> None:
    """Ctrl-C in the middle of a round loses no node: the bound stays valid, and going on ends at the optimum."""
    problem = Knapsack.random(2)
    optimum = problem.brute_force()
    tree = problem.tree()
    calls = 0

    def work(node: Fixed, cutoff: float) -> Worked:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise error
        return problem.work(node, cutoff)

    hit = 0
    while not tree.closed and hit < 30:
        before = (tree.open, tree.nodes, tree.bound, tree.objective)
        try:
            tree.round(work, threads)
        except error:
            hit += 1
            assert (tree.open, tree.nodes, tree.bound, tree.objective) == before
            assert tree.bound <= optimum + 1e-9
    assert hit > 0
    close(tree, problem, threads, optimum)
    assert tree.objective == pytest.approx(optimum, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("gap", [0.2, 0.02, 1e-3])
def test_a_gap_is_kept_and_saves_work(seed: int, gap: float) -> None:
    """With a relative gap: the objective is within it of the bound, both of the optimum, and no node more is worked."""
    problem = Knapsack.random(seed, 14)
    optimum = problem.brute_force()
    # a better solution lowers the cutoff, and the bound with it: callers keep the highest that they saw
    tree = close(problem.tree(gap), problem, optimum=optimum, rises=False)
    assert tree.objective - tree.bound <= gap * abs(tree.objective) * (1.0 + 1e-12)
    assert tree.bound <= optimum + 1e-9
    assert tree.objective <= optimum + gap * abs(tree.objective) + 1e-9
    whole = close(problem.tree(), problem)
    assert tree.nodes <= whole.nodes


def test_cutoff_and_bound() -> None:
    """The cutoff is the objective less the gap; a solution from elsewhere closes nodes, and never lowers the bound."""
    seen = []
    tree = Tree("root", 90.0, math.inf, 0.05)
    for objective in (math.inf, 100.0, 94.0):
        tree.objective = objective
        seen.append((tree.closed, tree.bound, tree.open, tree.nodes))
    assert tree.cutoff == pytest.approx(89.3)
    assert seen == [(False, 90.0, 1, 0), (False, 90.0, 1, 0), (True, 90.0, 1, 0)]
    assert Tree("root", 90.0, math.inf, 0.05).cutoff == math.inf


def test_a_child_is_never_below_its_parent() -> None:
    """A weaker bound of a child does not lower what is known."""
    tree = Tree(0, 1.0, 10.0, 0.0)
    tree.round(lambda *_: Worked(5.0, (1, 2)), 1)
    assert tree.bound == 5.0
    tree.round(lambda node, _: Worked(2.0, (3,) if node == 1 else ()), 1)
    assert tree.bound == 5.0
    assert tree.open == 1


def test_what_a_node_drops_counts() -> None:
    """A node may leave out what costs the cutoff or more: the bound then ends at the cutoff, not at the objective."""
    tree = Tree("root", 50.0, 100.0, 0.05)
    tree.round(lambda *_: Worked(60.0, ("child",)), 1)  # a solution of cost 96 was left out
    tree.round(lambda *_: Worked(math.inf), 1)
    assert tree.closed
    assert tree.bound == pytest.approx(95.0)


def test_an_infeasible_tree_ends_without_a_solution() -> None:
    """Nodes without solutions: nothing is found, and the bound is endless."""
    tree = Tree(0, 0.0, math.inf, 0.0)
    while not tree.closed:
        tree.round(lambda node, _: Worked(1.0, (node + 1,)) if node < 3 else Worked(math.inf), 1)
    assert tree.objective == math.inf
    assert tree.bound == math.inf


def test_a_round_takes_the_lowest_nodes() -> None:
    """Best first: of many nodes, a round works the few of lowest bound, in order."""
    tree = Tree(-1, 0.0, 1e9, 0.0)
    tree.round(lambda *_: Worked(0.5, (6, 4, 8, 2, 7, 3, 9, 5)), 1)
    tree.round(lambda node, _: Worked(float(node), (node,)), 1)
    tree.round(lambda node, _: Worked(float(node), (node,)), 1)  # all at their own bounds now
    order: list[int] = []

    def work(node: int, _: float) -> Worked:
        order.append(node)
        return Worked(1e8)

    tree.round(work, 1)
    assert order == [2, 3, 4, 5]
    assert len(order) == ROUND
    assert tree.bound == 6.0
