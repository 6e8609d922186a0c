"""The workflow of Zhang et al. (arXiv 2411.09148) as four calls: optimise, compile for a target, deploy, offload.

Each call takes what the one before it returned, and builds up a scenario that can be saved as a file:

>>> from edgealloc import workflow
>>> compact = workflow.optimise("llama3.2-1b", ["f16", "Q4_K_M"])
>>> compiled = workflow.compile_target(compact, "snapdragon-865-12gb", memory_share=0.2)
>>> compiled["llama3.2-1b-f16"].missing
'105 MB of memory'
>>> deployed = workflow.deploy(compiled)
>>> deployed.best
'llama3.2-1b-Q4_K_M'
>>> answer = workflow.offload(deployed, "a100-sxm-80gb", model="llama3.1-8b")
>>> answer.solution.bound <= answer.solution.objective
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgealloc.catalog import default_catalog
from edgealloc.errors import DataError, Fault, nearest
from edgealloc.scenarios.workflow_report import (
    Compiled,
    CompiledRow,
    Deployed,
    DeployedRow,
    Offloaded,
    OffloadedRow,
    Optimised,
    OptimisedRow,
)
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.core.solution import Solution
    from edgealloc.formulations.deployment.problem import Deployment

__all__ = [
    "CLASSES",
    "FORMATS",
    "Compiled",
    "CompiledRow",
    "Deployed",
    "DeployedRow",
    "Offloaded",
    "OffloadedRow",
    "Optimised",
    "OptimisedRow",
    "compile_target",
    "deploy",
    "offload",
    "optimise",
]

#: Formats that are tried where none are named.
FORMATS: Final = ("f16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
#: Queries where none are described: everyday questions, knowledge, and calculations in several steps.
CLASSES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "simple", "rate": "20/h", "prompt_tokens": 64, "answer_tokens": 48, "benchmark": "piqa"},
    {"name": "medium", "rate": "8/h", "prompt_tokens": 256, "answer_tokens": 128, "benchmark": "mmlu"},
    {"name": "complex", "rate": "3/h", "prompt_tokens": 512, "answer_tokens": 256, "benchmark": "gsm8k"},
)
_NOT_RATED: Final = "not rated yet"


def optimise(
    model: str | Sequence[str],
    formats: str | Sequence[str] = FORMATS,
    *,
    accuracy: float | Mapping[str, float] | None = None,
    hallucination: float | Mapping[str, float] | None = None,
    source: str = "",
    catalog: Mapping[str, Mapping[str, Any]] | None = None,
) -> Optimised:
    """Compact variants of a model: size, perplexity, accuracy by benchmark, and a proxy of the hallucination rate.

    Parameters
    ----------
    model : str or sequence of str
        Catalog names of base models or students.
    formats : str or sequence of str
        What is done to the weights: formats ("Q4_K_M"), methods and formats ("awq-int4-g128"), what is pruned
        ("wanda-2:4").
    accuracy, hallucination : float or mapping, optional
        Your own, in [0, 1], for every variant, or by class of queries; instead of the published ones.
    source : str
        Where they are from; without it they are told as assumptions.
    catalog : mapping, optional
        Your own entries, as [catalog] of a scenario file: ``{"models": {name: ...}, "devices": {name: ...}}``.

    Returns
    -------
    Optimised

    Raises
    ------
    DataError
        Unknown models or formats, with the nearest known ones; all faults at once.

    Examples
    --------
    >>> table = optimise("llama3.2-1b", ["Q8_0", "Q4_K_M"])
    >>> [(row.variant, round(row.size_bytes / 1e6)) for row in table]
    [('llama3.2-1b-Q8_0', 1313), ('llama3.2-1b-Q4_K_M', 800)]
    """
    from edgealloc.scenarios.deployment import facts

    known = default_catalog().extended(**(catalog or {}))
    faults: list[Fault] = []
    rows: list[OptimisedRow] = []
    tables: list[dict[str, Any]] = []
    models, labels = ([one] if isinstance(one, str) else list(one) for one in (model, formats))
    own = {key: value for key, value in (("accuracy", accuracy), ("hallucination", hallucination)) if value is not None}
    for name, given in (("model", models), ("formats", labels)):
        if not given:
            faults.append(Fault(name, "is empty; give at least one"))
    for name in dict.fromkeys(models):
        if name not in known.models:
            faults.append(Fault("model", f"'{name}' is not in the catalog; {nearest(str(name), known.models)}"))
            continue
        for label in dict.fromkeys(labels):
            try:
                compact = facts.compact(known.model(name), label)
            except DataError as error:
                faults += [Fault("formats", f"{fault.message}") for fault in error.faults]
                continue
            rows.append(_optimised(compact))
            tables.append({"model": name, "formats": [compact.label.text], **own})
    if faults:
        raise DataError(list(dict.fromkeys(faults)), "workflow.optimise")
    said = {f"variants.{key}": source or "given to workflow.optimise" for key in own}
    raw: dict[str, Any] = {"problem": "deployment", "version": 1, "variants": tables}
    if catalog is not None:
        raw["catalog"] = {section: dict(entries) for section, entries in catalog.items()}
    if said:
        raw["sources" if source else "assumptions"] = said
    return Optimised(tuple(rows), raw)


def _optimised(compact: Any) -> OptimisedRow:
    from edgealloc.scenarios.deployment import facts

    found = {name: facts.published(compact, "accuracy", name) for name in facts.BENCHMARKS}
    rate = facts.published(compact, "hallucination", "")
    perplexity = None if compact.perplexity is None else facts.known(compact.perplexity)
    all_of_them = {**found, "hallucination": rate, "perplexity": perplexity}
    return OptimisedRow(
        variant=compact.name,
        model=compact.base,
        format=compact.label.text,
        bits=compact.bits,
        size_bytes=compact.weight_bytes,
        perplexity=None if perplexity is None else perplexity.value,
        accuracy={name: None if one is None else one.value for name, one in found.items()},
        hallucination=None if rate is None else rate.value,
        sources={name: (one.mark, one.source) for name, one in all_of_them.items() if one is not None},
    )


def compile_target(
    optimised: Optimised,
    device: str | Mapping[str, int] | Sequence[Mapping[str, Any]],
    *,
    framework: str | None = None,
    memory_share: float | None = None,
    context: int = 1024,
) -> Compiled:
    """Which variants run on a device, with which software, in how much memory, how fast, with how much energy.

    Parameters
    ----------
    optimised : Optimised
        What :func:`optimise` returned.
    device : str, mapping or sequence of mapping
        A catalog name; ``{name: how many}``; or tables as [[devices]] of a scenario file, with all of its keys.
    framework : str, optional
        Software that answers, such as "llama.cpp-cpu"; the usual one of the class of device by default.
    memory_share : float, optional
        Share of the memory that a model may have; half by default, an assumption.
    context : int
        Tokens of prompt and answer that a device keeps room for.

    Returns
    -------
    Compiled
        Speeds are measured rows of the catalog where there are any, else by the roofline.

    Raises
    ------
    DataError
        Unknown names, numbers out of range; all faults at once, by the keys of a scenario file.
    """
    from edgealloc.scenarios.builders.deployment import group_answers, usable_bytes
    from edgealloc.scenarios.deployment.variants import longest_context, variants
    from edgealloc.scenarios.scenario import Scenario

    _require(optimised, Optimised, "optimise")
    given = {"framework": framework, "memory_share": memory_share}
    options = {key: value for key, value in given.items() if value is not None}
    raw = {**optimised.raw, "devices": [{**table, **options} for table in _device_tables(device)]}
    whole: Any = context
    if isinstance(whole, bool) or not isinstance(whole, int) or whole < 2:
        raise DataError([Fault("context", f"is {context!r}; give a whole number >= 2")], "workflow.compile_target")
    # how good answers are does not matter yet
    rated = [{**table, "accuracy": 0.0, "hallucination": 0.0} for table in raw["variants"]]
    said = {"variants.accuracy": _NOT_RATED, "variants.hallucination": _NOT_RATED}
    probe = {"name": "probe", "rate": 1.0, "prompt_tokens": context - 1, "answer_tokens": 1}
    scenario = Scenario.from_mapping(
        {**raw, "variants": rated, "classes": [probe], "assumptions": said}, source="workflow.compile_target"
    )
    document, catalog = scenario.document, scenario.catalog
    models = variants(document, catalog)
    rows: list[CompiledRow] = []
    for i, group in enumerate(document.devices):
        for entry, answers in group_answers(document, catalog, i, models):
            memory = float(entry.require("memory_bytes")) if group.memory is None else group.memory
            limit = usable_bytes(group, memory)
            for model, answer in zip(models, answers, strict=True):
                need = model.memory_bytes(longest_context(document.classes))
                short = need > limit
                missing = answer.reason or (f"{format_si(need - limit, 'B')} of memory" if short else "")
                speed = float("nan") if answer.reason else answer.tokens_per_s
                rows.append(CompiledRow(
                    variant=model.name, device=group.name or entry.name, runs=not missing, framework=answer.framework,
                    memory_bytes=need, limit_bytes=limit, tokens_per_s=speed,
                    joules_per_token=_joules(group.energy_per_token.get(model.name), answer.power_w, speed),
                    origin=answer.origin, source=answer.source, missing=missing,
                ))  # fmt: skip
    return Compiled(tuple(rows), raw)


def _joules(given: float | None, power_w: float, tokens_per_s: float) -> float:
    """Joules per token: measured, or power by speed."""
    return power_w / tokens_per_s if given is None else given


def _device_tables(device: str | Mapping[str, int] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(device, str):
        return [{"name": device, "device": device}]
    if isinstance(device, Mapping):
        return [{"name": name, "device": name, "count": count} for name, count in device.items()]
    return [dict(table) for table in device]


def deploy(
    compiled: Compiled,
    queries: Sequence[Mapping[str, Any]] | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    usable_speed: float | None = None,
) -> Deployed:
    """The four metrics of every variant on the devices: energy per query, hallucination, accuracy, accessibility.

    Parameters
    ----------
    compiled : Compiled
        What :func:`compile_target` returned.
    queries : sequence of mapping, optional
        Classes of queries from simple to complex, as [[classes]] of a scenario file; :data:`CLASSES` by default.
    weights : mapping, optional
        As [weights] of a scenario file: "delay", "energy", "hallucination", "accuracy", "accessibility".
    usable_speed : float, optional
        Token/s from which a variant counts as access; 5 by default.

    Returns
    -------
    Deployed
        Means are over the queries of those devices that run a variant; accessibility is over all of them.

    Raises
    ------
    DataError
        Faulty classes or weights, variants of which nobody has published how good they are.
    """
    from edgealloc.scenarios.scenario import Scenario

    _require(compiled, Compiled, "compile_target")
    raw: dict[str, Any] = {**compiled.raw, "classes": [dict(one) for one in (CLASSES if queries is None else queries)]}
    if weights is not None:
        raw["weights"] = dict(weights)
    if usable_speed is not None:
        raw["metrics"] = {"usable_speed": usable_speed}
    scenario = Scenario.from_mapping(raw, source="workflow.deploy")
    problem = scenario.deployment()
    rows = [_deployed(problem, v) for v in range(problem.variants)]
    able = [row for row in rows if np.isfinite(row.objective)]
    best = min(able, key=lambda row: row.objective).variant if able else ""
    return Deployed(tuple(rows), best, scenario)


def _deployed(problem: Deployment, v: int) -> DeployedRow:
    """A variant on all devices that can run it, without any server."""
    options = problem.options
    able = options.installable[:, 1 + v]
    share = np.where(able[:, None], problem.query_share, 0.0)
    access = float(options.accessible[:, 1 + v].mean())
    name = problem.variant_names[v]
    if not share.any():
        nan = float("nan")
        return DeployedRow(name, nan, nan, nan, access, nan, float("inf"))
    costs = options.local
    parts = (costs.energy_j, costs.hallucination, costs.accuracy, costs.answer_s, costs.cost)
    energy, hallucination, accuracy, delay, cost = (
        float((share * one[:, v, :]).sum() / share.sum()) for one in parts
    )
    objective = cost + problem.inaccessible_weight * (1.0 - access)
    return DeployedRow(name, energy, hallucination, accuracy, access, delay, objective)


def offload(
    evaluated: Deployed,
    server: str | Sequence[Mapping[str, Any]],
    *,
    model: str | None = None,
    format: str | None = None,
    uplink: float | str = "20 Mbit/s",
    downlink: float | str = "50 Mbit/s",
    network: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    gap: float = 1e-3,
    time_limit_s: float = 60.0,
) -> Offloaded:
    """Which queries go to an edge server, which variant every device gets, and what that gains.

    Parameters
    ----------
    evaluated : Deployed
        What :func:`deploy` returned.
    server : str or sequence of mapping
        A catalog name, or tables as [[servers]] of a scenario file.
    model, format : str, optional
        What a server given by its name answers with; the largest model of the variants, in half precision, by default.
    uplink, downlink : float or str
        Rates between devices and server, in bit/s or with a unit.
    network, limits : mapping, optional
        Further keys of [network] and [limits].
    gap, time_limit_s : float
        When the proof may stop.

    Returns
    -------
    Offloaded
        The proven answer, beside everything on the devices, and everything at the edge as far as it has room.

    Raises
    ------
    DataError
        Unknown names, numbers out of range.
    InfeasibleError
        No way to serve all queries, with what would mend it.
    """
    from edgealloc.scenarios.scenario import Scenario

    _require(evaluated, Deployed, "deploy")
    raw = evaluated.scenario.mapping()
    if isinstance(server, str):
        known = evaluated.scenario.catalog.models
        bases = {table["model"]: known[table["model"]].params for table in raw["variants"]}
        table: dict[str, Any] = {"device": server, "model": model or max(bases, key=lambda name: bases[name])}
        tables = [table if format is None else {**table, "format": format}]
    else:
        if model is not None or format is not None:
            raise DataError([Fault("model", "is given beside tables of servers, which name their own")],
                            "workflow.offload")  # fmt: skip
        tables = [dict(one) for one in server]
    raw |= {"servers": tables, "network": {"uplink": uplink, "downlink": downlink, **(network or {})}}
    if limits is not None:
        raw["limits"] = dict(limits)
    scenario = Scenario.from_mapping(raw, source="workflow.offload")
    problem = scenario.deployment()
    solution = problem.solve(gap=gap, time_limit_s=time_limit_s).require()
    rows = [_offloaded("offloading", solution)]
    rows += [_offloaded(method, problem.solve(method)) for method in ("device-only", "edge-only")]
    rollout, costs = solution.found()
    sent = np.where(costs.offloaded, costs.share, 0.0).sum(axis=0)
    asked = costs.share.sum(axis=0)
    chosen = [problem.variant_names[v] if v >= 0 else "" for v in rollout.variant.tolist()]
    return Offloaded(
        rows=tuple(rows),
        classes={name: float(sent[c] / asked[c]) for c, name in enumerate(problem.class_names) if asked[c] > 0.0},
        installed={name: chosen.count(name) for name in dict.fromkeys(chosen)},
        problem=problem,
        solution=solution,
        scenario=scenario,
    )


def _offloaded(name: str, solution: Solution[Any, Any]) -> OffloadedRow:
    costs = solution.costs
    if costs is None or solution.objective is None:
        return OffloadedRow(name, False, *[float("nan")] * 7)
    return OffloadedRow(
        name, True, costs.mean_energy_j, costs.hallucination, costs.accuracy, costs.accessibility, costs.mean_delay_s,
        costs.offloaded_share, solution.objective,
    )  # fmt: skip


def _require(given: Any, cls: type, maker: str) -> None:
    if not isinstance(given, cls):
        raise DataError(f"what workflow.{maker} returned is needed, not a {type(given).__name__}")
