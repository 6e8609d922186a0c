"""The page of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
import shlex
import types
import typing
from pathlib import Path
from typing import Any, Final

from page_text import cell, page, table

__all__ = ["EXAMPLES", "commands", "pages", "parsed"]

#: A line to begin with, for every command.
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "new": (
        "edgealloc new site.toml --users 200 --servers 4",
        "edgealloc new home.toml --kind pool-training --devices 6 --network wifi",
        "edgealloc new fleet.toml --kind fine-tuning --jobs 40 --servers 2",
        "edgealloc new phones.toml --kind deployment --devices 500 --servers 3",
    ),
    "check": ("edgealloc check site.toml",),
    "solve": (
        "edgealloc solve site.toml --gap 1e-4 --out site.npz --plot map.png",
        "edgealloc solve site.toml --method fp-cccp --explain",
        "edgealloc solve site.toml --json > site.json",
    ),
    "compare": ("edgealloc compare site.toml --methods certified,greedy --markdown",),
    "sweep": ("edgealloc sweep site.toml --vary weights.energy=1:10:10 --samples 5 --plot sweep.png",),
    "fits": (
        "edgealloc fits opt-1.3b jetson-orin-nano-8gb",
        "edgealloc fits llama3.2-1b rtx-4090 --methods lora,qlora",
    ),
    "figure": (
        "edgealloc figure 3a --samples 5 --out figures",
        "edgealloc figure --paper zeng-2024 --list",
        "edgealloc figure memory --paper dong-2024 --edition short",
    ),
    "methods": ("edgealloc methods", "edgealloc methods pool-training"),
    "catalog": ("edgealloc catalog devices", "edgealloc catalog models --json"),
    "cite": ("edgealloc cite certified",),
}


def _group() -> Any:
    import typer

    from edgealloc.cli import app

    return typer.main.get_command(app)


def commands() -> dict[str, Any]:
    """Every command by name."""
    return dict(_group().commands)


def parsed(line: str) -> dict[str, Any]:
    """The parameters of an example, read as the command line would read them; nothing is run."""
    words = shlex.split(line.partition(">")[0])
    command = commands()[words[1]]
    return dict(command.make_context(words[1], words[2:]).params)


def _word(annotation: Any) -> str:
    """What to write for a parameter of this type."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _word(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return next(_word(one) for one in typing.get_args(annotation) if one is not types.NoneType)
    if origin is list:
        return _word(typing.get_args(annotation)[0]) + " ..."
    return {bool: "", Path: "path", str: "text", int: "whole number", float: "number"}.get(annotation, "text")


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "**required**"
    if value is None or value is False or callable(value) or str(value) in ("", "()"):
        return ""
    return f"`{value}`"


def _rows(command: Any) -> list[list[str]]:
    hints = typing.get_type_hints(inspect.unwrap(command.callback), include_extras=True) if command.callback else {}
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name in ("help", "version"):
            continue
        is_option = parameter.opts[0].startswith("-")
        name = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
        name = name if is_option else f"`{parameter.name.upper()}`"
        rows.append([name, _word(hints.get(parameter.name, str)), _default(parameter), cell(parameter.help or "")])
    return rows


def _section(name: str, command: Any) -> str:
    arguments = " ".join(
        f"{one.name.upper()}" if one.required else f"[{one.name.upper()}]"
        for one in command.params
        if not one.opts[0].startswith("-")
    )
    first, _, rest = (command.help or "").partition("\n")
    examples = "\n".join(EXAMPLES[name])
    parts = [
        f"## edgealloc {name}",
        cell(first) + ("\n\n" + cell(rest) if rest.strip() else ""),
        f"```text\nedgealloc {name} [OPTIONS] {arguments}".rstrip() + "\n```",
        table(["option", "value", "default", "meaning"], _rows(command)),
        f"```bash\n{examples}\n```",
    ]
    return "\n\n".join(part.strip("\n") for part in parts)


def pages() -> dict[str, str]:
    """The page of the command line by its path."""
    from edgealloc.cli import common

    codes = [
        ["0", "done"],
        [str(common.FAILED), "no allocation was found, or something else than the input failed"],
        [str(common.BAD_INPUT), "bad input: one message with every fault, field, value and what to write instead"],
        [str(common.INFEASIBLE), "proven infeasible: the limits in conflict, and a repair that works"],
        [str(common.INTERRUPTED), "interrupted: the best so far was printed with its gap"],
    ]
    group = _group()
    intro = (
        "Tables go to standard output, progress and messages to standard error; `--json` prints one document for "
        "machines. Scenario files are TOML, YAML or JSON ([what they may say](index.md#scenario-files)). "
        "`edgealloc --version` tells the version, `edgealloc COMMAND --help` what is on this page."
    )
    summary = table(
        ["command", "does"],
        [
            [f"[`edgealloc {name}`](#edgealloc-{name})", cell((one.help or "").partition("\n")[0])]
            for name, one in group.commands.items()
        ],
    )
    text = page(
        "Command line",
        "Every command with all of its options, their defaults and a line to begin with, from the program itself.",
        intro,
        summary,
        "## Exit status",
        table(["status", "meaning"], codes),
        *(_section(name, command) for name, command in group.commands.items()),
    )
    return {"reference/cli.md": text}
