"""Pages that are written from the code when the site is built: command line, scenario files, symbols, API.

They are never committed, so they cannot say anything else than the code does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["MEASURED", "generated_pages", "measured_head", "setup", "write_folder"]

DOCS: Final = Path(__file__).resolve().parents[1]
#: table of docs/benchmarks -> its script, what it answers. Tables have neither title nor purpose of their own.
MEASURED: Final[dict[str, tuple[str, str, str]]] = {
    "certificate": ("certificate", "Gaps and times of the certificate", "How small a gap is proven, how fast and with how much memory"),
    "choices": ("choices", "Choosing one option each", "How the engine of fine-tuning and deployment compares with a MILP solver by size"),
    "deployment": ("deployment", "Deployment by size", "How small a gap is proven for fleets that answer, and how fast"),
    "interior_cuts": ("interior_cuts", "Where the cuts lie", "How many users are cut in the middle, and what each simple rule loses"),
    "large_pools": ("pool_methods", "Large pools: methods", "How far each method is from the bound with 50 devices and 80 layers"),
    "large_pools_certificate": ("pool_methods", "Large pools: the certificate", "Which gap is proven with 50 devices and 80 layers"),
    "method_times": ("methods", "Split training: times of methods", "How long each method takes, and when the certificate is there"),
    "methods": ("methods", "Split training: methods", "How far each method is from the best proven bound"),
    "never_below": ("never_below", "Never below a bound", "Whether any method was ever below a bound that was proven"),
    "pools": ("pool_methods", "Pools: methods", "How far each method is from the bound on random pools"),
    "pools_certificate": ("pool_methods", "Pools: the certificate", "Which gap is proven on random pools, by network and size"),
    "proof": ("proof", "Branch and bound", "Which instances are proven optimal within a minute, with every kind of limit"),
    "resources": ("resources", "Exact resources against a cone solver", "How fast and how exact shares of one association are"),
}  # fmt: skip


def generated_pages() -> dict[str, str]:
    """Path below docs -> text, of every generated page of the reference."""
    import api_pages
    import cli_page
    import scenario_pages
    import symbol_page

    return {**cli_page.pages(), **scenario_pages.pages(), **symbol_page.pages(), **api_pages.pages(), **_measured()}


def measured_head(name: str) -> str:
    """Title and purpose of a table of docs/benchmarks."""
    script, title, question = MEASURED.get(name, (name, name.replace("_", " ").capitalize(), "What was measured"))
    return f"# {title}\n\n*{question}: the table that `python benchmarks/{script}.py` writes.*\n\n"


def _measured() -> dict[str, str]:
    from markdown import page

    names = sorted(path.stem for path in (DOCS / "benchmarks").glob("*.md"))
    rows = []
    for name in names:
        _, title, question = MEASURED.get(name, (name, name.replace("_", " ").capitalize(), "What was measured"))
        rows.append(f"- [{title}](../benchmarks/{name}.md): {question[0].lower()}{question[1:]}")
    files = "\n".join(f"../benchmarks/{name}" for name in names)
    text = page(
        "Measured tables",
        "Gaps, times and memory, each table written by one script that can be run again.",
        "The machine is the one that the pages name: two cores. Times on another differ; gaps hardly do.",
        "\n".join(rows),
        f"```{{toctree}}\n:hidden:\n\n{files}\n```",
    )
    return {"reference/measured.md": text}


def _put_head(app: Any, docname: str, source: list[str]) -> None:
    del app
    folder, _, name = docname.rpartition("/")
    if folder == "benchmarks" and not source[0].startswith("#"):
        source[0] = measured_head(name) + source[0]


def _own_bases(app: Any, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Of the classes that a class is built on only ours and exceptions say something."""
    del app, name, obj, options
    kept = [
        one
        for one in bases
        if isinstance(one, type) and (one.__module__.startswith("edgealloc") or issubclass(one, Exception))
    ]
    bases[:] = kept or [object]


def write_folder(docs: Path, pages: Mapping[str, str], folder: str) -> None:
    """Write pages where their text changed; pages of `folder` that are no longer made are removed."""
    for old in sorted((docs / folder).rglob("*.md")) if folder else ():
        if old.relative_to(docs).as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _write(app: Any) -> None:
    pages = generated_pages()
    write_folder(Path(app.srcdir), {name: text for name, text in pages.items() if "/api/" in name}, "reference/api")
    write_folder(Path(app.srcdir), {name: text for name, text in pages.items() if "/api/" not in name}, "")


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", _write, priority=200)
    app.connect("source-read", _put_head)
    app.connect("autodoc-process-bases", _own_bases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
