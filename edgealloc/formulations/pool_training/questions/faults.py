r"""What happens when a device drops out: the plan without it, what must be moved, and what faults cost on average.

The model of the average, exact as stated and of first order in the probabilities: an iteration is tried with the whole
pool. With probability :math:`q_i` device i is lost in it, with :math:`Q = \sum_i q_i < 1` at most one. Then the
iteration is lost in whole, recovery takes :math:`A_i`; if the device held states that nobody else has, the iterations
since the last backup are done again at :math:`T_i`, the time of an iteration without it. The outage lasts :math:`U`
more, in which the pool trains by the plan without the device (or waits, where there is none), and going back takes
:math:`B_i`. A backup after every R iterations of the whole pool takes :math:`\delta`. The iterations since the last
one are 0 to R - 1, each as likely, so that an iteration that counts takes on average

.. math::

    C(R) = \frac{T + (1 - Q)\,\delta / R + \sum_i q_i \left(A_i + m_i \frac{R - 1}{2} T_i + U + B_i\right)}
                {1 - Q + \sum_i q_i U / T_i},

with :math:`m_i = 1` where states are lost and 0 elsewhere, and no :math:`U/T_i` where the pool waits; the same with
joules. What no backup holds starts anew: R is then the number of iterations of the whole training. The best interval is
Young's: :math:`R^\star = \sqrt{2 (1 - Q)\,\delta / \sum_i q_i m_i T_i}` (Young 1974; Daly 2006 refines it for
intervals near the mean time between faults, which cannot happen here), rounded to the better neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.figures import COLOURS, new_figure, place_legend, style_axes
from edgealloc.core.tables import text_table
from edgealloc.formulations.pool_training.plan import Plan, PoolCosts
from edgealloc.formulations.pool_training.questions.recovery import Moves
from edgealloc.formulations.pool_training.views import plan_words
from edgealloc.units import format_count, format_si

if TYPE_CHECKING:
    import pandas as pd

    from edgealloc.formulations.pool_training.problem import PoolTraining

__all__ = ["Backup", "FaultReport", "Loss"]

FloatArray = npt.NDArray[np.float64]

#: Characters of a plan in the text.
PLAN_SHOWN: Final = 60


@dataclass(frozen=True, eq=False)
class Backup:
    """Copies of what only one device holds.

    Attributes
    ----------
    kind : str
        "replica" (in the memory of other devices of the pool), "storage" (on one device's disk) or "none".
    keepers : mapping
        Device -> the one that keeps its copy; devices that hold nothing alone are not in it.
    unprotected : tuple of int
        Devices whose states are nowhere else: no other device has room, or there is no backup.
    every : int
        Iterations from one backup to the next.
    best_every : int
        The interval of least expected objective; `iterations` where no fault costs a rollback.
    seconds, joules : float
        Of one backup, sent between two iterations.
    kept_bytes : (D,)
        Copies on every device.
    """

    kind: str
    keepers: Mapping[int, int]
    unprotected: tuple[int, ...]
    every: int
    best_every: int
    seconds: float
    joules: float
    kept_bytes: FloatArray


@dataclass(frozen=True, eq=False)
class Loss:
    """What the loss of one device leads to.

    Attributes
    ----------
    device : int
    probability : float
        Of dropping out in an iteration.
    plan : Plan or None
        Of the others, in the numbers of the whole pool; None where none was found.
    costs : PoolCosts or None
        Of an iteration under it; arrays have the entries of the whole pool's devices that are left.
    bound : float or None
        Proven lower bound on the objective of the others.
    proven : bool
        Without a plan: it is proven that there is none.
    moves, back : Moves
        What is sent before the others can go on, and when the device is there again.
    recovery_s, recovery_j, back_s, back_j : float
        Time of the transfers, and their energy with that of the waiting participants.
    rolls_back : bool
        States are gone that nobody else has, or nobody who is still reached.
    why : str
        Without a plan: what is missing.
    """

    device: int
    probability: float
    plan: Plan | None
    costs: PoolCosts | None
    bound: float | None
    proven: bool
    moves: Moves
    back: Moves
    recovery_s: float
    recovery_j: float
    back_s: float
    back_j: float
    rolls_back: bool
    why: str = ""

    @property
    def starts_anew(self) -> bool:
        """Something is gone for good, and the training with it."""
        return self.moves.unsaved_bytes > 0.0 or self.back.unsaved_bytes > 0.0


@dataclass(frozen=True, eq=False)
class FaultReport:
    """A plan, and what the loss of each device it depends on would mean.

    Attributes
    ----------
    problem : PoolTraining
    plan : Plan
    costs : PoolCosts
    losses : tuple of Loss
        One for every participant, and for every device that only passes traffic of the plan on.
    backup : Backup
    iterations : int
        Of the whole training: what is lost, half of it on average, where states are gone for good.
    outage_s : float
        How long a lost device stays away.
    waiting_w : float
        Idle power of the participants.
    interrupted : bool
        Ctrl-C ended it early; losses are missing.
    """

    problem: PoolTraining
    plan: Plan
    costs: PoolCosts
    losses: tuple[Loss, ...]
    backup: Backup
    iterations: int
    outage_s: float
    waiting_w: float
    interrupted: bool

    # ---- averages -------------------------------------------------------------------------------------------------

    def expected(self, every: int | None = None) -> tuple[float, float]:
        """Mean time (s) and energy (J) of an iteration that counts, by the formula of this module.

        Parameters
        ----------
        every : int, optional
            Iterations between two backups; that of the report by default.
        """
        interval = self.backup.every if every is None else every
        return self._mean(interval, False), self._mean(interval, True)

    def _mean(self, every: int, energy: bool) -> float:
        if self.interrupted:
            return math.nan
        chance = sum(loss.probability for loss in self.losses)
        protected = bool(self.backup.keepers)
        delta = (self.backup.joules if energy else self.backup.seconds) if protected else 0.0
        spent = (self.costs.energy_j if energy else self.costs.time_s) + (1.0 - chance) * delta / every
        counted = 1.0 - chance
        for loss in self.losses:
            costs = self.costs if loss.costs is None else loss.costs
            again = (self.iterations if loss.starts_anew else every) - 1
            amount = loss.recovery_j + loss.back_j if energy else loss.recovery_s + loss.back_s
            if loss.rolls_back:
                amount += again / 2.0 * (costs.energy_j if energy else costs.time_s)
            meanwhile = 0.0 if loss.costs is None or not loss.costs.time_s else self.outage_s / loss.costs.time_s
            if energy:
                amount += meanwhile * costs.energy_j if loss.costs is not None else self.outage_s * self.waiting_w
            else:
                amount += self.outage_s
            spent += loss.probability * amount
            counted += loss.probability * meanwhile
        return spent / counted

    @property
    def expected_time_s(self) -> float:
        """Mean time of an iteration that counts."""
        return self.expected()[0]

    @property
    def expected_energy_j(self) -> float:
        """Mean energy of an iteration that counts."""
        return self.expected()[1]

    def expected_objective(self, every: int | None = None) -> float:
        """Mean objective of an iteration that counts.

        Parameters
        ----------
        every : int, optional
            Iterations between two backups; that of the report by default.
        """
        seconds, joules = self.expected(every)
        return self.problem.per_second * seconds + self.problem.per_joule * joules

    # ---- tables ---------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """One row per lost device, SI units in the column names; nan where there is no plan without it."""
        import pandas as pd

        rows = []
        for loss in self.losses:
            costs = loss.costs
            rows.append({
                "device": loss.device, "device_name": self.problem.device_names[loss.device],
                "participant": loss.device in self.plan.devices, "failure_probability": loss.probability,
                "plan_without": "" if loss.plan is None else plan_words(self.problem, loss.plan),
                "time_s": math.nan if costs is None else costs.time_s,
                "energy_j": math.nan if costs is None else costs.energy_j,
                "objective": math.nan if costs is None else costs.objective,
                "bound": math.nan if loss.bound is None else loss.bound,
                "slowdown": math.nan if costs is None else costs.time_s / self.costs.time_s,
                "moved_bytes": loss.moves.moved_bytes, "from_backup_bytes": loss.moves.from_backup_bytes,
                "unsaved_bytes": loss.moves.unsaved_bytes, "rolls_back": loss.rolls_back,
                "recovery_s": loss.recovery_s, "recovery_j": loss.recovery_j,
                "return_s": loss.back_s, "return_j": loss.back_j, "message": loss.why,
            })
        return pd.DataFrame(rows)

    def text(self) -> str:
        """A page that a person can read."""
        lines = [f"plan         {plan_words(self.problem, self.plan)}",
                 f"             {format_si(self.costs.time_s, 's')} and {format_si(self.costs.energy_j, 'J')} an "
                 "iteration while nothing fails", ""]
        header = ["without", "time", "energy", "to move", "recovery", "the others then train by"]
        rows, remarks = [], []
        for loss in self.losses:
            name = str(self.problem.device_names[loss.device])
            costs = loss.costs
            words = "no plan" if loss.plan is None else plan_words(self.problem, loss.plan)
            words = words if len(words) <= PLAN_SHOWN else words[: PLAN_SHOWN - 3] + "..."
            rows.append([name, "-" if costs is None else format_si(costs.time_s, "s"),
                         "-" if costs is None else format_si(costs.energy_j, "J"),
                         format_si(loss.moves.moved_bytes, "B"), format_si(loss.recovery_s, "s"), words])
            if loss.plan is None:
                known = "cannot be trained without it" if loss.proven else "no plan was found without it"
                remarks.append(f"{name}: {known}{f': {loss.why}' if loss.why else ''}")
        lines += text_table(header, rows).splitlines()
        lines += [f"  {remark}" for remark in remarks]
        return "\n".join([*lines, "", *self._backup_lines(), *self._mean_lines()])

    def _backup_lines(self) -> list[str]:
        backup, names = self.backup, self.problem.device_names
        if not any(loss.rolls_back for loss in self.losses):
            return ["backup       not needed: everything is on several devices"]
        lines = []
        if backup.keepers:
            pairs = ", ".join(f"{names[i]} on {names[k]}" for i, k in sorted(backup.keepers.items()))
            pairs = pairs if len(pairs) <= 100 else f"of {len(backup.keepers)} devices"
            what = "copies" if backup.kind == "replica" else "snapshots"
            lines.append(f"backup       {what} {pairs}, every {format_count(backup.every, 'iteration')}: "
                         f"{format_si(float(backup.kept_bytes.sum()), 'B')}, {format_si(backup.seconds, 's')} and "
                         f"{format_si(backup.joules, 'J')} each time")
            if backup.best_every != backup.every:
                lines.append(f"             best would be every {format_count(backup.best_every, 'iteration')}")
        anew = [str(self.problem.device_names[loss.device]) for loss in self.losses if loss.starts_anew]
        if anew:
            lines.append(f"no backup    survives the loss of {', '.join(anew)}: the training starts anew")
        return lines

    def _mean_lines(self) -> list[str]:
        if self.interrupted:
            return ["interrupted: losses are missing, so there is no mean"]
        chance = sum(loss.probability for loss in self.losses)
        if not chance:
            return ["mean         failure_probability is 0 everywhere: faults cost nothing on average"]
        seconds, joules = self.expected()
        more = 100.0 * (seconds / self.costs.time_s - 1.0)
        return [f"mean         {format_si(seconds, 's')} ({more:+.2g} %) and {format_si(joules, 'J')} an iteration "
                f"with faults; in {100.0 * chance:.3g} % of them a device is lost, and is away for "
                f"{format_si(self.outage_s, 's')}"]

    def __str__(self) -> str:
        return self.text()

    # ---- picture --------------------------------------------------------------------------------------------------

    def plot(self, ax: Any = None) -> Any:
        """Time of an iteration after each loss and, beside it, time to move states; the matplotlib figure.

        On axes that are given only the iterations are drawn.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Where to draw; axes of a new figure by default.
        """
        count = len(self.losses)
        if ax is None:
            height = float(np.clip(1.5 + 0.32 * count, 2.6, 13.0))
            figure, (left, right) = new_figure(1, 2, width=9.5, height=height, sharey=True, width_ratios=(3, 2))
        else:
            figure, left, right = ax.figure, ax, None
        rows = np.arange(count)
        after = np.array([0.0 if loss.costs is None else loss.costs.time_s for loss in self.losses])
        scale, unit = _unit(max(self.costs.time_s, float(after.max(initial=0.0))))
        left.barh(rows, after * scale, height=0.6, color=COLOURS[0], label="without the device")
        left.axvline(self.costs.time_s * scale, color="black", linestyle="--", linewidth=1.3, label="with all")
        for row, loss in enumerate(self.losses):
            if loss.costs is None:
                text = "no plan without it" if loss.proven else "no plan found without it"
                left.text(0.02, row, text, transform=left.get_yaxis_transform(), va="center", fontsize=8.5,
                          color=COLOURS[3], bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.85})
        style_axes(left, "After the loss of one device", f"time of an iteration [{unit}]", "", grid="x")
        left.set_xlim(0.0, 1.06 * scale * max(self.costs.time_s, float(after.max(initial=0.0))))
        left.set_ylim(count - 0.4, -0.6)
        left.set_yticks(rows, [str(self.problem.device_names[loss.device]) for loss in self.losses],
                        fontsize=7.0 if count > 30 else 9.0)
        left.tick_params(axis="y", length=0.0)
        if right is None:
            place_legend(left)
            return figure
        recovery = np.array([loss.recovery_s for loss in self.losses])
        back = np.array([loss.back_s for loss in self.losses])
        longest = float(np.concatenate([recovery, back]).max(initial=0.0))
        scale, unit = _unit(longest)
        right.barh(rows - 0.16, recovery * scale, height=0.3, color=COLOURS[1], label="to go on")
        right.barh(rows + 0.16, back * scale, height=0.3, color=COLOURS[5], label="when it is back")
        style_axes(right, "Moving states", f"time [{unit}]", "", grid="x")
        right.set_xlim(0.0, 1.06 * longest * scale or 1.0)
        right.tick_params(axis="y", length=0.0)
        below = -0.55 / (figure.get_figheight() - 1.0)
        place_legend(left, "below", bbox_to_anchor=(0.5, below))
        place_legend(right, "below", bbox_to_anchor=(0.5, below))
        return figure


def _unit(seconds: float) -> tuple[float, str]:
    """Factor and unit of a time axis."""
    return (1.0 / 60.0, "min") if seconds >= 300.0 else (1.0, "s") if seconds >= 0.5 else (1e3, "ms")
