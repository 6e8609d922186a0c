"""edgealloc catalog: models, devices and radio facts with their marks and sources."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgealloc.cli.common import print_json

__all__ = ["catalog"]

_SECTIONS = ("models", "devices", "radio")


def catalog(
    section: Annotated[str | None, typer.Argument(help="models, devices or radio; all by default.")] = None,
    name: Annotated[str | None, typer.Argument(help="One entry, in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> int | None:
    """Show the catalog; `edgealloc catalog devices t4` shows one entry with its sources."""
    from edgealloc.catalog import LEGEND, default_catalog
    from edgealloc.errors import DataError, nearest

    known = default_catalog()
    if section is not None and section not in _SECTIONS:
        raise DataError(f"catalog: '{section}' is no section; {nearest(section, _SECTIONS)}")
    sections = _SECTIONS if section is None else (section,)
    if as_json:
        print_json({one: known.records(one, name) for one in sections})
        return 0
    for one in sections:
        if section is None:
            typer.echo(one)
        typer.echo(_table(known.rows(one, name), drop_source=name is None))
        typer.echo("")
    typer.echo(LEGEND if name is None else "marks: seen in the source, recall from memory, derived by computing")
    if name is None:
        typer.echo("one entry with its sources: edgealloc catalog SECTION NAME")
    return 0


def _table(rows: list[dict[str, str]], *, drop_source: bool) -> str:
    """Sources are long: they are shown with the single entry."""
    from edgealloc.core.tables import text_table

    header: list[Any] = [key for key in rows[0] if not (drop_source and key == "source")]
    return text_table(header, [[row[key] for key in header] for row in rows])
