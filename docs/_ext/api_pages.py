"""Pages of the API by topic: every public name of edgealloc, and the engines and models below it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from typing import Any, Final

from page_text import page

from edgealloc.reproduce.papers import PAPERS

__all__ = ["TOPICS", "Topic", "modules", "pages", "public_names"]


@dataclass(frozen=True)
class Topic:
    """One page: public names of edgealloc, and whole modules."""

    file: str
    title: str
    purpose: str
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


#: what `edgealloc figure` runs, one function per paper
_RUNS: Final = tuple(dict.fromkeys(paper.run for paper in PAPERS.values()))

TOPICS: Final[tuple[Topic, ...]] = (
    Topic(
        "problems", "Problems",
        "The four formulations as dataclasses of plain arrays, what all of them can do, and what they are made of.",
        ("SplitTraining", "PoolTraining", "FineTuning", "Deployment", "Topology", "Weights", "Stability"),
        ("edgealloc.core.problem", "edgealloc.core.constraints"),
    ),
    Topic(
        "solving", "Solving and comparing",
        "From a problem to answers: solutions with their bounds, comparisons, sweeps, Pareto fronts and ratios.",
        ("Solution", "Status", "Termination", "Diagnosis", "compare", "Comparison", "sweep", "Sweep", "pareto_front",
         "ParetoFront", "DeploymentFront", "service_cost_ratio", "ServiceCostRatio"),
        ("edgealloc.core.solution",),
    ),
    Topic(
        "answers", "Answers",
        "What a solution holds for each formulation: the allocation in SI units, and what it costs.",
        ("Allocation", "Costs", "Plan", "PoolCosts", "Assignment", "FineTuningCosts", "Rollout", "DeploymentCosts"),
    ),
    Topic(
        "scenarios", "Scenarios",
        "Files and generators of instances, from a TOML file with units to a problem in SI.",
        ("Scenario",), ("edgealloc.scenarios.generate", "edgealloc.scenarios.files"),
    ),
    Topic(
        "questions", "Questions",
        "Ready answers to what people ask: what fits, who takes part, what a fault means, how to roll out a model.",
        ("fits", "FitsReport", "plan_pool", "participants", "parallelisms", "arrangements", "PoolReport", "faults",
         "FaultReport", "workflow"),
        ("edgealloc.scenarios.workflow",),
    ),
    Topic(
        "methods", "Methods of your own",
        "What a method is, what it is given and what it hands back, and how to register one.",
        ("Method", "Outcome", "Run", "Progress", "register_method"), ("edgealloc.core.method", "edgealloc.core.run"),
    ),
    Topic(
        "catalog", "Catalog",
        "Devices, models, radio facts and published measurements with their sources.",
        ("Catalog", "default_catalog"),
        ("edgealloc.catalog", "edgealloc.catalog.tuning_facts", "edgealloc.catalog.compression_facts"),
    ),
    Topic(
        "errors", "Errors",
        "What edgealloc raises, and when.",
        ("EdgeallocError", "DataError", "InfeasibleError", "SolverError", "MissingDependencyError"),
    ),
    Topic(
        "system", "System models",
        "The physics and arithmetic beneath the formulations: radio, computing, memory, transformers, stability.",
        (), ("edgealloc.system",),
    ),
    Topic(
        "solvers", "Engines",
        "General solvers that know nothing of edges or models: prices, choices, bundle, fractional programs, MILP.",
        (), ("edgealloc.solvers",),
    ),
    Topic(
        "reproduce", "Papers",
        "The entry points that draw the figures of a paper.",
        (), ("edgealloc.reproduce.papers", "edgealloc.reproduce.results", "edgealloc.reproduce.trend", *_RUNS),
    ),
    Topic(
        "units", "Units",
        "Quantities with units to SI numbers, and back to texts for people.",
        (), ("edgealloc.units",),
    ),
)  # fmt: skip


def public_names() -> list[str]:
    """What `edgealloc.__all__` has, without the version."""
    import edgealloc

    return [name for name in edgealloc.__all__ if name != "__version__"]


def modules(topic: Topic) -> list[str]:
    """The modules of a topic that say what is public in them; of a package that does not, those inside.

    "module:name" stays as it is.
    """
    found: list[str] = []
    for name in topic.modules:
        if ":" in name:
            found.append(name)
            continue
        module = importlib.import_module(name)
        inner = [one.name for one in pkgutil.iter_modules(getattr(module, "__path__", []))]
        if getattr(module, "__all__", ()):  # a package that shows what it has shows all that is for others
            found.append(name)
        else:
            found += modules(Topic("", "", "", (), tuple(f"{name}.{one}" for one in inner)))
    return found


def _directive(name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :show-inheritance:" if _has_own_base(thing) else f".. autoclass:: {name}"
    if inspect.isroutine(thing):
        return f".. autofunction:: {name}"
    return f".. autodata:: {name}\n   :no-value:"


def _has_own_base(thing: type) -> bool:
    return any(base.__module__.startswith("edgealloc") for base in thing.__bases__)


def _block(names: list[tuple[str, Any]]) -> str:
    listed = "\n".join(f"   {name}" for name, _ in names)
    summary = f".. autosummary::\n   :nosignatures:\n\n{listed}\n\n" if listed else ""
    return "```{eval-rst}\n" + summary + "\n\n".join(_directive(*one) for one in names) + "\n```"


def _first_paragraph(module: Any) -> str:
    text = inspect.cleandoc(module.__doc__ or "")
    text = re.sub(r"^(\w[\w ]*)\n-{3,}$", r"**\1**\n", text, flags=re.MULTILINE)  # its sections are not ours
    return "```{eval-rst}\n" + text + "\n```"


def _key(thing: Any, name: str) -> Any:
    return id(thing) if inspect.isclass(thing) or inspect.isroutine(thing) else (name.rpartition(".")[2], id(thing))


def documented() -> dict[str, list[tuple[str, list[tuple[str, Any]]]]]:
    """Page -> (module, (name, object) of what is documented there); every object once, public names first."""
    import edgealloc

    seen: set[Any] = set()
    result: dict[str, list[tuple[str, list[tuple[str, Any]]]]] = {topic.file: [] for topic in TOPICS}
    for topic in TOPICS:
        things = [(f"edgealloc.{name}", getattr(edgealloc, name)) for name in topic.names]
        own = [(name, thing) for name, thing in things if not inspect.ismodule(thing)]
        seen |= {_key(thing, name) for name, thing in own}
        if own:
            result[topic.file].append(("edgealloc", own))
    for topic in TOPICS:
        for module_name in modules(topic):
            module_name, _, only = module_name.partition(":")  # noqa: PLW2901
            module = importlib.import_module(module_name)
            own = []
            for name in [only] if only else module.__all__:
                thing = getattr(module, name)
                key = _key(thing, name)
                if key not in seen and not inspect.ismodule(thing):
                    seen.add(key)
                    own.append((f"{module_name}.{name}", thing))
            if own:
                result[topic.file].append((module_name, own))
    return result


def pages() -> dict[str, str]:
    """The pages of all topics by their paths, and the table of them."""
    made: dict[str, str] = {}
    content = documented()
    for topic in TOPICS:
        parts: list[str] = []
        for module_name, own in content[topic.file]:
            if module_name != "edgealloc":
                module = importlib.import_module(module_name)
                parts += [f"## {module_name.removeprefix('edgealloc.')}", _first_paragraph(module)]
            parts.append(_block(own))
        made[f"reference/api/{topic.file}.md"] = page(topic.title, topic.purpose, *parts)
    rows = [f"- [{topic.title}]({topic.file}.md): {topic.purpose[0].lower()}{topic.purpose[1:]}" for topic in TOPICS]
    files = "\n".join(topic.file for topic in TOPICS)
    made["reference/api/index.md"] = page(
        "API",
        "Every public name of the library, by topic.",
        "`import edgealloc as ea` gives all names of the first eight pages; nothing heavy is loaded before it is used.",
        "\n".join(rows),
        f"```{{toctree}}\n:hidden:\n\n{files}\n```",
        "## Every public name",
        "```{eval-rst}\n.. autosummary::\n   :nosignatures:\n\n"
        + "\n".join(f"   edgealloc.{name}" for name in public_names())
        + "\n```",
    )
    return made
