"""Method "certified": the engine of choices, with devices as agents; limits of servers and of the fleet as capacities.

`solvers.choices` says what is done for given levels of the servers' loads (`levels`); its bounds hold for every rollout
that keeps the limits to the tolerance with which answers are checked. Rounds draw the levels anew around the loads of
the answer until the gap is proven, time is over, or two rounds in a row gain next to nothing; what small problems then
leave open is left to HiGHS (`tangents`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from edgealloc.core.method import Outcome
from edgealloc.core.problem import FEASIBILITY_TOLERANCE
from edgealloc.core.run import Progress, Run
from edgealloc.core.status import Termination
from edgealloc.formulations.deployment.agents import DeviceChoices
from edgealloc.formulations.deployment.feasibility import shortage
from edgealloc.formulations.deployment.levels import Levels
from edgealloc.formulations.deployment.rollout import Rollout
from edgealloc.formulations.deployment.tangents import solve_tangents
from edgealloc.formulations.deployment.wide import MOST_OPTIONS, run_wide
from edgealloc.solvers.choices import Choices, ChoicesAnswer, solve_choices, warm_up
from edgealloc.solvers.choices.certified import leave_out
from edgealloc.solvers.choices.part import whole_part
from edgealloc.solvers.choices.state import Judge
from edgealloc.solvers.pricing import relative_gap

if TYPE_CHECKING:
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = ["Rounds", "certify", "outcome", "run"]

IntArray = npt.NDArray[np.int64]
#: Solves choices: (problem, options of the run, who looks at what fits, choice to begin with, whether HiGHS may help).
Engine = Callable[[Choices, Run, Judge, IntArray | None, bool], ChoicesAnswer]

#: Of the gap asked for, what the engine must reach for given levels; the rest is for what lies between levels.
_SHARE: Final = 0.5
#: The first levels are coarse, and so is the gap asked for with them.
_COARSE: Final = 3e-3
_MOST_ROUNDS: Final = 40
#: A gap with which any choice that fits will do.
_ANY: Final = 1e12
#: HiGHS is asked about problems of up to so many options.
_HIGHS: Final = 60_000
#: Of the gap asked for, what options that are left out may lack.
_LEFT: Final = 0.9
#: Of the time that is left, what a round of a small problem may take.
_PATIENCE: Final = 0.1
#: Rounds that close less than this share of what is open have gained nothing.
_GAIN: Final = 0.05


def run(problem: Deployment, run: Run) -> Outcome:
    """The best rollout to within the gap, with a proof. Time limit and Ctrl-C return the best so far."""
    warm_up(run)
    devices = DeviceChoices(problem)
    if devices.means and devices.count > MOST_OPTIONS:
        found = run_wide(problem, run)
        if found is not None:
            return found
    attempts: list[str] = []
    start = _start(devices, run, attempts)
    rounds = Rounds(devices, run, certify)
    answer = rounds.solve(start)
    if answer.choice is None and rounds.levels is not None and not _stopped(answer, run):
        # whether anything fits has nothing to do with queues
        alone = solve_choices(devices.choices, Run(gap=_ANY, time_limit_s=run.seconds_left, threads=run.threads))
        answer = alone if alone.choice is None else rounds.solve(alone.choice)
    return outcome(devices, _finished(rounds, answer), attempts)


def certify(choices: Choices, run: Run, judge: Judge, start: IntArray | None, highs: bool) -> ChoicesAnswer:
    """The certified method of the engine."""
    return solve_choices(choices, run, judge=judge, start=start, highs=highs)


def _stopped(answer: ChoicesAnswer, run: Run) -> bool:
    return answer.termination == Termination.INTERRUPTED or run.seconds_left <= 0.0


def _finished(rounds: Rounds, answer: ChoicesAnswer) -> ChoicesAnswer:
    """What the rounds leave open of a small problem, by HiGHS."""
    devices, run = rounds.devices, rounds.run
    open_ = rounds.levels is not None and answer.choice is not None and answer.gap > run.gap
    if not open_ or _stopped(answer, run) or devices.choices.options > _HIGHS:
        return answer
    assert rounds.levels is not None
    keep, floor = _worth(rounds.levels.choices(), devices, answer, run)
    more = ChoicesAnswer(bound=floor)
    if keep is not None:
        more = solve_tangents(devices, run, keep=keep, start=answer.choice)
    found = more if more.objective < answer.objective else answer
    bound = min(max(answer.bound, min(more.bound, floor)), found.objective)
    ended = Termination.GAP if relative_gap(found.objective, bound) <= run.gap else more.termination
    return replace(answer, choice=found.choice, objective=found.objective, bound=bound, termination=ended,
                   attempts=(*answer.attempts, *more.attempts))


def _start(devices: DeviceChoices, run: Run, attempts: list[str]) -> IntArray | None:
    """The caller's rollout as a choice, unless it breaks a limit."""
    if run.warm_start is None:
        return None
    if devices.problem.relative_violation(run.warm_start) > FEASIBILITY_TOLERANCE:
        attempts.append("warm start violates a limit and was not used")
        return None
    return devices.choice(run.warm_start)


def _worth(
    choices: Choices, devices: DeviceChoices, answer: ChoicesAnswer, run: Run
) -> tuple[IntArray | None, float]:
    """Options of the devices that prices do not rule out of a better choice, and what the others cost at least; None if
    nothing is better."""
    floor = answer.objective - _LEFT * run.gap * abs(answer.objective)
    part = whole_part(choices, run.threads)
    if part is None or answer.prices is None:
        return np.arange(devices.choices.options), math.inf
    left = leave_out(part, answer.prices, floor, run.threads)
    if left is None:
        return None, floor
    # who has one option left is decided
    decided = np.setdiff1d(np.arange(choices.agents), left.agent)
    keep = np.concatenate([left.option, left.template[decided]])
    return keep[keep < devices.choices.options], floor


class Rounds:
    """Answers of the engine for levels that become denser where it matters.

    Parameters
    ----------
    devices : DeviceChoices
    run : Run
    engine : callable
    """

    def __init__(self, devices: DeviceChoices, run: Run, engine: Engine) -> None:
        self.devices, self.run, self.engine = devices, run, engine
        problem = devices.problem
        self.levels = Levels.first(devices) if problem.delay_weight > 0.0 and problem.servers else None
        self.choice: IntArray | None = None
        self.objective, self.bound = math.inf, -math.inf

    def solve(self, start: IntArray | None) -> ChoicesAnswer:
        """Rounds until the gap is proven; the answer speaks of devices alone."""
        if self.levels is None:
            return self.engine(self.devices.choices, self.run, lambda _: True, start, True)
        if start is not None:
            self._offer(start)
        idle = 0
        for number in range(_MOST_ROUNDS):
            answer, before = self._round(number), (self.objective, self.bound)
            ended = self._take(answer)
            if ended or self.levels.exact or _stopped(answer, self.run):
                break
            closed = (before[0] - self.objective) + (self.bound - before[1])
            idle = idle + 1 if closed < _GAIN * (self.objective - self.bound) else 0
            if idle >= 2:
                break
            known = [one for one in (self.choice, answer.choice) if one is not None]
            self.levels.refine([self.devices.load(one[: self.devices.problem.devices]) for one in known], number)
        return self._told(answer)

    def _round(self, number: int) -> ChoicesAnswer:
        """An answer for the levels as they are."""
        assert self.levels is not None
        gap, seconds = _SHARE * self.run.gap, self.run.seconds_left
        if self.levels.exact:
            gap = self.run.gap
        elif number == 0:
            gap = max(gap, _COARSE)
        elif self.devices.choices.options <= _HIGHS:
            # what takes longer is for `tangents`
            seconds *= _PATIENCE
        inner = Run(gap=gap, time_limit_s=max(seconds, 1e-3), seed=self.run.seed, threads=self.run.threads,
                    on_progress=self._report)
        begin = None if self.choice is None else self.levels.complete(self.choice)
        # levels lie too close together for the tolerances of HiGHS
        return self.engine(self.levels.choices(), inner, self._judge, begin, False)

    def _judge(self, choice: IntArray) -> bool:
        self._offer(choice[: self.devices.problem.devices])
        return True

    def _offer(self, choice: IntArray) -> None:
        """Keep a choice of the devices that fits if it is the best with its queues."""
        objective = self.devices.objective(choice)
        if objective < self.objective:
            self.choice, self.objective = choice.copy(), objective

    def _report(self, line: Progress) -> None:
        """Progress of the engine in terms of the problem."""
        if line.bound is not None:
            self.bound = max(self.bound, line.bound)
        self.run.report(line.stage, line.iteration, self.objective, min(self.bound, self.objective))

    def _take(self, answer: ChoicesAnswer) -> bool:
        """Note what an answer says; returns whether nothing is left to do."""
        self.bound = max(self.bound, answer.bound)
        if answer.choice is not None:
            self._judge(answer.choice)
        if answer.infeasible or self.choice is None:
            return True
        return relative_gap(self.objective, self.bound) <= self.run.gap

    def _told(self, last: ChoicesAnswer) -> ChoicesAnswer:
        found = self.choice is not None
        reached = found and relative_gap(self.objective, self.bound) <= self.run.gap
        late = self.run.seconds_left <= 0.0 and last.termination != Termination.INTERRUPTED
        devices = self.devices.problem.devices
        ended = Termination.GAP if reached else Termination.TIME_LIMIT if late else last.termination
        if ended == Termination.GAP and not reached:
            ended = Termination.STAGES_EXHAUSTED  # the engine's gap, for its levels
        return ChoicesAnswer(
            self.choice, self.objective, min(self.bound, self.objective), last.prices, ended,
            last.infeasible, last.overload, None if last.nearest is None else last.nearest[:devices], last.attempts,
        )


def outcome(devices: DeviceChoices, answer: ChoicesAnswer, attempts: list[str]) -> Outcome:
    """What an answer means for the devices; a proof that they do not fit together comes with a repair."""
    lines = (*attempts, *answer.attempts)
    if answer.infeasible:
        assert answer.nearest is not None
        diagnosis = shortage(devices.problem, devices.rollout(answer.nearest))
        return Outcome(diagnosis=diagnosis, termination=answer.termination, attempts=lines)
    proven = np.isfinite(answer.bound)
    rollout: Rollout | None = None if answer.choice is None else devices.rollout(answer.choice)
    return Outcome(
        rollout, bound=answer.bound if proven else None, termination=answer.termination,
        bound_prices=devices.prices(answer.prices) if proven and answer.prices is not None else {}, attempts=lines,
    )
