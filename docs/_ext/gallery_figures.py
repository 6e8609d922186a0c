"""Figures that a gallery script makes: those of pyplot, and those that the library returns.

The library draws on figures of its own, without pyplot's global state. A notebook shows such a figure where it is the
last value of a cell, and so does the gallery.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakSet

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

#: Scripts in the order of the pages, by folder of gallery_scripts; others come after them, by name.
SECTIONS = ("split_training", "pool_training", "fine_tuning", "deployment")
SCRIPTS = (
    "plot_campus_map.py",
    "plot_prices_map.py",
    "plot_what_if.py",
    "plot_energy_or_delay.py",
    "plot_convergence.py",
    "plot_gap_against_size.py",
    "plot_own_baseline.py",
    "plot_liu_zhao_3a.py",
    "plot_gantt.py",
    "plot_memory.py",
    "plot_dropout.py",
    "plot_time_energy.py",
    "plot_zeng_time.py",
    "plot_memory_by_method.py",
    "plot_fleet_placement.py",
    "plot_quality_memory.py",
    "plot_dong_memory.py",
    "plot_clinic_fleet.py",
    "plot_accuracy_energy.py",
    "plot_workflow.py",
    "plot_zhang_offloading.py",
)
_SHOWN: WeakSet[Figure] = WeakSet()


class ScriptOrder:
    """Key by which the scripts of a folder are sorted."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        """Known scripts first, in their order."""
        name = Path(filename).name
        return (SCRIPTS.index(name) if name in SCRIPTS else len(SCRIPTS)), name

    def __repr__(self) -> str:
        return "<ScriptOrder>"  # part of the settings that are compared between builds


def scrape(_block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Write the figure that is the last value of a cell; the reST that shows it."""
    value = block_vars["example_globals"].get("___")  # stays what it was where a cell ends in no value
    if not isinstance(value, Figure) or hasattr(value, "number") or value in _SHOWN:  # pyplot's have a number
        return ""
    _SHOWN.add(value)
    path = next(block_vars["image_path_iterator"])
    value.savefig(path, format="png", dpi=110)
    return str(figure_rst([path], gallery_conf["src_dir"]))


def _get_sg_image_scraper() -> Any:
    """What sphinx-gallery calls for the scraper of a module."""
    return scrape
