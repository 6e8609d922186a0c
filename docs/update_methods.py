"""Write the generated parts of docs/methods/*.md anew: who a method is, and what was measured of it.

    python docs/update_methods.py           write
    python docs/update_methods.py --check   only say what differs; exit status 1 if anything does

Blocks stand between ``<!-- ... -->`` and ``<!-- end -->``:

``method:KIND/NAME``
    The head of a method, from its kind's METHODS and the table of citations.
``summaries:KIND/NAME,NAME,...``
    A table of several methods of one kind.
``all-methods``
    Every method of every kind, with the page that describes it.
``pages``
    The toctree of all pages of methods.
``rows:TABLE``, ``rows:TABLE COLUMN=VALUE ...``
    The table docs/benchmarks/TABLE.md, or the rows of it where columns have these values.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgealloc.core.citations import SOFTWARE, references
from edgealloc.core.kinds import KINDS, problem_class
from edgealloc.core.method import Method
from edgealloc.core.tables import markdown_table

DOCS = Path(__file__).resolve().parent
PAGES = DOCS / "methods"
BLOCK = re.compile(r"(<!-- (method:|summaries:|all-methods|pages|rows:)([^>]*?) ?-->\n).*?(<!-- end -->)", re.DOTALL)
#: The page of each kind's model.
MODELS = {"split-training": "split_training", "pool-training": "pool_training", "fine-tuning": "fine_tuning",
          "deployment": "deployment"}


def find(kind: str, name: str) -> Method:
    """A built-in method."""
    return {one.name: one for one in problem_class(kind).METHODS}[name]


def described() -> dict[tuple[str, str], str]:
    """(kind, method) -> the page and anchor where its head stands."""
    places: dict[tuple[str, str], str] = {}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for kind, name in re.findall(r"<!-- method:([\w-]+)/([\w-]+) -->", text):
            alone = text.count("<!-- method:") == 1
            places[kind, name] = page.name if alone else f"{page.name}#{name}"
    return places


def reference(method: Method) -> str:
    """Where it is from; pages of these documents as links."""
    page = re.fullmatch(r"docs/([\w.]+\.md)", method.reference)
    if page is not None:
        said = "the page of the proof" if page[1] == "certificate.md" else "the page of the model"
        return f"[{said}](../{page[1]})"
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", method.reference)


def cited(method: Method) -> str:
    """The works that its citation prints, marked where the entry is from memory."""
    works = references(method.cites or (SOFTWARE,))
    lines = "; ".join(one.line + (" (entry from memory)" if one.from_memory else "") for one in works)
    others = [one for kind in KINDS for one in problem_class(kind).METHODS if one.name == method.name]
    more = {key for one in others for key in one.cites} - set(method.cites)
    return lines + (". It prints what methods of this name rest on in other kinds of problem, too" if more else "")


def head(kind: str, name: str) -> str:
    """The head of a method."""
    method = find(kind, name)
    default = problem_class(kind).DEFAULT_METHOD
    module = str(method.run).split(":")[0].replace(".", "/") + ".py"
    rows = [
        ["kind of problem", f"`{kind}` ([the model](../{MODELS[kind]}.md))"],
        ["call", f'`problem.solve("{name}")`' + (", the default" if name == default else "")],
        ["in one line", method.summary],
        ["proves", "a lower bound" if method.proves else "nothing: `bound` and `gap` are None"],
        ["in `compare` by default", "no, name it" if method.slow else "yes"],
        ["needs", ", ".join(method.needs) or "nothing beyond edgealloc's dependencies"],
        ["from", reference(method)],
        ["cite", f"`edgealloc cite {name}`: {cited(method)}"],
        ["code", f"[{module}](../../{module})"],
    ]
    return markdown_table([f"`{name}`", ""], rows)


def summaries(kind: str, names: str) -> str:
    """Several methods of a kind."""
    methods = [find(kind, name) for name in names.split(",")]
    rows = [[f"[`{one.name}`](#{one.name})", one.summary, "no" if one.slow else "yes", reference(one)]
            for one in methods]
    return markdown_table(["method", "in one line", "in `compare`", "from"], rows)


def all_methods() -> str:
    """Every method, with its page."""
    places = described()
    tables = []
    for kind in KINDS:
        rows = [[f"[`{one.name}`]({places.get((kind, one.name), '')})", one.summary,
                 "a lower bound" if one.proves else "", "" if one.slow else "yes"]
                for one in problem_class(kind).METHODS]
        tables.append(f"### {kind}\n\n" + markdown_table(["method", "in one line", "proves", "in `compare`"], rows))
    return "\n\n".join(tables)


def pages() -> str:
    """The toctree: kinds in their order, and of each the pages in the order of its methods."""
    names = [place.split("#")[0].removesuffix(".md") for place in described().values()]
    order = [place.split("#")[0].removesuffix(".md") for kind in KINDS for one in problem_class(kind).METHODS
             if (place := described().get((kind, one.name)))]
    lines = list(dict.fromkeys([*order, *names]))
    return "\n".join(["```{toctree}", ":hidden:", "", *lines, "```"])


def measured(text: str) -> str:
    """A benchmark's table, or some rows of it, without the columns that were asked for."""
    name, *wanted = text.split()
    lines = (DOCS / "benchmarks" / f"{name}.md").read_text(encoding="utf-8").strip().splitlines()
    cells = [[one.strip() for one in line.strip().strip("|").split("|")] for line in lines]
    header, rule, rows = cells[0], cells[1], cells[2:]
    for one in wanted:
        column, value = one.split("=", 1)
        at = header.index(column)
        rows = [row[:at] + row[at + 1:] for row in rows if row[at] == value]
        header, rule = header[:at] + header[at + 1:], rule[:at] + rule[at + 1:]
        if not rows:
            raise SystemExit(f"docs/benchmarks/{name}.md has no row with {one}")
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def block(what: str, text: str) -> str:
    """The content of a block."""
    if what == "all-methods":
        return all_methods()
    if what == "pages":
        return pages()
    if what == "rows:":
        return measured(text)
    kind, names = text.split("/")
    return head(kind, names) if what == "method:" else summaries(kind, names)


def updated(text: str) -> str:
    """A page with its blocks written anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{block(found[2], found[3])}\n{found[4]}", text)


def main(options: list[str]) -> int:
    """Write, or with --check only compare."""
    differ = []
    for page in sorted(PAGES.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = updated(old)
        if new != old:
            differ.append(page)
            if "--check" not in options:
                page.write_text(new, encoding="utf-8")
    for page in differ:
        print(("differs: " if "--check" in options else "written: ") + str(page.relative_to(DOCS)))  # noqa: T201
    return 1 if differ and "--check" in options else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
