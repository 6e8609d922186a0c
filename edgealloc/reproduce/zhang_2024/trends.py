"""The paper's findings as statements about our rows: each holds or does not, and nothing is tuned to make one hold.

A statement about cases holds only if it holds in all of them; "in 7 of 9" is what was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from edgealloc.reproduce.trend import TrendResult
from edgealloc.reproduce.zhang_2024.runs import CLASSES, METRICS
from edgealloc.units import format_count, format_si

__all__ = [
    "KEEP", "Rows", "better_answers", "between", "complex_goes_to_the_edge", "enough_server_takes_all",
    "four_bits_keep_quality", "large_in_few_bits", "least_cost", "less_energy", "more_access", "no_free_lunch",
    "proxies_agree", "shared_work", "zeros_alone_save_nothing",
]

Row = Mapping[str, Any]
Rows = Sequence[Row]

#: "keep": at most this much of accuracy and hallucination rate is lost. Ours.
KEEP: Final = 0.03


def _counted(statement: str, verdicts: Iterable[tuple[bool, str]], extra: str = "") -> TrendResult:
    judged = list(verdicts)
    if not judged:
        return TrendResult(statement, None, "no case")
    good = sum(ok for ok, _ in judged)
    against = [label for ok, label in judged if not ok]
    text = f"in {good} of {format_count(len(judged), 'case')}"
    if against:
        text += f"; not for {', '.join(against[:4])}{', ...' if len(against) > 4 else ''}"
    return TrendResult(statement, good == len(judged), text + (f"; {extra}" if extra else ""))


def _known(rows: Rows) -> Rows:
    return [row for row in rows if not row["reason"]]


def _compact(rows: Rows) -> Rows:
    """What makes the model itself smaller."""
    return [row for row in _known(rows) if row["strategy"] not in ("half", "offload")]


def _one(rows: Rows, name: str) -> Row | None:
    return next((row for row in _known(rows) if row["strategy"] == name), None)


# ---- strategies ---------------------------------------------------------------------------------------------------


def less_energy(rows: Rows) -> TrendResult:
    """Compact models take less energy per query."""
    found = _compact(rows)
    least = min((row["energy_j_change"] for row in found), default=math.nan)
    return _counted("compact models take less energy per query than half precision on the same server",
                    ((row["energy_j_arrow"] < 0, row["strategy"]) for row in found), f"at best {100.0 * least:+.0f} %")


def more_access(rows: Rows) -> TrendResult:
    """Compact models run on more devices."""
    found = _compact(rows)
    most = max((row["accessibility"] for row in found), default=math.nan)
    return _counted("compact models run at a usable speed on more devices",
                    ((row["accessibility_arrow"] > 0, row["strategy"]) for row in found), f"at best {most:.0%}")


def better_answers(rows: Rows) -> TrendResult:
    """The abstract: accuracy and hallucination rate improve."""
    return _counted("compact models answer better: more accurate, fewer hallucinations (as the abstract says)",
                    ((row["accuracy_arrow"] > 0 and row["hallucination_arrow"] < 0, row["strategy"])
                     for row in _compact(rows)), "against the model that they were made of; see figure 'server' for "
                    "equal memory")


def large_in_few_bits(rows: Rows) -> TrendResult:
    """At about the same memory, a large model in 4 bits answers better than a small one in half precision."""
    few, small = _one(rows, "quantise-4"), _one(rows, "distil")
    statement = "the base in 4 bits is smaller than its student in half precision, and answers better"
    if few is None or small is None:
        return TrendResult(statement, None, "no student")
    return TrendResult(
        statement, few["weight_bytes"] < small["weight_bytes"] and few["accuracy"] > small["accuracy"]
        and few["hallucination"] < small["hallucination"],
        f"{format_si(few['weight_bytes'], 'B')} against {format_si(small['weight_bytes'], 'B')}, accuracy "
        f"{few['accuracy']:.3f} against {small['accuracy']:.3f}, hallucination rate {few['hallucination']:.3f} against "
        f"{small['hallucination']:.3f}")


def four_bits_keep_quality(rows: Rows) -> TrendResult:
    """4 bits cost little quality."""
    whole, few = _one(rows, "half"), _one(rows, "quantise-4")
    statement = f"4 bits cost at most {KEEP:g} of accuracy and of hallucination rate"
    if whole is None or few is None:
        return TrendResult(statement, None, "not run")
    lost, more = whole["accuracy"] - few["accuracy"], few["hallucination"] - whole["hallucination"]
    return TrendResult(statement, lost <= KEEP and more <= KEEP, f"accuracy -{lost:.3f}, hallucination {more:+.3f}")


def zeros_alone_save_nothing(rows: Rows) -> TrendResult:
    """Zeros anywhere save neither time nor memory; patterns that hardware knows, and narrower models, do."""
    anywhere, others = _one(rows, "prune-50"), [_one(rows, name) for name in ("prune-2:4", "prune-20%")]
    statement = "zeros anywhere save no energy; 2 of 4, and heads and channels taken out, do"
    if anywhere is None or any(one is None for one in others):
        return TrendResult(statement, None, "not run")
    saved = [one["energy_j_change"] for one in others if one is not None]
    return TrendResult(statement, anywhere["energy_j_arrow"] == 0 and max(saved) < 0.0,
                       ", ".join(f"{100.0 * one:+.0f} %" for one in (anywhere["energy_j_change"], *saved)))


def proxies_agree(rows: Rows) -> TrendResult:
    """Where TruthfulQA is published for both, it moves against the other proxy."""
    whole = _one(rows, "half")
    base = math.nan if whole is None else whole["truthful"]
    judged = [(row["truthful"] <= base, f"{row['strategy']} ({row['truthful'] - base:+.3f})") for row in _compact(rows)
              if math.isfinite(row["truthful"] - base) and row["hallucination_arrow"] > 0]
    return _counted("where the hallucination rate is taken to rise, published TruthfulQA falls or stays", judged,
                    "a base model's TruthfulQA is a weak proxy" if judged else "")


def no_free_lunch(rows: Rows) -> TrendResult:
    """No compact strategy is best in all four metrics."""
    found = _compact(rows)
    best = {name: (max if up else min)((row[name] for row in found), default=math.nan)
            for name, (_, up) in METRICS.items()}
    winners = [row["strategy"] for row in found if all(row[name] == best[name] for name in METRICS)]
    leaders = ", ".join(f"{words} {'/'.join(row['strategy'] for row in found if row[name] == best[name])}"
                        for name, (words, _) in METRICS.items())
    return TrendResult("no compact strategy is best in all four metrics", not winners if found else None, leaders)


# ---- phones and a server ------------------------------------------------------------------------------------------


def _by_where(rows: Rows) -> dict[str, Row]:
    return {row["where"]: row for row in rows if math.isfinite(row["objective"])}


_BETWEEN: Final = (("energy_j", "energy"), ("hallucination", "hallucination rate"), ("accuracy", "accuracy"),
                   ("accessibility", "accessibility"), ("delay_s", "delay"))


def between(rows: Rows) -> TrendResult:
    """Shared work lies between both ends in every metric."""
    found = _by_where(rows)
    statement = "offloading lies between on-device and edge in every metric"
    if not {"on-device", "edge"} <= set(found):
        return TrendResult(statement, None, "one of both ends has no answer")
    verdicts = []
    for where in ("by difficulty", "certified"):
        for name, words in _BETWEEN if where in found else ():
            low, high = sorted((found["on-device"][name], found["edge"][name]))
            slack = 1e-9 * max(abs(high), 1e-300)
            verdicts.append((low - slack <= found[where][name] <= high + slack, f"{words} {where}"))
    return _counted(statement, verdicts)


def shared_work(rows: Rows) -> TrendResult:
    """The best trade-off: a weighted sum no worse than either end, better by more than rounding than both."""
    found = _by_where(rows)
    ends = [found[name]["objective"] for name in ("on-device", "edge") if name in found]
    statement = "offloading has a better weighted cost than on-device alone and edge alone"
    if "certified" not in found or not ends:
        return TrendResult(statement, None, "no answer")
    best = found["certified"]["objective"]
    said = ", ".join(f"{name} {row['objective']:.4f}" for name, row in found.items())
    return TrendResult(statement, best < min(ends) * (1.0 - 1e-6), said)


def complex_goes_to_the_edge(rows: Rows) -> TrendResult:
    """The certified plan sends more of the more complex classes."""
    found = _by_where(rows)
    statement = "where work is shared at least cost, the more complex the class, the more of it is sent"
    if "certified" not in found:
        return TrendResult(statement, None, "no answer")
    sent = [found["certified"][name] for name in CLASSES]
    return TrendResult(statement, all(a <= b + 1e-9 for a, b in pairwise(sent)),
                       ", ".join(f"{name} {one:.0%}" for name, one in zip(CLASSES, sent, strict=True))
                       + "; a complex query takes more of the server's time")


def least_cost(rows: Rows) -> TrendResult:
    """No rule is better than the certified plan beyond its gap: a check of the library, not of the paper."""
    known = [row for row in rows if math.isfinite(row["objective"])]
    bounds = {row["phones"]: row["bound"] for row in known if row["where"] == "certified"}
    verdicts = [(row["objective"] >= bounds[row["phones"]] * (1.0 - 1e-9), f"{row['where']}, {row['phones']} phones")
                for row in known if math.isfinite(bounds.get(row["phones"], math.nan))]
    return _counted("no rule costs less than the proven bound", verdicts)


def enough_server_takes_all(rows: Rows) -> TrendResult:
    """With few phones everything is sent; the more phones share the server, the less each sends."""
    sent = [(row["phones"], row["offloaded"]) for row in rows
            if row["where"] == "certified" and math.isfinite(row["objective"])]
    falling = all(a[1] >= b[1] - 1e-6 for a, b in pairwise(sent))
    return TrendResult("the more phones share the server, the less of their queries is sent", falling if sent else None,
                       ", ".join(f"{count}: {share:.0%}" for count, share in sent))
