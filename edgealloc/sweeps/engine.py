"""Run a sweep, in this process or in several; the table is the same and in the same order."""

from __future__ import annotations

import dataclasses
import logging
import math
import multiprocessing
import numbers
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any

from edgealloc.core.method import find_method
from edgealloc.core.problem import Problem
from edgealloc.core.run import Progress, Run
from edgealloc.errors import DataError
from edgealloc.scenarios.scenario import Scenario
from edgealloc.sweeps.points import Job, Point, PointResult, failed_point, from_scenario, one_line, solve_point
from edgealloc.sweeps.result import Sweep

__all__ = ["sweep"]

log = logging.getLogger(__name__)


def sweep(
    make: Scenario | Callable[[Any, int], Problem[Any, Any]],
    parameter: str,
    values: Sequence[Any],
    *,
    methods: Sequence[str] | None = None,
    samples: int = 1,
    seeds: Sequence[int] | None = None,
    gap: float = 1e-3,
    time_limit_s: float | None = 60.0,
    threads: int | None = None,
    workers: int = 1,
    setup: Callable[[], object] | None = None,
    measure: Callable[[Any], Mapping[str, float]] | None = None,
    history: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Solve every value of a parameter x every seed x every method, and keep one tidy row of each.

    The same seeds are used at every value (common random numbers), so that curves differ by the parameter and not by
    luck; the seed also reaches methods that draw random numbers.

    Parameters
    ----------
    make : Scenario or callable
        What is solved: a scenario, of which the key `parameter` is changed, or a function ``make(value, seed)`` that
        returns a problem.
    parameter : str
        A scenario's dotted key, such as ``"weights.energy"`` or ``"users.0.count"``; for a function only a name.
    values : sequence
        Numbers, or texts where the key takes them (``"20 MHz"``).
    methods : sequence of str, optional
        As for `compare`: by default all that are not slow.
    samples : int
        Monte-Carlo samples: seeds s, s + 1, ..., where s is the scenario's own seed, or 0 for a function.
    seeds : sequence of int, optional
        The seeds themselves, instead of `samples`.
    gap, time_limit_s, threads
        As for `Problem.solve`, for each method at each point.
    workers : int
        Processes. With more than one, `make`, `setup` and `measure` must be functions of a module (they are sent to
        freshly started processes, and a script needs its ``if __name__ == "__main__"``); each worker uses one thread
        unless `threads` says otherwise. Rows are those of one process, times aside.
    setup : callable, optional
        Called once in every worker, for instance to register a method.
    measure : callable, optional
        ``measure(solution) -> {column: number}``: further columns of every row that has an allocation.
    history : bool
        Keep what the methods reported on the way: `Sweep.history_frame`.
    on_progress : callable, optional
        Called with a `Progress` whose stage says where the sweep is and whose iteration counts finished points;
        raising KeyboardInterrupt in it ends the sweep.

    Returns
    -------
    Sweep
        A method that fails is a row with its message, as is a problem that cannot be made. Ctrl-C keeps the rows so
        far, without the method that it stopped.

    Raises
    ------
    DataError
        No values, an unknown key, a value the key does not take, an unknown method or a faulty option, before
        anything is solved.

    Examples
    --------
    >>> import edgealloc as ea
    >>> scenario = ea.Scenario.random(users=6, servers=2, seed=0)
    >>> table = ea.sweep(scenario, "weights.energy", [1, 10], methods=["certified", "greedy"], samples=2)
    >>> len(table.to_frame())
    8
    >>> bool((table.to_frame()["over_bound"] >= 1.0).all())
    True
    """
    points = _points(make, parameter, values, samples, seeds)
    function: Callable[[Any, int], Any]
    if isinstance(make, Scenario):
        function = from_scenario(make, parameter)
        _check_values(make, parameter, values)
    elif callable(make):
        function = make
    else:
        raise DataError(f"sweep: make is a {type(make).__name__}; give a Scenario or a function (value, seed)")
    count = _whole("workers", workers)
    options: dict[str, Any] = {"gap": gap, "time_limit_s": time_limit_s, "threads": threads}
    Run.create(**options, seed=points[0].seed, on_progress=None, warm_start=None)
    first = function(points[0].value, points[0].seed)
    names = _method_names(first, methods)
    if count > 1 and threads is None:
        options["threads"] = 1
    job = Job(function, parameter, names, first.COLUMNS, options, measure, history)
    count = min(count, len(points))
    results, interrupted = _in_processes(job, points, count, setup, on_progress) if count > 1 else _here(
        job, points, on_progress)
    rows = tuple(row for result in results for row in result.rows)
    lines = tuple(line for result in results for line in result.history)
    if history:
        lines = tuple({"parameter": parameter, **line} for line in lines)
    return Sweep(
        parameter=parameter, values=tuple(dict.fromkeys(point.value for point in points)),
        seeds=tuple(dict.fromkeys(point.seed for point in points)), methods=names, rows=rows,
        columns=first.COLUMNS, history=lines, interrupted=interrupted,
    )


# ---- what was asked for -----------------------------------------------------------------------------------


def _whole(name: str, value: Any, low: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise DataError(f"sweep: {name} is {value!r}; give a whole number >= {low}")
    return int(value)


def _points(
    make: Any, parameter: Any, values: Sequence[Any], samples: int, seeds: Sequence[int] | None
) -> list[Point]:
    if not isinstance(parameter, str) or not parameter:
        raise DataError(f"sweep: the parameter is {parameter!r}; give its name as a text")
    if isinstance(values, (str, bytes)):
        raise DataError(f"sweep: values is the text {values!r}; give a sequence such as [1, 2, 5]")
    listed = [value.item() if hasattr(value, "item") else value for value in values]
    if not listed:
        raise DataError("sweep: no values given")
    for i, value in enumerate(listed):
        if not isinstance(value, (bool, int, float, str)):
            raise DataError(f"sweep: values[{i}] is a {type(value).__name__}; give numbers or texts")
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"sweep: values[{i}] is {value}; give finite numbers")
        if listed.index(value) != i:
            raise DataError(f"sweep: values[{i}] = {value!r} is there twice")
    if seeds is None:
        first = make.document.seed if isinstance(make, Scenario) else 0
        drawn = list(range(first, first + _whole("samples", samples)))
    else:
        drawn = [_whole(f"seeds[{i}]", seed, 0) for i, seed in enumerate(seeds)]
        if not drawn:
            raise DataError("sweep: seeds is empty; leave it out, or give at least one")
        if len(set(drawn)) < len(drawn):
            raise DataError("sweep: seeds has repetitions; a sample counts once")
    return [Point(value, seed) for value in listed for seed in drawn]


def _check_values(scenario: Scenario, parameter: str, values: Sequence[Any]) -> None:
    """Refuse a key that is not there and a value it does not take before anything is solved."""
    for value in values:
        try:
            scenario.changed({parameter: value})
        except DataError as error:
            raise DataError(error.faults, f"sweep: {parameter} = {value!r}") from error


def _method_names(problem: Any, methods: Sequence[str] | None) -> tuple[str, ...]:
    if not isinstance(problem, Problem):
        raise DataError(f"sweep: make returned a {type(problem).__name__}, not a problem")
    if isinstance(methods, str):
        methods = [methods]
    known = problem.methods()
    names = [name for name, one in known.items() if not one.slow] if methods is None else list(methods)
    if not names:
        raise DataError("sweep: no methods given; leave `methods` out for all that are not slow")
    for name in names:
        find_method(problem.kind, problem.METHODS, name)
    return tuple(dict.fromkeys(names))


# ---- in this process --------------------------------------------------------------------------------------


def _label(job: Job, point: Point, done: int, total: int) -> str:
    value = f"{point.value:g}" if isinstance(point.value, float) else str(point.value)
    return f"{done}/{total}  {job.parameter}={value} seed {point.seed}"


def _here(
    job: Job, points: Sequence[Point], on_progress: Callable[[Progress], None] | None
) -> tuple[list[PointResult], bool]:
    started = time.perf_counter()
    results: list[PointResult] = []
    for done, point in enumerate(points):
        result = solve_point(job, point, _forwarded(job, point, done, len(points), started, on_progress))
        results.append(result)
        if result.interrupted:
            return results, True
        try:
            _tell(job, point, done + 1, len(points), started, on_progress)
        except KeyboardInterrupt:
            return results, done + 1 < len(points)
    return results, False


def _forwarded(
    job: Job, point: Point, done: int, total: int, started: float, on_progress: Callable[[Progress], None] | None
) -> Callable[[Progress], None] | None:
    """What the methods report, told as the sweep's progress."""
    if on_progress is None:
        return None
    label = _label(job, point, done, total)

    def tell(report: Progress) -> None:
        seconds = time.perf_counter() - started
        on_progress(dataclasses.replace(report, stage=f"{label}: {report.stage}", seconds=seconds, iteration=done))

    return tell


def _tell(
    job: Job, point: Point, done: int, total: int, started: float, on_progress: Callable[[Progress], None] | None
) -> None:
    if on_progress is not None:
        on_progress(Progress(f"{_label(job, point, done, total)}: done", time.perf_counter() - started, done))


# ---- in worker processes ----------------------------------------------------------------------------------

#: set in a worker when it starts: the job, and whether the sweep was told to stop.
_worker: dict[str, Any] = {}


def _start_worker(job: Job, stop: Any, setup: Callable[[], object] | None) -> None:
    # Ctrl-C reaches every process of a terminal; the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(job=job, stop=stop)
    if setup is not None:
        setup()


def _stop_if_told(_report: Progress) -> None:
    if _worker["stop"].is_set():
        raise KeyboardInterrupt


def _work(point: Point) -> PointResult:
    from threadpoolctl import threadpool_limits

    if _worker["stop"].is_set():
        return PointResult((), interrupted=True)
    with threadpool_limits(limits=1):
        return solve_point(_worker["job"], point, _stop_if_told)


def _check_sendable(job: Job, setup: Callable[[], object] | None) -> None:
    """Say which function cannot be sent to another process, before any is started."""
    from multiprocessing.reduction import ForkingPickler

    for name, thing in (("make", job.make), ("measure", job.measure), ("setup", setup)):
        try:
            ForkingPickler.dumps(thing)
        except Exception as error:
            raise DataError(
                f"sweep: {name} cannot be sent to worker processes ({one_line(error)}); "
                "define it at the top of a module instead of inside a function, or use workers=1"
            ) from error


def _in_processes(
    job: Job, points: Sequence[Point], workers: int, setup: Callable[[], object] | None,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[list[PointResult], bool]:
    _check_sendable(job, setup)
    started = time.perf_counter()
    # fresh processes: forking a process that has threads (ours, BLAS) is not safe
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    interrupted = False
    with ProcessPoolExecutor(workers, context, _start_worker, (job, stop, setup)) as pool:
        futures: dict[Future[PointResult], int] = {pool.submit(_work, point): i for i, point in enumerate(points)}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                _tell(job, points[futures[future]], done, len(points), started, on_progress)
        except KeyboardInterrupt:
            interrupted = True
            stop.set()  # methods that are running end at their next report and keep what they have
            pool.shutdown(wait=True, cancel_futures=True)
    results = list(_collected(job, points, futures))
    return results, (interrupted and len(results) < len(points)) or any(one.interrupted for one in results)


def _collected(
    job: Job, points: Sequence[Point], futures: Mapping[Future[PointResult], int]
) -> Iterator[PointResult]:
    """Results in the order of the points; a worker that died leaves a failed row."""
    for future, i in futures.items():
        if future.cancelled():
            continue
        error = future.exception()
        if isinstance(error, DataError):
            # for instance a method that was registered in this process only
            raise DataError(error.faults, "in a worker process (is `setup` missing?)") from error
        if error is None:
            yield future.result()
        else:
            log.warning("sweep: a point failed", exc_info=error)
            yield failed_point(job, points[i], f"worker process failed: {one_line(error)}")
