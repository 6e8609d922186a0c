"""edgealloc fits: which fine-tuning methods fit on a device, with what is left and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgealloc.cli.common import INFEASIBLE, print_json, writable

__all__ = ["fits"]


def fits(
    model: Annotated[str, typer.Argument(help="Catalog name of the model; see edgealloc catalog models.")],
    device: Annotated[str, typer.Argument(help="Catalog name of the device; see edgealloc catalog devices.")],
    methods: Annotated[str | None, typer.Option(help="Names, with commas between; else all.")] = None,
    batch: Annotated[int, typer.Option(help="Sequences per step.")] = 1,
    tokens: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    precision: Annotated[str | None, typer.Option(help="Of the base weights: fp32, bf16, int8 or nf4.")] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Layers are computed again in the backward pass.")
    ] = False,
    convention: Annotated[
        str, typer.Option(help="Which tensors count as kept for the backward pass: torch, peft or textbook.")
    ] = "torch",
    memory_share: Annotated[
        float | None,
        typer.Option(help="Share of the memory that training may use; by the device's class if not given."),
    ] = None,
    memory_overhead: Annotated[str, typer.Option(help="Framework and buffers, such as '500 MB'.")] = "0 B",
    utilisation: Annotated[float, typer.Option(help="Share of the peak rate that training reaches.")] = 0.35,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw memory by component (.png, .pdf or .svg).")] = None,
) -> int | None:
    """Show which fine-tuning methods fit on a device; ends with 3 if none does."""
    from edgealloc.core.figures import SUFFIXES, save_figure
    from edgealloc.scenarios.fits import fits as which_fit

    writable(plot, "--plot", SUFFIXES)
    report = which_fit(
        model, device, methods=None if methods is None else [one.strip() for one in methods.split(",") if one.strip()],
        batch=batch, tokens=tokens, precision=precision, checkpointing=checkpointing or None, convention=convention,
        memory_share=memory_share, memory_overhead=memory_overhead, utilisation=utilisation,
    )  # fmt: skip
    if plot is not None:
        save_figure(report.plot(), plot)
    if as_json:
        print_json({
            "model": report.model, "device": report.device, "batch": report.batch, "tokens": report.tokens,
            "memory_bytes": report.memory_bytes, "limit_bytes": report.limit_bytes, "flops_per_s": report.flops_per_s,
            "assumed": report.assumed, "fitting": report.fitting, "methods": report.records(),
            "files": [] if plot is None else [str(plot)],
        })  # fmt: skip
    else:
        typer.echo(report.text())
        if plot is not None:
            typer.echo(f"wrote {plot}")
    return 0 if report.fitting else INFEASIBLE
