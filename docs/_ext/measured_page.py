"""Tables of ``docs/benchmarks`` as pages: their titles and purposes, and the page that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from page_text import page

__all__ = ["MEASURED", "head", "pages"]

_TABLES: Final = Path(__file__).resolve().parents[1] / "benchmarks"

#: table -> the script that writes it, title, what it answers
MEASURED: Final[dict[str, tuple[str, str, str]]] = {
    "certificate": (
        "certificate",
        "Gaps and times of the certificate",
        "How small a gap is proven, how fast and with how much memory",
    ),
    "choices": (
        "choices",
        "Choosing one option each",
        "How the engine of fine-tuning and deployment compares with a MILP solver by size",
    ),
    "deployment": (
        "deployment",
        "Deployment by size",
        "How small a gap is proven for fleets that answer, and how fast",
    ),
    "interior_cuts": (
        "interior_cuts",
        "Where the cuts lie",
        "How many users are cut in the middle, and what each simple rule loses",
    ),
    "large_pools": (
        "pool_methods",
        "Large pools: methods",
        "How far each method is from the bound with 50 devices and 80 layers",
    ),
    "large_pools_certificate": (
        "pool_methods",
        "Large pools: the certificate",
        "Which gap is proven with 50 devices and 80 layers",
    ),
    "method_times": (
        "methods",
        "Split training: times of methods",
        "How long each method takes, and when the certificate is there",
    ),
    "methods": ("methods", "Split training: methods", "How far each method is from the best proven bound"),
    "never_below": ("never_below", "Never below a bound", "Whether any method was ever below a bound that was proven"),
    "pools": ("pool_methods", "Pools: methods", "How far each method is from the bound on random pools"),
    "pools_certificate": (
        "pool_methods",
        "Pools: the certificate",
        "Which gap is proven on random pools, by network and size",
    ),
    "proof": (
        "proof",
        "Branch and bound",
        "Which instances are proven optimal within a minute, with every kind of limit",
    ),
    "resources": (
        "resources",
        "Exact resources against a cone solver",
        "How fast and how exact shares of one association are",
    ),
}


def _about(name: str) -> tuple[str, str, str]:
    return MEASURED.get(name, (name, name.replace("_", " ").capitalize(), "What was measured"))


def head(name: str) -> str:
    """Title and purpose of a table, which has neither of its own."""
    script, title, question = _about(name)
    return f"# {title}\n\n*{question}: the table that `python benchmarks/{script}.py` writes.*\n\n"


def pages() -> dict[str, str]:
    """The page that lists all tables, by its path."""
    names = sorted(path.stem for path in _TABLES.glob("*.md"))
    rows = []
    for name in names:
        _, title, question = _about(name)
        rows.append(f"- [{title}](../benchmarks/{name}.md): {question[0].lower()}{question[1:]}")
    files = "\n".join(f"../benchmarks/{name}" for name in names)
    text = page(
        "Measured tables",
        "Gaps, times and memory, each table written by one script that can be run again.",
        "Two cores of one machine. Times on another differ; gaps hardly do.",
        "\n".join(rows),
        f"```{{toctree}}\n:hidden:\n\n{files}\n```",
    )
    return {"reference/measured.md": text}
