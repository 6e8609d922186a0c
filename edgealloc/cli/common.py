"""What all commands share: exit codes, errors without tracebacks, JSON, progress, files to write."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import json
import math
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import typer

from edgealloc.errors import DataError, EdgeallocError, InfeasibleError, MissingDependencyError
from edgealloc.units import format_count

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.core.run import Progress
    from edgealloc.scenarios.scenario import Scenario

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "INFEASIBLE",
    "INTERRUPTED",
    "diagnosis_record",
    "diagnosis_text",
    "guarded",
    "load_plugin",
    "plain",
    "print_json",
    "progress",
    "writable",
]

FAILED: Final = 1
BAD_INPUT: Final = 2
INFEASIBLE: Final = 3
INTERRUPTED: Final = 130
#: without a terminal, progress is said this often (s), and not at all in shorter runs
_QUIET_S: Final = 10.0

P = ParamSpec("P")


def guarded(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn what a command returns or raises into an exit code and one message on stderr."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = _say("interrupted; nothing was found yet", INTERRUPTED)
        except InfeasibleError as error:
            code = _say(str(error), INFEASIBLE)
        except (DataError, MissingDependencyError) as error:
            code = _say(f"error: {error}", BAD_INPUT)
        except EdgeallocError as error:
            code = _say(f"error: {error}", FAILED)
        except BrokenPipeError:
            # the reader went away (`| head`); what is left in the buffer would raise again at exit
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        if code:
            raise typer.Exit(code)

    return run


def _say(text: str, code: int) -> int:
    typer.echo(text, err=True)
    return code


# ---- machine-readable output ------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value in the terms of JSON: arrays as lists, NaN and infinity as null, enums as their texts."""
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # arrays and numpy's scalars
        return plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    return str(value)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(plain(document), indent=2, allow_nan=False, ensure_ascii=False))


def diagnosis_record(scenario: Scenario, diagnosis: Diagnosis) -> dict[str, Any]:
    """An infeasible problem for machines: conflicts, and the keys of the file to change."""
    return {
        "conflicts": [plain(conflict) for conflict in diagnosis.conflicts],
        "changes": [plain(change) for change in scenario.repair(diagnosis)],
    }


def diagnosis_text(scenario: Scenario, diagnosis: Diagnosis) -> str:
    """An infeasible problem for people: what conflicts, and what to write into the file."""
    lines = [
        f"infeasible: {format_count(len(diagnosis), 'limit')} cannot be met",
        diagnosis.text(),
        "",
        "a repair in the file:",
    ]
    return "\n".join([*lines, *(f"  - {change}" for change in scenario.repair(diagnosis))])


# ---- progress ---------------------------------------------------------------------------------------------


def _line(label: str, report: Progress) -> str:
    parts = [label, report.stage, f"{report.seconds:.0f} s"]
    if report.iteration:
        parts.append(f"iteration {report.iteration}")
    if report.objective is not None:
        parts.append(f"objective {report.objective:.6g}")
    if report.gap is not None:
        parts.append(f"gap {report.gap:.2e}")
    return "  ".join(part for part in parts if part)


@contextlib.contextmanager
def progress(label: str = "") -> Iterator[Callable[[Progress], None]]:
    """Show a run's progress on stderr: a live line on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(label or "working") as status:
            yield lambda report: status.update(_line(label, report))
        return
    last = [time.monotonic()]

    def report_rarely(report: Progress) -> None:
        if time.monotonic() - last[0] >= _QUIET_S:
            last[0] = time.monotonic()
            typer.echo(_line(label, report), err=True)

    yield report_rarely


# ---- files ------------------------------------------------------------------------------------------------


def writable(path: Path | None, option: str, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse a place that cannot be written before the work is done, not after."""
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise DataError(f"{option}: {path} must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise DataError(f"{option}: {path} is a folder")
    if not path.parent.is_dir():
        raise DataError(f"{option}: there is no folder {path.parent}")


def load_plugin(path: Path | None) -> None:
    """Run a user's file, which calls ``edgealloc.register_method``."""
    if path is None:
        return
    if not path.is_file():
        raise DataError(f"--plugin: there is no file {path}")
    try:
        runpy.run_path(str(path), run_name="edgealloc_plugin")
    except DataError:
        raise
    except Exception as error:  # whatever a user's file raises is the user's to read, in one line
        raise DataError(f"--plugin {path}: {type(error).__name__}: {error}") from error
