"""Whole units of work shared out between the devices of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["best_shares", "equal_shares", "share_options"]

FloatArray = npt.NDArray[np.float64]


def equal_shares(total: int, members: int) -> tuple[int, ...]:
    """As equal as whole numbers can be, the larger ones first."""
    return tuple(total // members + (k < total % members) for k in range(members))


def share_options(
    total: int, seconds: Sequence[float], joules: Sequence[float], caps: Sequence[int]
) -> Iterator[tuple[float, float, tuple[int, ...]]]:
    r"""All (time, energy) trade-offs of sharing `total` units, from the fastest to the most frugal.

    For every possible time :math:`t = k \tau_i` each member can do :math:`\min(\mathrm{cap}_i, \lfloor t/\tau_i
    \rfloor)` units; everybody gets one, and the rest goes to the cheapest ones first, which is optimal because cost is
    linear and the limits are boxes.

    Parameters
    ----------
    total : int
    seconds, joules : (g,)
        Time and energy of one unit on every member.
    caps : (g,)
        Most units of every member.

    Yields
    ------
    time, energy, shares
        Times rise and energies fall strictly; nothing where there is no way to share.
    """
    members = len(seconds)
    if members > total or min(caps, default=0) < 1 or sum(caps) < total:
        return
    order = sorted(range(members), key=lambda i: (joules[i], seconds[i], i))
    least = max(seconds)
    times = sorted({k * seconds[i] for i in range(members) for k in range(1, min(caps[i], total) + 1)})
    cheapest = float("inf")
    for time in times:
        if time < least:
            continue
        # the division may round k tau / tau down below k
        room = [min(caps[i], int(time / seconds[i] * (1.0 + 1e-12))) for i in range(members)]
        if sum(room) < total:
            continue
        shares, left = [1] * members, total - members
        for i in order:
            more = min(left, room[i] - 1)
            shares[i] += more
            left -= more
        energy = sum(share * joule for share, joule in zip(shares, joules, strict=True))
        if energy < cheapest:
            cheapest = energy
            longest = max(share * second for share, second in zip(shares, seconds, strict=True))
            yield longest, energy, tuple(shares)


def best_shares(
    total: int,
    seconds: Sequence[float],
    caps: Sequence[int],
    joules: Sequence[float] | None = None,
    per_second: float = 1.0,
    per_joule: float = 0.0,
) -> tuple[int, ...] | None:
    """Shares with the smallest ``per_second x longest time + per_joule x energy``; None if nothing fits.

    Every member gets at least one unit. Ties go to the faster way.

    Examples
    --------
    >>> best_shares(6, [1.0, 2.0], [6, 6])
    (4, 2)
    """
    options = share_options(total, seconds, joules or [0.0] * len(seconds), caps)
    best = min(options, key=lambda option: (per_second * option[0] + per_joule * option[1], option[0]), default=None)
    return None if best is None else best[2]
