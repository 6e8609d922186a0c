"""CBC as a process: its log says what it proved, its solution file what it found."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgealloc.core.status import Termination
from edgealloc.errors import MissingDependencyError
from edgealloc.solvers.milp_answer import RawAnswer, Settings

if TYPE_CHECKING:
    import pulp

__all__ = ["run_cbc"]

#: CBC drops nodes that are not this much better than its incumbent.
_INCREMENT: Final = 1e-5
#: Half a unit of the last digit of "Lower bound: %.3f", and a bit.
_PRINTED: Final = 6e-4
#: Relative error of numbers printed with eight digits.
_DIGITS: Final = 1e-7
#: Seconds beyond the limit after which a process that does not end is stopped.
_GRACE_S: Final = 10.0


def find_cbc() -> str:
    """The binary that PuLP brings, or one on the path."""
    import pulp

    bundled = Path(str(getattr(getattr(pulp, "PULP_CBC_CMD", None), "pulp_cbc_path", "") or ""))
    if bundled.is_file():
        if not os.access(bundled, os.X_OK):
            with contextlib.suppress(OSError):
                bundled.chmod(bundled.stat().st_mode | stat.S_IXUSR)
        if os.access(bundled, os.X_OK):
            return str(bundled.resolve())
    found = shutil.which("cbc")
    if found is None:
        raise MissingDependencyError("pulp[cbc]")
    return found


def run_cbc(model: pulp.LpProblem, settings: Settings) -> RawAnswer:
    """Solve a model; Ctrl-C ends the process and is passed on.

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
    binary = find_cbc()
    with tempfile.TemporaryDirectory() as folder:
        written, solved, log = (Path(folder) / name for name in ("model.mps", "model.sol", "log.txt"))
        variables, names, *_ = model.writeMPS(str(written), rename=True)
        command = [binary, str(written)]
        if model.sense < 0:
            command.append("-max")
        if settings.start:
            start = Path(folder) / "start.mst"
            _write_start(start, variables, names, settings)
            command += ["-mips", str(start)]
        left = settings.seconds_left
        if math.isfinite(left):
            command += ["-sec", f"{max(left, 1e-3):.3f}", "-timeMode", "elapsed"]
        command += ["-ratio", repr(settings.gap), "-allow", repr(max(settings.gap_abs, 1e-10)),
                    "-threads", str(settings.threads if settings.threads > 1 else 0),
                    "-primalT", repr(settings.tolerance), "-dualT", repr(min(settings.tolerance, 1e-7)),
                    "-integerT", repr(settings.tolerance), "-solve", "-printingOptions", "all",
                    "-solution", str(solved)]
        code = _run_process(command, log, left + _GRACE_S)
        if code != 0 or not solved.exists():
            return RawAnswer(f"CBC ended with exit code {code}", Termination.NUMERICAL)
        text = log.read_text(encoding="utf-8", errors="replace")
        lines = solved.read_text(encoding="utf-8").splitlines()
    values = _read_values(lines[1:], variables, names)
    return _account(text, lines[0].strip(), values, float(model.sense), any(v.cat == "Integer" for v in variables))


def _write_start(path: Path, variables: list[Any], names: dict[str, str], settings: Settings) -> None:
    lines = ["Stopped on time - objective value 0"]
    lines += [
        f"{i:>7} {names[variable.name]} {float(settings.start.get(variable.name, 0.0))!r:>15} {0:>23}"
        for i, variable in enumerate(variables)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _run_process(command: list[str], log: Path, seconds: float) -> int:
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            return process.wait(seconds if math.isfinite(seconds) else None)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _read_values(lines: list[str], variables: list[Any], names: dict[str, str]) -> dict[str, float]:
    """Values by the model's own names; what CBC does not list is 0."""
    original = {short: name for name, short in names.items()}
    values = {variable.name: 0.0 for variable in variables}
    for line in lines:
        words = line.removeprefix("**").split()  # marks a value out of bounds
        if len(words) >= 3 and words[1] in original:
            values[original[words[1]]] = float(words[2])
    return values


def _account(log: str, words: str, values: dict[str, float], sense: float, whole: bool) -> RawAnswer:
    result = re.findall(r"^Result - (.+)$", log, re.MULTILINE)
    message = result[-1].strip() if result else words.split(" - objective value", maxsplit=1)[0]
    low = f"{message} {words}".lower()
    if "infeasible" in low:
        # "infeasible or unbounded" by preprocessing: its continuous relaxation had a value, so it is infeasible
        proven = "or unbounded" not in low or re.search(r"Continuous objective value is", log) is not None
        return RawAnswer(message, Termination.STAGES_EXHAUSTED, bound=math.inf if proven else -math.inf)
    if "unbounded" in low:
        return RawAnswer(message, Termination.STAGES_EXHAUSTED, unbounded=True)
    stopped = "stopped" in low or "ctrl-c" in low
    if "optimal" in low and not stopped:
        termination = Termination.GAP
    elif "time" in low:
        termination = Termination.TIME_LIMIT
    elif "limit" in low:
        termination = Termination.ITERATIONS
    else:
        termination = Termination.NUMERICAL
    answer = RawAnswer(message, termination)
    if "no integer solution" in low or "no feasible solution found" in log.lower():
        # the values in the file are those of the relaxation
        answer.message += " (no integer solution)"
    else:
        answer.values = values
    answer.bound = _proven(log, words, sense, termination, whole)
    return answer


def _proven(log: str, words: str, sense: float, termination: Termination, whole: bool) -> float:
    """The proven bound in the sense of a minimum, less what printing and pruning leave open; -inf for none."""
    printed = re.findall(r"^(?:Lower|Upper) bound:\s+(\S+)$", log, re.MULTILINE)
    if printed:
        bound = sense * float(printed[-1])
        if not math.isfinite(bound) or abs(bound) > 1e40:
            return -math.inf
        best = bound - _PRINTED
        for text in re.findall(r"best possible (\S+?)\)", log)[-1:]:
            finer = float(text)
            # heuristics print lines of smaller models, too: only one that says the same is taken
            if abs(finer - bound) <= _PRINTED + _DIGITS * abs(finer):
                best = max(best, finer - _DIGITS * abs(finer))
        return best - _INCREMENT
    value = re.search(r"objective value\s+(\S+)", words)
    if termination != Termination.GAP or value is None:
        return -math.inf
    best = sense * float(value.group(1))
    return best - _DIGITS * abs(best) - (_INCREMENT if whole else 0.0)
