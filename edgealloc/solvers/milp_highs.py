"""HiGHS, asked by highspy about a model that PuLP wrote: its own status, dual bound and values."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from edgealloc.core.status import Termination
from edgealloc.solvers.milp_answer import RawAnswer, Settings

if TYPE_CHECKING:
    import pulp

__all__ = ["run_highs"]


def run_highs(model: pulp.LpProblem, settings: Settings) -> RawAnswer:
    """Solve a model; Ctrl-C stops HiGHS and is passed on.

    Parameters
    ----------
    model : pulp.LpProblem
        The model.
    settings : Settings
        Gap, time, threads and seed.

    Returns
    -------
    RawAnswer
        Values, bound and status as the solver says them; nothing is checked yet.
    """
    import pulp

    solver = pulp.HiGHS(msg=False, gapRel=settings.gap, gapAbs=settings.gap_abs, threads=settings.threads,
                        mip_feasibility_tolerance=settings.tolerance, primal_feasibility_tolerance=settings.tolerance,
                        dual_feasibility_tolerance=min(settings.tolerance, 1e-7))
    none, dummy = model.fixObjective()
    try:
        solver.createAndConfigureSolver(model)
        solver.buildSolverModel(model)
        highs = model.solverModel
        constant = float(model.sense) * float(model.objective.constant)
        highs.changeObjectiveOffset(constant)  # which PuLP leaves out, though relative gaps depend on it
        variables = list(model.variables())
    finally:
        model.restoreObjective(none, dummy)
        model.solverModel = None
    names = [variable.name for variable in variables]
    if settings.start:
        _set_start(highs, names, settings)
    left = settings.seconds_left
    if math.isfinite(left):
        highs.setOptionValue("time_limit", max(left, 1e-3))
    error = _run_interruptibly(highs)
    if error is not None:
        return RawAnswer(f"HiGHS broke off: {error}", Termination.NUMERICAL)
    answer = _account(highs, names, any(variable.cat == "Integer" for variable in variables))
    answer.bound -= constant
    return answer


def _set_start(highs: Any, names: list[str], settings: Settings) -> None:
    import numpy as np

    place = {name: i for i, name in enumerate(names)}
    known = [(place[name], float(value)) for name, value in settings.start.items() if name in place]
    index = np.array([i for i, _ in known], dtype=np.int32)
    highs.setSolution(index.size, index, np.array([value for _, value in known]))


def _run_interruptibly(highs: Any) -> Exception | None:
    """Run HiGHS in a thread of its own, so that Ctrl-C reaches us while it works; returns what it raised.

    The thread has its own scheduler too: HiGHS keeps one per thread, and refuses another number of threads than the
    first run in the same thread had.
    """
    stop = threading.Event()
    failed: list[Exception] = []

    def interrupt(event: Any) -> None:
        if stop.is_set():
            event.data_in.user_interrupt = True

    for callback in (highs.cbSimplexInterrupt, highs.cbIpmInterrupt, highs.cbMipInterrupt):
        callback.subscribe(interrupt)

    def work() -> None:
        try:
            highs.run()
            highs.resetGlobalScheduler(False)
        except Exception as error:  # its own memory gone wrong, seen as "vector::reserve"
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stop.set()
        thread.join(10.0)
        raise
    return failed[0] if failed else None


def _account(highs: Any, names: list[str], whole: bool) -> RawAnswer:
    import highspy

    kinds = highspy.HighsModelStatus
    status, info = highs.getModelStatus(), highs.getInfo()
    message = str(highs.modelStatusToString(status))
    finished = (kinds.kOptimal, kinds.kInfeasible, kinds.kUnbounded, kinds.kUnboundedOrInfeasible, kinds.kModelEmpty)
    if status in finished:
        termination = Termination.GAP if status == kinds.kOptimal else Termination.STAGES_EXHAUSTED
    elif status == kinds.kTimeLimit:
        termination = Termination.TIME_LIMIT
    elif status == kinds.kInterrupt:
        termination = Termination.INTERRUPTED
    elif status in (kinds.kIterationLimit, kinds.kSolutionLimit, kinds.kObjectiveBound, kinds.kObjectiveTarget):
        termination = Termination.ITERATIONS
    else:
        termination = Termination.NUMERICAL
    answer = RawAnswer(message, termination, unbounded=status == kinds.kUnbounded)
    if status == kinds.kInfeasible:
        answer.bound = math.inf
        return answer
    if status == kinds.kModelEmpty:
        answer.values = dict.fromkeys(names, 0.0)
        answer.bound = float(info.objective_function_value)
        return answer
    solution = highs.getSolution()
    if info.primal_solution_status == 2 and solution.value_valid and status not in finished[1:]:
        answer.values = dict(zip(names, solution.col_value, strict=True))
    if whole and termination != Termination.NUMERICAL and math.isfinite(info.mip_dual_bound):
        answer.bound = float(info.mip_dual_bound)
    elif not whole and status == kinds.kOptimal:
        answer.bound = float(info.objective_function_value)
    return answer
