"""Neighbours of a pipeline of groups: what a search by chance changes in one step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = ["Draft", "Neighbours"]

Groups = list[tuple[int, ...]]


@dataclass(frozen=True)
class Draft:
    """A pipeline that is not complete.

    Attributes
    ----------
    stages : list of groups
    layers : tuple of int or None
        None: to be found for the groups.
    shares : list
        Samples of the members of every group; None: to be found.
    """

    stages: Groups
    layers: tuple[int, ...] | None
    shares: list[tuple[int, ...] | None]


class Neighbours:
    """Draws neighbours of pipelines.

    Parameters
    ----------
    numbers : Random
    devices : list of int
        Those that may take part.
    room : int
        Most devices in a group.
    layers : int
    """

    def __init__(self, numbers: Random, devices: list[int], room: int, layers: int) -> None:
        self.numbers, self.devices, self.room, self.layers = numbers, devices, room, layers
        moves = _GROUPED if room > 1 else _ALONE
        self._moves, self._sums = list(moves), list(itertools.accumulate(moves.values()))

    def draw(self, now: Draft) -> Draft | None:
        """A random neighbour of a complete pipeline; None if the move that was drawn is not possible."""
        return self.numbers.choices(self._moves, cum_weights=self._sums)[0](self, now)

    def _unused(self, now: Draft) -> list[int]:
        return [i for i in self.devices if all(i not in group for group in now.stages)]

    # ---- layers ------------------------------------------------------------------------------------------------------

    def _layers_shifted(self, now: Draft) -> Draft | None:
        """One or two layers from any stage to any other."""
        count = len(now.stages)
        assert now.layers is not None
        if count < 2:
            return None
        p, q = self.numbers.sample(range(count), 2)
        if self.numbers.random() < 0.5:
            q = p + 1 if p + 1 < count else p - 1
        some = 1 if self.numbers.random() < 0.8 else 2
        if now.layers[p] <= some:
            return None
        new = list(now.layers)
        new[p] -= some
        new[q] += some
        return Draft(now.stages, tuple(new), now.shares)

    # ---- groups ------------------------------------------------------------------------------------------------------

    def _changed(self, now: Draft, groups: dict[int, tuple[int, ...]]) -> Draft:
        """With other groups in some places; stages that are left empty go, and then layers are found anew."""
        stages, shares = list(now.stages), list(now.shares)
        for p, group in groups.items():
            stages[p], shares[p] = group, None
        keep = [p for p, group in enumerate(stages) if group]
        same = len(keep) == len(stages) and self.numbers.random() < 0.5
        return Draft([stages[p] for p in keep], now.layers if same else None, [shares[p] for p in keep])

    @staticmethod
    def _without(group: tuple[int, ...], i: int) -> tuple[int, ...]:
        return tuple(k for k in group if k != i)

    def _swapped(self, now: Draft) -> Draft | None:
        """A device changes places with one of another stage."""
        if len(now.stages) < 2:
            return None
        p, q = self.numbers.sample(range(len(now.stages)), 2)
        i, j = self.numbers.choice(now.stages[p]), self.numbers.choice(now.stages[q])
        return self._changed(now, {p: (*self._without(now.stages[p], i), j), q: (*self._without(now.stages[q], j), i)})

    def _replaced(self, now: Draft) -> Draft | None:
        """One that is not used takes a place."""
        unused = self._unused(now)
        if not unused:
            return None
        p = self.numbers.randrange(len(now.stages))
        i = self.numbers.choice(now.stages[p])
        return self._changed(now, {p: (*self._without(now.stages[p], i), self.numbers.choice(unused))})

    def _moved(self, now: Draft) -> Draft | None:
        """A device joins another group."""
        if len(now.stages) < 2:
            return None
        p, q = self.numbers.sample(range(len(now.stages)), 2)
        if len(now.stages[q]) >= self.room:
            return None
        i = self.numbers.choice(now.stages[p])
        return self._changed(now, {p: self._without(now.stages[p], i), q: (*now.stages[q], i)})

    def _joined(self, now: Draft) -> Draft | None:
        """One that is not used joins a group."""
        unused = self._unused(now)
        q = self.numbers.randrange(len(now.stages))
        if not unused or len(now.stages[q]) >= self.room:
            return None
        return self._changed(now, {q: (*now.stages[q], self.numbers.choice(unused))})

    def _dropped(self, now: Draft) -> Draft | None:
        """A device is left out."""
        p = self.numbers.randrange(len(now.stages))
        if len(now.stages) == 1 and len(now.stages[p]) == 1:
            return None
        return self._changed(now, {p: self._without(now.stages[p], self.numbers.choice(now.stages[p]))})

    def _founded(self, now: Draft) -> Draft | None:
        """A device becomes a stage of its own."""
        unused = self._unused(now)
        if len(now.stages) >= self.layers:
            return None
        stages, shares = list(now.stages), list(now.shares)
        if unused and (self.room == 1 or self.numbers.random() < 0.5):
            i = self.numbers.choice(unused)
        else:
            p = self.numbers.randrange(len(stages))
            i = self.numbers.choice(stages[p])
            if len(stages[p]) == 1:
                return None
            stages[p], shares[p] = self._without(stages[p], i), None
        at = self.numbers.randint(0, len(stages))
        return Draft([*stages[:at], (i,), *stages[at:]], None, [*shares[:at], None, *shares[at:]])

    def _split(self, now: Draft) -> Draft | None:
        """A group becomes two stages."""
        p = self.numbers.randrange(len(now.stages))
        if len(now.stages[p]) < 2 or len(now.stages) >= self.layers:
            return None
        members = list(now.stages[p])
        self.numbers.shuffle(members)
        cut = self.numbers.randint(1, len(members) - 1)
        halves = [tuple(members[:cut]), tuple(members[cut:])]
        return Draft([*now.stages[:p], *halves, *now.stages[p + 1:]], None,
                     [*now.shares[:p], None, None, *now.shares[p + 1:]])

    def _merged(self, now: Draft) -> Draft | None:
        """Two stages become one."""
        if len(now.stages) < 2:
            return None
        p, q = self.numbers.sample(range(len(now.stages)), 2)
        if len(now.stages[p]) + len(now.stages[q]) > self.room:
            return None
        return self._changed(now, {p: (*now.stages[p], *now.stages[q]), q: ()})

    # ---- order of stages ---------------------------------------------------------------------------------------------

    def _reordered(self, now: Draft) -> Draft | None:
        """Two stages swapped, one moved, or some turned round."""
        count = len(now.stages)
        if count < 2:
            return None
        order = list(range(count))
        p, q = self.numbers.sample(order, 2)
        kind = self.numbers.randrange(3)
        if kind == 0:
            order[p], order[q] = q, p
        elif kind == 1:
            order.insert(q, order.pop(p))
        else:
            p, q = min(p, q), max(p, q)
            order[p: q + 1] = order[p: q + 1][::-1]
        assert now.layers is not None
        counts = tuple(now.layers[k] for k in order) if self.numbers.random() < 0.5 else None
        return Draft([now.stages[k] for k in order], counts, [now.shares[k] for k in order])

    # ---- inside groups -----------------------------------------------------------------------------------------------

    def _shares_shifted(self, now: Draft) -> Draft | None:
        """A sample from one member of a group to another, or two members change places in the ring."""
        p = self.numbers.randrange(len(now.stages))
        group, shares = now.stages[p], now.shares[p]
        if len(group) < 2 or shares is None:
            return None
        a, b = self.numbers.sample(range(len(group)), 2)
        if self.numbers.random() < 0.5:
            if shares[a] < 2:
                return None
            new = list(shares)
            new[a] -= 1
            new[b] += 1
            return Draft(now.stages, now.layers, [*now.shares[:p], tuple(new), *now.shares[p + 1:]])
        order = list(range(len(group)))
        order[a], order[b] = b, a
        return Draft([*now.stages[:p], tuple(group[k] for k in order), *now.stages[p + 1:]], now.layers,
                     [*now.shares[:p], tuple(shares[k] for k in order), *now.shares[p + 1:]])


Move = Callable[[Neighbours, Draft], "Draft | None"]

#: Moves with how often they are drawn: with groups, and without.
_GROUPED: Final[dict[Move, int]] = {
    Neighbours._layers_shifted: 20, Neighbours._swapped: 20, Neighbours._replaced: 8, Neighbours._moved: 16,
    Neighbours._joined: 6, Neighbours._dropped: 4, Neighbours._founded: 8, Neighbours._split: 5,
    Neighbours._merged: 5, Neighbours._reordered: 10, Neighbours._shares_shifted: 6,
}
_ALONE: Final[dict[Move, int]] = {
    Neighbours._layers_shifted: 30, Neighbours._swapped: 25, Neighbours._replaced: 12, Neighbours._dropped: 6,
    Neighbours._founded: 12, Neighbours._reordered: 15,
}
