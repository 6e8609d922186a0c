"""The page of symbols: fields and limits of every formulation, from the tables that check them."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any, Final

from page_text import cell, page, table

__all__ = ["allowed", "field_rows", "latex", "limit_rows", "pages"]

_GREEK: Final = (
    "alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho",
    "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi",
    "Psi", "Omega",
)  # fmt: skip
#: formulation -> (title, page with its model)
TITLES: Final[dict[str, tuple[str, str]]] = {
    "split-training": ("Split training", "split_training.md"),
    "pool-training": ("Pool training", "pool_training.md"),
    "fine-tuning": ("Fine-tuning", "fine_tuning.md"),
    "deployment": ("Deployment", "deployment.md"),
}


def latex(symbol: str) -> str:
    """A symbol of the tables as a formula: "kappa_n" is kappa with the index n, "P_idle" has a word below."""

    def part(text: str, below: bool = False) -> str:
        if text in _GREEK:
            return f"\\{text}"
        if len(text) == 1 or (below and len(text) <= 3 and text not in ("min", "max", "up", "tx", "pa", "dev")):
            return text
        return f"\\mathrm{{{text}}}"

    def one(match: re.Match[str]) -> str:
        base, index = match[1], match[2]
        return part(base) + (f"_{{{part(index, below=True)}}}" if index else "")

    return re.sub(r"([A-Za-z]+)(?:_([A-Za-z0-9]+))?", one, symbol).replace(" ", "\\,")


def allowed(field: Any) -> str:
    """The range of a field in words."""
    low = f"{'(' if field.open_low else '['}{field.low:g}"
    high = f"{field.high:g}]" if math.isfinite(field.high) else "∞]" if field.endless else "∞)"
    return f"{'whole, ' if field.integer else ''}{low}, {high}"


def _default(field: Any) -> str:
    if field.optional:
        return "none"
    return "**required**" if field.default is None else f"`{field.default:g}`"


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit.replace("*", "·")


def tables_of(kind: str) -> Any:
    """The module with the symbol table of a formulation."""
    return importlib.import_module(f"edgealloc.formulations.{kind.replace('-', '_')}.validate")


def field_rows(kind: str) -> list[list[str]]:
    """Name and symbol, meaning, unit, shape, range and default of every field."""
    module = tables_of(kind)
    return [
        [
            f"`{one.name}`" + (f" ${latex(one.symbol)}$" if one.symbol else ""),
            cell(one.text + (f" ({one.hint})" if one.hint else "")),
            _unit(one.unit),
            cell(module.AXES.get(one.shape, one.shape) if one.shape != "scalar" else "a number"),
            cell(allowed(one)),
            _default(one),
        ]
        for one in module.FIELDS
    ]


def limit_rows(kind: str) -> list[list[str]]:
    """Name, limit, unit of a violation and of a price, of every limit."""
    from edgealloc.core.kinds import problem_class

    return [
        [f"`{one.name}`", f"`{one.formula}`".replace("|", "\\|"), _unit(one.unit), _price(one)]
        for one in problem_class(kind).CONSTRAINTS
    ]


def _price(limit: Any) -> str:
    if not limit.priced:
        return ""
    return "objective" if limit.unit == "1" else f"objective per {_unit(limit.unit)}"


def _others(kind: str) -> list[list[str]]:
    module = tables_of(kind)
    rows = [[f"`{name}`", "true or false", cell(text)] for name, text in getattr(module, "FLAGS", {}).items()]
    rows += [[f"`{name}`", "whole number >= 1", ""] for name in getattr(module, "COUNTS", ())]
    for name, words in getattr(module, "CHOICES", {}).items():
        rows.append([f"`{name}`", " or ".join(f'`"{word}"`' for word in words), ""])
    rows += [[f"`{name}`", "names", f"of every {what}"] for name, what in getattr(module, "NAMES", {}).items()]
    return rows


def _section(kind: str) -> str:
    from edgealloc.core.kinds import problem_class

    title, where = TITLES[kind]
    name = problem_class(kind).__name__
    parts = [
        f"## {title}",
        f"Fields of {{py:class}}`edgealloc.{name}`; [the model](../{where}) says how they enter.",
        table(["field", "meaning", "unit", "shape", "range", "default"], field_rows(kind)),
    ]
    others = _others(kind)
    if others:
        parts.append(table(["other field", "value", "meaning"], others))
    parts += [
        f"### Limits of {title.lower()}",
        table(["name", "limit", "violation in", "price"], limit_rows(kind)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts)


def pages() -> dict[str, str]:
    """The page of symbols by its path."""
    from edgealloc.core.kinds import KINDS

    intro = (
        "Everything is in SI units: hertz, watts, seconds, joules, bytes, FLOP. A number stands for every user, "
        "device, server or link; an array has the shape given here. `none` means that there is no such limit; ∞ "
        "within a range means the same for single entries. `solution.violations` tells violations of limits in "
        "their units; a price, in `solution.prices` and `solution.bound_prices`, is what the objective gains per unit "
        "by which a limit is moved."
    )
    text = page(
        "Symbols and limits",
        "Symbol, name, unit, shape and range of every field of the four formulations, and their limits and prices, "
        "written from the tables that the library checks against.",
        intro,
        *(_section(kind) for kind in KINDS),
    )
    return {"reference/symbols.md": text}
