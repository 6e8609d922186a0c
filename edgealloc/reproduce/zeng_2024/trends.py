"""The paper's findings as statements about our rows: each holds or does not, and nothing is tuned to make one hold.

A comparison of parallelisms counts the cases in which both sides have a plan that fits; "in 7 of 9 cases" is what was
found, and a statement holds only if it holds in all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from edgealloc.reproduce.trend import TrendResult
from edgealloc.reproduce.zeng_2024.runs import PARALLELISMS

__all__ = [
    "COMPARABLE", "FASTER", "Rows", "above_bounds", "both_better", "by_version", "comparable_and_faster", "crossing",
    "falls", "many_cannot_hold", "one_wins", "slow_links", "slower_than_one", "trainable",
]

Row = Mapping[str, Any]
Rows = Sequence[Row]

#: "comparable" energy: at most this multiple of one device's; "much faster": at most this share of its time. Ours.
COMPARABLE: Final = 1.25
FASTER: Final = 0.5
#: Comparisons of numbers that should be equal.
_EPS: Final = 1e-9
_GOOD: Final = ("data", "pipeline")
_POOR: Final = ("tensor", "sequence")
_KEYS: Final = ("testbed", "version", "network", "rate_mbit", "batch", "training", "model")


def cases(rows: Rows) -> list[dict[str, Row]]:
    """method -> row, for every setting."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in _KEYS), {})[row["method"]] = row
    return list(found.values())


def _counted(statement: str, verdicts: Iterable[tuple[bool, str]], extra: str = "") -> TrendResult:
    judged = list(verdicts)
    if not judged:
        return TrendResult(statement, None, "no case in which both sides have a plan that fits")
    good = sum(ok for ok, _ in judged)
    against = [label for ok, label in judged if not ok]
    text = f"in {good} of {len(judged)} cases"
    if against and good:
        shown = ", ".join(against[:2]) + (", ..." if len(against) > 2 else "")
        text += f"; not for {shown}"
    return TrendResult(statement, good == len(judged), text + (f"; {extra}" if extra else ""))


def _label(row: Row) -> str:
    return f"{row['model']} on {row['version'].upper()}s at {row['rate_mbit']:g} Mbit/s" + (
        " of Wi-Fi" if row["network"] == "wifi" else "")


def _at(rows: Rows, rate: float | None) -> Rows:
    return [row for row in rows if rate is None or row["rate_mbit"] == rate]


def _where(rate: float | None) -> str:
    return "" if rate is None else f" at {rate:g} Mbit/s"


def _values(case: Mapping[str, Row], names: Sequence[str], quantity: str) -> list[float]:
    return [case[name][quantity] for name in names if name in case and case[name]["fits"]]


def both_better(rows: Rows, quantity: str, what: str, rate: float) -> TrendResult:
    """Data and pipeline parallelism are each below tensor and sequence parallelism."""
    verdicts = []
    for case in cases(_at(rows, rate)):
        good, poor = (_values(case, names, quantity) for names in (_GOOD, _POOR))
        if good and poor:
            verdicts.append((max(good) <= min(poor) * (1.0 + _EPS), _label(next(iter(case.values())))))
    return _counted(f"data and pipeline parallelism both take less {what} than tensor and sequence "
                    f"parallelism{_where(rate)}", verdicts)


def one_wins(rows: Rows, quantity: str, what: str, rate: float) -> TrendResult:
    """The least of the four is data or pipeline parallelism."""
    verdicts, winners = [], dict.fromkeys(PARALLELISMS, 0)
    for case in cases(_at(rows, rate)):
        fitting = {name: case[name][quantity] for name in PARALLELISMS if name in case and case[name]["fits"]}
        if len(fitting) > 1:
            best = min(fitting, key=lambda name: fitting[name])
            winners[best] += 1
            verdicts.append((best in _GOOD, _label(case[best])))
    tally = ", ".join(f"{name} {count}" for name, count in winners.items())
    return _counted(f"of the four, data or pipeline parallelism takes the least {what}{_where(rate)}", verdicts,
                    f"least: {tally}")


def slow_links(rows: Rows, low: float, high: float) -> TrendResult:
    """Tensor and sequence parallelism lose more than pipelines when links get slower."""
    table = _by_rate(rows)
    verdicts: list[tuple[bool, str]] = []
    factors: dict[str, list[float]] = {name: [] for name in PARALLELISMS}
    for key, at in table.items():
        if low in at and high in at:
            here = [name for name in PARALLELISMS
                    if all(at[rate].get(name, {}).get("parallelism") for rate in (low, high))]
            growth = {name: at[low][name]["time_per_sample_s"] / at[high][name]["time_per_sample_s"] for name in here}
            for name, factor in growth.items():
                factors[name].append(factor)
            poor = [growth[name] for name in _POOR if name in growth]
            if poor and "pipeline" in growth:
                verdicts.append((min(poor) > growth["pipeline"], f"{key[-1]} on {key[1].upper()}s"))
    ranges = ", ".join(f"{name} {min(found):.3g} to {max(found):.3g}" for name, found in factors.items() if found)
    return _counted(f"from {high:g} to {low:g} Mbit/s tensor and sequence parallelism slow down more than pipelines",
                    verdicts, f"slowed down by a factor of: {ranges}")


def _by_rate(rows: Rows) -> dict[tuple[Any, ...], dict[float, dict[str, Row]]]:
    table: dict[tuple[Any, ...], dict[float, dict[str, Row]]] = {}
    for case in cases(rows):
        row = next(iter(case.values()))
        key = tuple(row[name] for name in _KEYS if name != "rate_mbit")
        table.setdefault(key, {})[row["rate_mbit"]] = dict(case)
    return table


def slower_than_one(rows: Rows, rate: float) -> TrendResult:
    """On slow links tensor and sequence parallelism are slower than one device."""
    verdicts = [
        (case[name]["relative_time"] > 1.0, f"{name} of {_label(case[name])}")
        for case in cases(_at(rows, rate)) for name in _POOR if name in case and case[name]["parallelism"]
    ]
    return _counted(f"tensor and sequence parallelism are slower than one device{_where(rate)}", verdicts)


def comparable_and_faster(rows: Rows, rate: float) -> TrendResult:
    """One and the same parallelism is much faster than one device and takes a comparable energy."""
    verdicts, shown = [], []
    for case in cases(_at(rows, rate)):
        fitting = [case[name] for name in PARALLELISMS if name in case and case[name]["fits"]]
        if fitting:
            best = min(fitting, key=lambda row: row["relative_time"])
            shown.append(best)
            verdicts.append((best["relative_time"] <= FASTER and best["relative_energy"] <= COMPARABLE, _label(best)))
    extra = ""
    if shown:
        times, energies = ([row[name] for row in shown] for name in ("relative_time", "relative_energy"))
        extra = (f"the fastest takes {min(times):.3g} to {max(times):.3g} of one device's time and "
                 f"{min(energies):.3g} to {max(energies):.3g} of its energy")
    return _counted(f"the fastest of the four takes at most {FASTER:g} of one device's time and at most "
                    f"{COMPARABLE:g} of its energy{_where(rate)}", verdicts, extra)


def by_version(rows: Rows) -> TrendResult:
    """Data and pipeline parallelism take less energy on GPUs than on CPUs."""
    table: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        if row["method"] in _GOOD and row["fits"]:
            key = (row["method"], *(row[name] for name in _KEYS if name != "version"))
            table.setdefault(key, {})[row["version"]] = row
    verdicts, ratios = [], []
    for pair in table.values():
        if len(pair) == 2:
            ratios.append(pair["cpu"]["energy_per_sample_j"] / pair["gpu"]["energy_per_sample_j"])
            verdicts.append((ratios[-1] > 1.0, f"{pair['gpu']['method']} of {_label(pair['gpu'])}"))
    extra = f"on CPUs {min(ratios):.3g} to {max(ratios):.3g} times as much" if ratios else ""
    return _counted("data and pipeline parallelism take less energy on GPUs than on CPUs", verdicts, extra)


def trainable(rows: Rows) -> TrendResult:
    """Models that fit no single board are trained by some parallelism."""
    single = {row["model"]: row["fits"] for row in rows if row["method"] == "single"}
    held: dict[str, set[str]] = {}
    for row in rows:
        if row["fits"] and row["method"] in PARALLELISMS:
            held.setdefault(row["model"], set()).add(row["method"])
    large = [model for model, fits in single.items() if not fits]
    verdicts = [(model in held, model) for model in large]
    extra = "; ".join(f"{model} by {', '.join(name for name in PARALLELISMS if name in held.get(model, ()))}"
                      for model in large if model in held)
    return _counted("models that no single board can hold become trainable", verdicts, extra)


def many_cannot_hold(rows: Rows) -> TrendResult:
    """Sequence parallelism, which keeps the whole model everywhere, runs out of memory before pipelines do."""
    out = {name: {row["model"] for row in rows if row["method"] == name and not row["fits"]} for name in PARALLELISMS}
    found = "; ".join(f"{name}: {', '.join(sorted(models)) or 'none'}" for name, models in out.items())
    holds = out["pipeline"] < out["sequence"] and out["pipeline"] < out["data"]
    return TrendResult("pipelines hold models that run data and sequence parallelism out of memory", holds,
                       f"out of memory: {found}")


def falls(rows: Rows, method: str, quantity: str, what: str) -> TrendResult:
    """A quantity never rises with the rate of the links."""
    verdicts = []
    for key, at in _by_rate([row for row in rows if row["method"] == method and row["parallelism"]]).items():
        line = [at[rate][method][quantity] for rate in sorted(at)]
        verdicts.append((all(b <= a * (1.0 + 1e-6) for a, b in itertools.pairwise(line)),
                         f"{key[-1]} over {key[2]}"))
    return _counted(f"{what} never rises with the rate of the links ({method})", verdicts)


def crossing(rows: Rows, x: str, label: str, better: str, worse: str) -> TrendResult:
    """Where one method overtakes another along the x axis (a report, judged only on being there)."""
    groups: dict[tuple[Any, ...], dict[float, dict[str, float]]] = {}
    for row in rows:
        if row["method"] in (better, worse) and row["parallelism"]:
            key = tuple(row[name] for name in _KEYS if name != x)
            groups.setdefault(key, {}).setdefault(float(row[x]), {})[row["method"]] = row["time_per_sample_s"]
    texts, found = [], []
    for key, line in groups.items():
        points = [value for value in sorted(line) if len(line[value]) == 2]
        first = next((value for value in points if line[value][better] < line[value][worse]), None)
        found.append(first is not None)
        where = f"{key[2]}: " if len({one[2] for one in groups}) > 1 else ""
        texts.append(f"{where}{'nowhere' if first is None else f'from {first:g} {label} on'}")
    name = {"single": "one device"}.get(worse, f"{worse} parallelism")
    return TrendResult(f"{better} parallelism is somewhere faster than {name}", any(found) if found else None,
                       "; ".join(texts) or "no data")


def above_bounds(rows: Rows) -> TrendResult:
    """No plan lies below the certified bounds: a check of the library, not of the paper."""
    ratios: list[float] = []
    pairs: tuple[tuple[str, str, Callable[[Row], bool]], ...] = (
        ("time_per_sample_s", "bound_time_per_sample_s", lambda row: row["method"] == "best time"),
        ("energy_per_sample_j", "bound_energy_per_sample_j", lambda row: row["method"] == "best energy"),
    )
    for case in cases(rows):
        for quantity, bound, mine in pairs:
            proven = [row[bound] for row in case.values() if mine(row) and math.isfinite(row[bound])]
            if proven and proven[0] > 0.0:
                ratios += [row[quantity] / proven[0] for row in case.values()
                           if row["fits"] and math.isfinite(row[quantity])]
    if not ratios:
        return TrendResult("no plan lies below the certified bound", None, "no bound")
    return TrendResult("no plan lies below the certified bound", min(ratios) >= 1.0 - 1e-9,
                       f"least ratio {min(ratios):.6f} over {len(ratios)} plans")
