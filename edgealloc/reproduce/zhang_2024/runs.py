"""Rows of the figures: strategies by metric, and phones that answer, send, or do both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

import edgealloc as ea
from edgealloc.catalog import default_catalog
from edgealloc.catalog.compression_rows import frameworks
from edgealloc.catalog.speed_facts import Rate, rate, runs
from edgealloc.catalog.variants import QUERY_CLASSES, Variant, variant
from edgealloc.core.tables import text_table
from edgealloc.reproduce.zhang_2024.settings import (
    BASES,
    DEVICES,
    MIX,
    PHONES,
    QUERIES,
    STRATEGIES,
    USABLE_TOKENS_PER_S,
    Strategy,
    usable_bytes,
)
from edgealloc.system.inference import busy_seconds, query_cost, service_seconds
from edgealloc.units import format_count, format_si, format_time

__all__ = [
    "ARROWS", "CLASSES", "METHODS", "METRICS", "ROWS", "SAME", "TABLES", "accessible", "arrow", "change", "compact",
    "offloading_rows", "offloading_table", "phones_problem", "sharing_rows", "strategy_rows", "strategy_table",
]

Row = dict[str, Any]
Tell = Callable[[str], None]

#: metric -> (words, whether more is better)
METRICS: Final[Mapping[str, tuple[str, bool]]] = {
    "energy_j": ("energy per query", False),
    "hallucination": ("hallucination rate", False),
    "accuracy": ("generalisation accuracy", True),
    "accessibility": ("accessibility", True),
}
#: A change by less than this share of the uncompressed model's is none.
SAME: Final = 0.01
ARROWS: Final = {1: "↑", 0: "=", -1: "↓"}
CLASSES: Final = tuple(one.name for one in QUERY_CLASSES)
#: Who answers -> method of allocation.
METHODS: Final[Mapping[str, str]] = {
    "on-device": "device-only", "edge": "edge-only", "by difficulty": "threshold", "certified": "certified",
}
#: Tokens that a variant has room for.
_CONTEXT: Final = max(one.prompt + one.answer for one in QUERIES.values())


@cache
def compact(edition: str, name: str, on_cpu: bool = False) -> Variant | None:
    """The variant of a strategy; None where the base has no such student."""
    base, strategy = BASES[edition], next(one for one in STRATEGIES if one.name == name)
    if strategy.student >= len(base.students):
        return None
    model = base.model if strategy.student < 0 else base.students[strategy.student]
    label = strategy.cpu if on_cpu else strategy.gpu
    return variant(model, base.labels.get(strategy.name, label))


def _accuracy(model: Variant) -> tuple[float, str]:
    """Accuracy over the mix of classes, and where it is from: "published" only if all of it is."""
    found = [model.class_accuracy[name] for name in CLASSES]
    if any(one is None for one in found):
        return math.nan, "no rows"
    value = sum(share * one.value for share, one in zip(MIX, found, strict=True) if one is not None)
    return value, _origin([one.origin for one in found if one is not None])


def _origin(origins: Sequence[str]) -> str:
    """The weakest of several origins."""
    return next((one for one in ("assumption", "derived", "published change") if one in origins), "published")


def _energy(found: Rate) -> tuple[float, float]:
    """Mean energy and time of a query that is alone."""
    cost = [query_cost(found.work, found.machine, one.prompt, one.answer) for one in QUERIES.values()]
    return (sum(one.share * float(c.energy_j) for one, c in zip(QUERIES.values(), cost, strict=True)),
            sum(one.share * float(c.seconds) for one, c in zip(QUERIES.values(), cost, strict=True)))


def _fitting(edition: str, name: str, device: str) -> float:
    """Speed of the fastest software that runs a strategy's weights in a device's memory; 0 if nothing does."""
    catalog = default_catalog()
    entry, memory, best = catalog.device(device), usable_bytes(device), 0.0
    for framework, one in frameworks().items():
        model = compact(edition, name, one.unit == "cpu")
        # of software that servers have, and of neural processors, nothing is taken
        if model is None or framework == PHONES.server_framework or one.unit == "npu":
            continue
        if runs(model, entry, framework) and model.memory_bytes(_CONTEXT) <= memory:
            best = max(best, rate(model, device, framework, catalog=catalog).tokens_per_s)
    return best


def accessible(edition: str, name: str) -> tuple[str, ...]:
    """Devices on which a strategy's weights are of use."""
    return tuple(device for device in DEVICES if _fitting(edition, name, device) >= USABLE_TOKENS_PER_S)


def change(value: float, base: float) -> float:
    """Relative to the uncompressed model; inf where that has nothing and this has something."""
    if value == base:
        return 0.0
    return value / base - 1.0 if base else math.copysign(math.inf, value)


def arrow(value: float, base: float) -> int:
    """1, 0 or -1: more, the same within `SAME`, less."""
    found = change(value, base)
    return 0 if math.isnan(found) or abs(found) < SAME else int(math.copysign(1.0, found))


def strategy_rows(edition: str, gap: float, time_limit_s: float | None, tell: Tell) -> Iterator[Row]:
    """Every strategy with its four metrics on the server, and the change of each against the uncompressed model."""
    del gap, time_limit_s
    whole: Row = {}
    for strategy in STRATEGIES:
        tell(strategy.name)
        row = _strategy_row(edition, strategy)
        if not whole:
            whole = row
        for name in METRICS:
            row[f"{name}_change"] = change(row[name], whole[name])
            row[f"{name}_arrow"] = 0 if row["reason"] else arrow(row[name], whole[name])
        yield row


def _strategy_row(edition: str, strategy: Strategy) -> Row:
    model = compact(edition, strategy.name)
    row: Row = {"edition": edition, "strategy": strategy.name, "text": strategy.text, "reason": "", "variant": "",
                "weight_bytes": math.nan, "tokens_per_s": math.nan, "delay_s": math.nan, "truthful": math.nan,
                "accuracy_origin": "", "hallucination_origin": "", "accessible": "",
                **dict.fromkeys(METRICS, math.nan)}
    if model is None:
        return row | {"reason": f"no student of {BASES[edition].model} is known"}
    speed = rate(model, PHONES.server, PHONES.server_framework)
    energy, delay = _energy(speed)
    accuracy, origin = _accuracy(model)
    wrong = model.hallucination
    if strategy.offload:
        up, down = (8.0 * PHONES.bytes_per_token / one for one in (PHONES.uplink_bps, PHONES.downlink_bps))
        sent = sum(one.share * one.prompt * up for one in QUERIES.values())
        energy += PHONES.transmit_power_w * sent
        delay += sent + sum(one.share * one.answer * down for one in QUERIES.values()) + PHONES.round_trip_s
        reached: Sequence[str] = DEVICES
    else:
        reached = accessible(edition, strategy.name)
    truthful = model.accuracy.get("truthfulqa_mc1")
    return row | {
        "variant": model.name, "weight_bytes": model.weight_bytes, "tokens_per_s": speed.tokens_per_s,
        "delay_s": delay, "energy_j": energy, "accuracy": accuracy, "accuracy_origin": origin,
        "hallucination": math.nan if wrong is None else wrong.value,
        "hallucination_origin": "no rows" if wrong is None else wrong.origin,
        "truthful": math.nan if truthful is None else truthful.value,
        "accessibility": len(reached) / len(DEVICES), "accessible": " ".join(reached),
    }


def strategy_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Strategies with metrics and arrows, for a page; a star marks what rests on an assumption."""
    header = ["strategy", *(words for words, _ in METRICS.values()), "weights", "token/s", "delay", "TruthfulQA"]
    cells = []
    for row in rows:
        if row["reason"]:
            cells.append([row["strategy"], row["reason"], *[""] * 7])
            continue
        marks = {"accuracy": row["accuracy_origin"], "hallucination": row["hallucination_origin"]}
        values = {"energy_j": format_si(row["energy_j"], "J"), "hallucination": f"{row['hallucination']:.3f}",
                  "accuracy": f"{row['accuracy']:.3f}", "accessibility": f"{row['accessibility']:.0%}"}
        cells.append([row["strategy"], *(
            f"{values[name]}{'*' if marks.get(name) == 'assumption' else ''} {ARROWS[row[f'{name}_arrow']]}"
            for name in METRICS), format_si(row["weight_bytes"], "B"), f"{row['tokens_per_s']:.3g}",
            format_time(row["delay_s"]), "-" if math.isnan(row["truthful"]) else f"{row['truthful']:.3f}"])
    return text_table(header, cells) + "\n* rests on an assumption; arrows: against half precision, = within 1 %"


# ---- phones and a server ------------------------------------------------------------------------------------------


def phones_problem(edition: str, count: int | None = None) -> ea.Deployment:
    """Phones of one kind that share one server with the uncompressed base; variants are the base and its students."""
    base, phones = BASES[edition], PHONES
    number = phones.count if count is None else count
    models = [variant(base.model, label) for label in phones.labels]
    models += [variant(student, phones.labels[0]) for student in base.students]
    local = [rate(one, phones.device, phones.phone_framework) for one in models]
    cost = [[query_cost(one.work, one.machine, q.prompt, q.answer) for q in QUERIES.values()] for one in local]
    big = variant(base.model, "f16")
    server = rate(big, phones.server, phones.server_framework)
    prompts, answers = (np.array([getattr(q, name) for q in QUERIES.values()], dtype=np.float64)
                        for name in ("prompt", "answer"))
    busy = busy_seconds(server.work, server.machine, prompts, answers, phones.batch)
    return ea.Deployment(
        device_memory_bytes=np.full(number, usable_bytes(phones.device)), transmit_power_w=phones.transmit_power_w,
        query_rate_per_s=np.array(MIX) / phones.query_interval_s,
        memory_bytes=np.array([one.memory_bytes(_CONTEXT) for one in models]),
        tokens_per_s=np.array([one.tokens_per_s for one in local]),
        local_delay_s=np.array([[float(c.seconds) for c in row] for row in cost]),
        local_energy_j=np.array([[float(c.energy_j) for c in row] for row in cost]),
        accuracy=np.array([_class_values(one) for one in models]),
        hallucination=np.array([[_rate(one)] * len(CLASSES) for one in models]),
        busy_s=busy[None, :], service_s=service_seconds(server.work, server.machine, prompts, answers,
                                                        phones.batch)[None, :],
        server_energy_j=server.machine.power_w * busy[None, :],
        server_accuracy=np.array([_class_values(big)]), server_hallucination=np.array([[_rate(big)] * len(CLASSES)]),
        uplink_bps=np.full((number, 1), phones.uplink_bps), downlink_bps=np.full((number, 1), phones.downlink_bps),
        round_trip_s=phones.round_trip_s, prompt_bytes=phones.bytes_per_token * prompts,
        answer_bytes=phones.bytes_per_token * answers, usable_tokens_per_s=USABLE_TOKENS_PER_S,
        weights=ea.Weights(1.0, 1.0, 0.0, reference={"delay": phones.delay_reference_s,
                                                     "energy": phones.energy_reference_j}),
        hallucination_weight=phones.quality_weight, error_weight=phones.quality_weight,
        inaccessible_weight=phones.access_weight,
        variant_names=[one.name for one in models], class_names=CLASSES, server_names=[phones.server],
        source=f"{number} phones and one server",
    )


def _class_values(model: Variant) -> list[float]:
    return [0.0 if one is None else one for one in model.class_values()]


def _rate(model: Variant) -> float:
    return 1.0 if model.hallucination is None else model.hallucination.value


def offloading_rows(edition: str, gap: float, time_limit_s: float | None, tell: Tell) -> Iterator[Row]:
    """The phones' metrics when they answer themselves, send everything, or share the work."""
    yield from _phone_rows(edition, PHONES.count, gap, time_limit_s, tell)


def sharing_rows(edition: str, gap: float, time_limit_s: float | None, tell: Tell) -> Iterator[Row]:
    """The same by the number of phones that share the server."""
    for count in PHONES.counts:
        yield from _phone_rows(edition, count, gap, time_limit_s, tell)


def _phone_rows(edition: str, count: int, gap: float, time_limit_s: float | None, tell: Tell) -> Iterator[Row]:
    problem = phones_problem(edition, count)
    for where, method in METHODS.items():
        tell(f"{where}, {format_count(count, 'phone')}")
        solution = problem.solve(method, gap=gap, time_limit_s=time_limit_s)
        row: Row = {"edition": edition, "phones": count, "where": where, "method": method,
                    "status": solution.status.value, "message": "; ".join(solution.attempts), "variants": {},
                    "bound": math.nan if solution.bound is None else solution.bound,
                    **dict.fromkeys(("objective", "energy_j", "device_energy_j", "hallucination", "accuracy",
                                     "accessibility", "delay_s", "queue_s", "load", "offloaded", *CLASSES), math.nan)}
        if solution.diagnosis is not None:
            row["message"] = solution.diagnosis.text()
        costs, allocation = solution.costs, solution.allocation
        if costs is not None and allocation is not None:
            share = costs.share
            names = [problem.variant_names[k] if k >= 0 else "nothing" for k in allocation.variant]
            row |= {
                "objective": costs.objective, "energy_j": costs.mean_energy_j,
                "device_energy_j": float((share * costs.device_energy_j).sum()), "hallucination": costs.hallucination,
                "accuracy": costs.accuracy, "accessibility": costs.accessibility, "delay_s": costs.mean_delay_s,
                "queue_s": float((share * costs.queue_s).sum()), "load": float(costs.server_load[0]),
                "offloaded": costs.offloaded_share,
                "variants": {name: names.count(name) for name in dict.fromkeys(names)},
                **{name: float(costs.offloaded[:, c].mean()) for c, name in enumerate(CLASSES)},
            }
        yield row


def offloading_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The phones by who answers, for a page."""
    header = ["phones", "who answers", "energy", "of the phone", "halluc.", "accuracy", "access", "delay", "load",
              "offloaded", "objective", "variants"]
    cells = []
    for row in rows:
        if math.isnan(row["objective"]):
            cells.append([str(row["phones"]), row["where"], row["status"], *[""] * 9])
            continue
        sent = ", ".join(f"{name} {row[name]:.0%}" for name in CLASSES)
        kinds = ", ".join(f"{name} ({count})" for name, count in row["variants"].items())
        cells.append([str(row["phones"]), row["where"], format_si(row["energy_j"], "J"),
                      format_si(row["device_energy_j"], "J"), f"{row['hallucination']:.3f}", f"{row['accuracy']:.3f}",
                      f"{row['accessibility']:.0%}", format_time(row["delay_s"]), f"{row['load']:.0%}", sent,
                      f"{row['objective']:.4f}", kinds])
    return text_table(header, cells)


#: figure -> what computes its rows: (edition, gap, time limit, what to tell of progress)
ROWS: Final[Mapping[str, Callable[[str, float, float | None, Tell], Iterator[Row]]]] = {
    "strategies": strategy_rows, "server": strategy_rows, "offloading": offloading_rows,
    "sharing": sharing_rows,
}
#: figure -> the table that its page shows
TABLES: Final[Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]]] = {
    "strategies": strategy_table, "server": strategy_table, "offloading": offloading_table,
    "sharing": offloading_table,
}
