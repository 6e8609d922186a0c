"""The rows of the figures: memory, what fits, time and energy to a target, published rows, a fleet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgealloc.catalog import default_catalog
from edgealloc.catalog.tuning_facts import memory_errors, published_models, step_time_rows
from edgealloc.core.tables import text_table
from edgealloc.reproduce.dong_2024.settings import (
    DEVICES,
    FLEET,
    METHODS,
    PREFERENCE,
    TARGET,
    WORKLOADS,
    usable_bytes,
)
from edgealloc.scenarios.scenario import Scenario
from edgealloc.system.tuning import (
    TUNING_METHODS,
    inference_memory,
    message_bytes,
    not_applicable,
    trainable_params,
    tuning_memory,
    tuning_step_flops,
)
from edgealloc.units import format_si

__all__ = ["INFERENCE", "PUBLISHED_HEADER", "ROWS", "TABLES", "Row", "published_cells", "published_table"]

#: Tokens of the texts of which step times were published, on average (MeZO, Table 22).
MULTIRC_TOKENS: Final = 400
#: Parts of the published memory that are judged.
_WHOLE: Final = ("total", "weights+optimizer")
_SOURCES: Final = {"mezo": "MeZO", "lomo": "LOMO", "galore": "GaLore", "badam": "BAdam", "qlora": "QLoRA",
                   "llamafactory": "LLaMA-Factory"}

Row = dict[str, Any]
Tell = Callable[[str], None]

#: Name of the row of inference among the methods.
INFERENCE: Final = "inference"


def memory_rows(edition: str, models: Sequence[str], gap: float, time_limit_s: float | None, tell: Tell
                ) -> Iterator[Row]:
    """Peak memory by component of every method and of inference, for every model."""
    del gap, time_limit_s
    workload = WORKLOADS[edition]
    for name in models:
        tell(name)
        entry = default_catalog().model(name)
        shape = entry.transformer()
        base = inference_memory(shape, "bf16", workload.batch, workload.tokens, family=entry.family)
        for method in (INFERENCE, *METHODS):
            tuning = TUNING_METHODS.get(method)
            reason = "" if tuning is None else not_applicable(shape, tuning)
            row: Row = {"edition": edition, "model": name, "params": entry.params, "method": method, "reason": reason,
                        "total_bytes": math.nan, "over_inference": math.nan}
            if not reason:
                memory = base if tuning is None else tuning_memory(
                    shape, tuning, workload.batch, workload.tokens, family=entry.family)
                row |= {
                    "total_bytes": float(memory.total_bytes),
                    "over_inference": float(memory.total_bytes) / float(base.total_bytes),
                    "trained_params": 0 if tuning is None else trainable_params(shape, tuning, entry.family),
                    **{f"{part}_bytes": float(np.max(size)) for part, size in memory.parts().items()},
                }
            yield row


def matrix_rows(edition: str, models: Sequence[str], gap: float, time_limit_s: float | None, tell: Tell
                ) -> Iterator[Row]:
    """For every model and device whether inference and each of `PREFERENCE` fit, and the best that does."""
    del gap, time_limit_s
    workload = WORKLOADS[edition]
    for name in models:
        tell(name)
        entry = default_catalog().model(name)
        shape = entry.transformer()
        size = {INFERENCE: float(inference_memory(shape, "bf16", workload.batch, workload.tokens,
                                                  family=entry.family).total_bytes)}
        for method in PREFERENCE:
            tuning = TUNING_METHODS[method]
            size[method] = math.inf if not_applicable(shape, tuning) else float(tuning_memory(
                shape, tuning, workload.batch, workload.tokens, family=entry.family).total_bytes)
        for device in DEVICES:
            usable = usable_bytes(device)
            fitting = {method: needs <= usable for method, needs in size.items()}
            best = next((method for method in PREFERENCE if fitting[method]), "")
            yield {
                "edition": edition, "model": name, "params": entry.params, "device": device, "usable_bytes": usable,
                "best": best, "memory_bytes": size[best] if best else min(size[one] for one in PREFERENCE),
                **{f"fits_{method}": fits for method, fits in fitting.items()},
            }


def target_rows(edition: str, models: Sequence[str], gap: float, time_limit_s: float | None, tell: Tell
                ) -> Iterator[Row]:
    """Time, energy, memory and messages to a target on one device, whether or not its memory suffices."""
    del models, gap, time_limit_s
    workload, target = WORKLOADS[edition], TARGET
    entry, device = default_catalog().model(target.model), default_catalog().device(target.device)
    shape = entry.transformer()
    rate = target.utilisation * device.flops_per_s
    for method in target.methods:
        tell(method)
        tuning = TUNING_METHODS[method]
        count = target.steps(tuning.order)
        batch = workload.batch * target.larger(tuning.order)
        flops = count * float(tuning_step_flops(shape, tuning, batch, workload.tokens, family=entry.family))
        message = message_bytes(shape, tuning, math.ceil(count / target.rounds), entry.family)
        sending = 2.0 * 8.0 * target.rounds * message / target.rate_bps
        memory = float(tuning_memory(shape, tuning, batch, workload.tokens, family=entry.family).total_bytes)
        seconds = flops / rate
        yield {
            "edition": edition, "model": target.model, "device": target.device, "method": method,
            "order": tuning.order, "batch": batch, "steps": count, "flops": flops, "compute_s": seconds,
            "federation_s": sending, "time_s": seconds + sending,
            "energy_j": seconds * float(device.require("power_w")), "memory_bytes": memory,
            "message_bytes": message, "federation_bytes": target.rounds * message,
            "fits": memory <= usable_bytes(target.device),
        }


def published_rows(edition: str, models: Sequence[str], gap: float, time_limit_s: float | None, tell: Tell
                   ) -> Iterator[Row]:
    """Published memory beside the model's with the error of each, and published steps by their share of the peak rate.

    Nothing is fitted. `whole` marks rows that are judged: of a table with components only its totals.
    """
    del edition, models, gap, time_limit_s
    tell("memory")
    for check in memory_errors():
        row = check.row
        yield {
            "quantity": "memory", "name": row.name, "source_name": _short(row.name), "source": row.source,
            "mark": row.confidence, "model": row.model, "method": row.method, "label": row.label, "part": row.part,
            "gpus": row.gpus, "batch": row.batch, "tokens": row.tokens, "whole": row.part in _WHOLE,
            "published_gb": check.published_gb, "model_gb": check.model_gb, "error": check.error_percent / 100.0,
        }
    tell("step times")
    for step in step_time_rows():
        entry = published_models()[step.model]
        flops = float(tuning_step_flops(entry.transformer(), TUNING_METHODS[step.method], step.batch, MULTIRC_TOKENS,
                                        family=entry.family))
        peak = default_catalog().device(step.device).flops_per_s
        yield {
            "quantity": "step", "name": step.name, "source_name": _short(step.name), "source": step.source,
            "mark": step.confidence, "model": step.model, "method": step.method, "gpus": step.gpus, "batch": step.batch,
            "tokens": MULTIRC_TOKENS, "whole": True, "seconds_per_step": step.seconds_per_step,
            "share_of_peak": flops / (step.seconds_per_step * step.gpus * peak),
        }


def _short(name: str) -> str:
    return _SOURCES.get(name.partition("-")[0], name)


def published_table(rows: Sequence[Mapping[str, Any]], whole: bool = True) -> str:
    """Published rows beside the model, for a page; by default without the components of tables that have totals."""
    shown = [row for row in rows if row["quantity"] == "memory" and (row["whole"] or not whole)]
    memory = text_table(PUBLISHED_HEADER, published_cells(shown))
    steps = text_table(["source", "model", "method", "batch", "GPUs", "s a step", "share of peak"], [
        [row["source_name"], row["model"], row["method"], str(row["batch"]), str(row["gpus"]),
         f"{row['seconds_per_step']:g}", f"{row['share_of_peak']:.1%}"] for row in rows if row["quantity"] == "step"])
    return f"{memory}\n\n{steps}"


#: Columns of the table of published memory.
PUBLISHED_HEADER: Final = ("source", "model", "method", "what", "GPUs", "published GB", "model GB", "error")


def published_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Cells of the table of published memory; rows from memory are marked with a star."""
    return [[f"{row['source_name']}{'*' if row['mark'] == 'recall' else ''}", row["model"], row["method"], row["part"],
             str(row["gpus"]), f"{row['published_gb']:g}", f"{row['model_gb']:.3g}", f"{100.0 * row['error']:+.0f} %"]
            for row in rows]


def fleet_rows(edition: str, models: Sequence[str], gap: float, time_limit_s: float | None, tell: Tell
               ) -> Iterator[Row]:
    """A random fleet by every quick method: objective, bound, and how many jobs it trains how and where."""
    del edition, models
    jobs, servers, seed = FLEET
    problem = Scenario.random_fleet(jobs, servers, seed=seed).problem()
    names = [name for name, method in problem.methods().items() if not method.slow]
    solutions = []
    for name in names:
        tell(name)
        solutions.append(problem.solve(name, gap=gap, time_limit_s=time_limit_s))
    bound = max((one.bound for one in solutions if one.bound is not None), default=math.nan)
    for solution in solutions:
        row: Row = {"method": solution.method, "count": jobs, "status": solution.status.value, "bound": bound,
                    "objective": math.nan, "over_bound": math.nan, "gap": math.nan, "mean_delay_s": math.nan,
                    "total_energy_j": math.nan, "mean_quality": math.nan, "on_device": math.nan, "jobs": {},
                    "message": "; ".join(solution.attempts)}
        costs, allocation = solution.costs, solution.allocation
        if costs is not None and allocation is not None:
            placed: dict[str, dict[str, int]] = {}
            for k, place in zip(allocation.method, allocation.place, strict=True):
                mine = placed.setdefault(problem.method_names[k], {"device": 0, "server": 0})
                mine["device" if place < 0 else "server"] += 1
            row |= {"objective": costs.objective, "over_bound": costs.objective / bound, "jobs": placed,
                    "gap": math.nan if solution.gap is None else solution.gap, "mean_delay_s": costs.mean_delay_s,
                    "total_energy_j": costs.total_energy_j, "mean_quality": costs.mean_quality,
                    "on_device": costs.on_device}
        yield row


def fleet_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The fleet by method of allocation, for a page."""
    header = ["method", "objective", "over bound", "mean time s", "energy", "quality", "on devices", "status"]
    return text_table(header, [[
        row["method"],
        *(["-"] * 6 if math.isnan(row["objective"]) else [
            f"{row['objective']:.6g}", f"{row['over_bound']:.4f}", f"{row['mean_delay_s']:.4g}",
            format_si(row["total_energy_j"], "J"), f"{row['mean_quality']:.3f}", f"{row['on_device']:.0%}"]),
        row["status"]] for row in rows])


#: figure -> what computes its rows: (edition, models, gap, time limit, what to tell of progress)
ROWS: Final[Mapping[str, Callable[[str, Sequence[str], float, float | None, Tell], Iterator[Row]]]] = {
    "memory": memory_rows,
    "fits": matrix_rows,
    "target": target_rows,
    "published": published_rows,
    "fleet": fleet_rows,
}
#: figure -> the table that its page shows
TABLES: Final[Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]]] = {
    "published": published_table, "fleet": fleet_table,
}
