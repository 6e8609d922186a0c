"""Models, devices and radio facts from public sources; every number says where it is from and how well it is
known."""

from edgealloc.catalog.catalog import Catalog, default_catalog
from edgealloc.catalog.entries import LEGEND, SUFFIX, DeviceEntry, Mark, ModelEntry, PowerMode, RadioEntry

__all__ = [
    "LEGEND",
    "SUFFIX",
    "Catalog",
    "DeviceEntry",
    "Mark",
    "ModelEntry",
    "PowerMode",
    "RadioEntry",
    "default_catalog",
]
