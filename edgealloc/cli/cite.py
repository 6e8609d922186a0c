"""edgealloc cite: BibTeX of what a method, a formulation or edgealloc itself rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgealloc.cli.common import load_plugin, print_json

__all__ = ["cite"]


def cite(
    names: Annotated[
        list[str] | None, typer.Argument(help="Methods, formulations, keys or 'edgealloc'; a list of them by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    plugin: Annotated[Path | None, typer.Option(help="A Python file that registers methods.")] = None,
) -> int | None:
    """Print BibTeX for methods and formulations; without a name, list what can be cited."""
    from edgealloc.core.citations import bibtex, references
    from edgealloc.errors import DataError, nearest

    load_plugin(plugin)
    citable = {name: keys for section in _citable().values() for name, keys in section.items()}
    unknown = [name for name in names or () if name not in citable]
    if unknown:
        raise DataError(f"cite: '{unknown[0]}' is nothing that can be cited; {nearest(unknown[0], citable)}")
    if not names:
        _list(as_json)
        return 0
    works = references(key for name in names for key in citable[name])
    if as_json:
        print_json(
            {
                "names": {name: citable[name] for name in names},
                "references": [
                    {
                        "key": work.key,
                        "type": work.kind,
                        "title": work.title,
                        "authors": [" ".join(filter(None, (given, family))) for family, given in work.authors],
                        "year": work.year or None,
                        "fields": work.fields,
                        "from_memory": work.from_memory,
                        "bibtex": bibtex(work.key),
                    }
                    for work in works
                ],
            }
        )
        return 0
    typer.echo("\n\n".join(bibtex(work.key) for work in works))
    return 0


def _citable() -> dict[str, dict[str, tuple[str, ...]]]:
    """Sections of names and the keys each stands for; where a name is in two, the later section has it."""
    from edgealloc.core.citations import FORMULATIONS, REFERENCES, SOFTWARE, TOPICS
    from edgealloc.core.kinds import KINDS, problem_class

    methods: dict[str, tuple[str, ...]] = {}
    for kind in KINDS:
        for name, method in problem_class(kind).methods().items():
            # a method of two formulations rests on what either says; a user's own at least on edgealloc
            methods[name] = tuple(dict.fromkeys((*methods.get(name, ()), *(method.cites or (SOFTWARE,)))))
    return {
        "reference": {key: (key,) for key in REFERENCES},
        "topic": TOPICS,
        "method": methods,
        "formulation": {kind: FORMULATIONS.get(kind, (SOFTWARE,)) for kind in KINDS},
    }


def _list(as_json: bool) -> None:
    from edgealloc.core.citations import REFERENCES
    from edgealloc.core.tables import text_table

    sections = _citable()
    keys = sections.pop("reference")
    if as_json:
        listed = {section: {name: list(found) for name, found in rows.items()} for section, rows in sections.items()}
        print_json({**listed, "reference": {key: REFERENCES[key].line for key in keys}})
        return
    rows = [[name, section, ", ".join(found)] for section, named in reversed(sections.items())
            for name, found in named.items()]
    typer.echo(text_table(["name", "is a", "prints"], rows))
    typer.echo("")
    marks = [[key, "memory" if REFERENCES[key].from_memory else "", REFERENCES[key].line] for key in keys]
    typer.echo(text_table(["key", "from", "reference"], marks))
    typer.echo("\nBibTeX of one or several: edgealloc cite NAME ...")
    typer.echo("memory: written from memory, check before you print it")
