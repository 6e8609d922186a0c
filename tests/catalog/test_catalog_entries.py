"""Catalog: the package's data, its marks, a user's entries over it."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys

import pytest

from edgealloc.catalog import LEGEND, SUFFIX, Catalog, default_catalog
from edgealloc.errors import DataError
from edgealloc.system.pathloss import PATH_LOSS_MODELS

CATALOG = default_catalog()


def test_what_is_there() -> None:
    """36 models, 28 devices, each with a source; read once."""
    assert (len(CATALOG.models), len(CATALOG.devices)) == (42, 34)
    entries = [*CATALOG.models.values(), *CATALOG.devices.values(), *CATALOG.radio.values()]
    assert all(entry.source and entry.confidence in ("seen", "recall") for entry in entries)
    assert default_catalog() is CATALOG


def test_every_listed_field_has_a_value() -> None:
    """A mark belongs to a number that exists."""
    for entry in [*CATALOG.models.values(), *CATALOG.devices.values(), *CATALOG.radio.values()]:
        for field in (*entry.recall_fields, *entry.derived_fields, *entry.assumption_fields):
            assert getattr(entry, field) is not None, (entry.name, field)


def test_facts_typed_a_second_time() -> None:
    """Some numbers in their published units, and their marks."""
    nano = CATALOG.device("jetson-nano-4gb")
    assert (nano.memory_bytes, nano.clock_hz, nano.flops_per_s, nano.power_w) == (4e9, 921.6e6, 0.472e12, 10)
    assert nano.mark("flops_per_s") == "seen"
    assert nano.mark("fp32_flops_per_s") == "derived"
    assert CATALOG.device("snapdragon-8-gen-3").flops_per_s == 4.314e12
    assert CATALOG.device("snapdragon-8-gen-3").mark("clock_hz") == "assumption"
    assert CATALOG.device("raspberry-pi-4b-8gb").mark("power_w") == "recall"
    assert CATALOG.device("a100-sxm-80gb").flops_per_s == 312e12
    assert CATALOG.device("xeon-platinum-8380").idle_power_w == 25
    assert CATALOG.device("t4").power_w == 70
    assert CATALOG.model("t5-base").mark("hidden") == "recall"
    assert CATALOG.radio_fact("thermal-noise-psd").value == -174
    tx2 = CATALOG.device("jetson-tx2-8gb").power_modes
    assert tx2 is not None
    assert [(mode.name, mode.gpu_max_hz) for mode in tx2][:2] == [("MAXN", None), ("MAXQ", 850e6)]


def test_radio_facts_agree_with_the_code() -> None:
    """Each implemented path-loss entry has the spread that the code uses."""
    for entry in CATALOG.radio.values():
        if entry.path_loss_model is not None and entry.shadowing_sigma_db is not None:
            model = PATH_LOSS_MODELS[entry.path_loss_model]
            sigma = model.los_sigma_db if entry.name.endswith("-los") else model.nlos_sigma_db
            assert sigma == entry.shadowing_sigma_db, entry.name


@pytest.mark.parametrize("name", sorted(CATALOG.devices))
def test_rate_clock_and_power_fit_together(name: str) -> None:
    """Clock x FLOP/cycle is the rate; kappa f^3 is the power; a missing power says what to set."""
    device = CATALOG.device(name)
    assert device.flops_per_cycle(0.3) * device.clock_hz == pytest.approx(0.3 * device.flops_per_s)
    if device.power_w is None:
        with pytest.raises(DataError, match=re.escape(f"set 'power_w' under [devices.{name}]")):
            device.kappa()
    else:
        assert device.kappa() * device.clock_hz**3 == pytest.approx(device.power_w)
        assert device.joules_per_flop(0.5) == pytest.approx(device.power_w / (0.5 * device.flops_per_s))


def test_cuda_core_rates_follow_from_the_clock() -> None:
    """Jetson fp16 = 4 x CUDA cores x clock, to the rounding of the data sheets: clock and rate belong
    together."""
    for device in CATALOG.devices.values():
        if device.name.startswith("jetson") and device.mark("clock_hz") != "assumption" and device.cuda_cores:
            assert 4 * device.cuda_cores * device.clock_hz == pytest.approx(device.flops_per_s, rel=0.01), (
                device.name
            )


def test_unknown_names_suggest() -> None:
    """Models, devices, sections and fields."""
    with pytest.raises(DataError, match=r"llama3\.2-1b"):
        CATALOG.model("llama-3.2-1b")
    with pytest.raises(DataError, match="'t4'"):
        CATALOG.device("t5")
    with pytest.raises(DataError, match="models"):
        CATALOG.rows("model")
    with pytest.raises(DataError, match="power_w"):
        CATALOG.device("t4").mark("power")


def test_overlay_keeps_the_other_marks() -> None:
    """A known name changes only what is given; the default catalog stays as it was."""
    own = CATALOG.extended(
        devices={"snapdragon-8plus-gen-1-gpu": {"power_w": "8 W", "memory_bytes": "12 GB"}}
    )
    device = own.device("snapdragon-8plus-gen-1-gpu")
    assert (device.power_w, device.memory_bytes) == (8.0, 12e9)
    assert (device.mark("power_w"), device.mark("flops_per_s"), device.mark("clock_hz")) == (
        "user",
        "seen",
        "assumption",
    )
    assert CATALOG.device("snapdragon-8plus-gen-1-gpu").power_w is None
    faster = CATALOG.extended(devices={"t4": {"flops_per_s": "30 TFLOP/s"}}).device("t4")
    assert faster.flops_basis == "given"


def test_new_entries() -> None:
    """Complete ones, and ones like another; what we filled in is marked as an assumption or derived."""
    own = CATALOG.extended(
        models={
            "tiny": {"layers": 2, "hidden": 64, "heads": 4, "ffn": 128, "vocab": 100},
            "long-gpt2": {"like": "gpt2-small", "layers": 24},
        },
        devices={"box": {"flops_per_s": "4 TFLOP/s"}, "box-2": {"like": "box", "power_w": 30}},
    )
    tiny = own.model("tiny")
    assert tiny.params == 2 * 100 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64
    assert (tiny.mark("hidden"), tiny.mark("kv_heads"), tiny.mark("params")) == (
        "user",
        "assumption",
        "derived",
    )
    longer = own.model("long-gpt2")
    assert longer.params == 124_439_808 + 12 * (12 * 768**2 + 13 * 768)
    assert (longer.mark("layers"), longer.mark("hidden"), longer.mark("params")) == (
        "user",
        "seen",
        "derived",
    )
    assert own.device("box").mark("clock_hz") == "assumption"
    assert own.device("box-2").flops_per_s == 4e12


def test_every_fault_at_once() -> None:
    """Unknown keys, wrong units, values and types of all entries are collected."""
    with pytest.raises(DataError) as caught:
        CATALOG.extended(
            models={
                "x": {"layrs": 3, "heads": 0, "tied_embeddings": "no"},
                "y": {"layers": 2},
                "z": {"like": "gpt2-small", "kv_heads": 7},
            },
            devices={"d": {"power_w": "8 GB", "foo": 1, "clock_hz": -1}, "e": {"like": "t5"}, "f": 3},  # type: ignore[dict-item]
        )
    fields = [fault.field for fault in caught.value.faults]
    assert fields == [
        "models.x.layrs",
        "models.x.heads",
        "models.x.tied_embeddings",
        "models.y.hidden",
        "models.y.heads",
        "models.y.kv_heads",
        "models.y.head_dim",
        "models.y.ffn",
        "models.y.vocab",
        "models.z.kv_heads",
        "devices.d.power_w",
        "devices.d.foo",
        "devices.d.clock_hz",
        "devices.e.like",
        "devices.f",
    ]
    assert "'layers'" in str(caught.value)


def test_tables_carry_the_marks() -> None:
    """Every number is printed with its mark's suffix; the legend explains each of them."""
    rows = {row["name"]: row for row in CATALOG.rows("devices")}
    assert rows["snapdragon-865"]["training rate"] == "1.228 TFLOP/s?"
    assert rows["snapdragon-865"]["memory"] == "8 GB*"
    assert rows["dimensity-9300-gpu"]["power"] == "-"
    assert rows["raspberry-pi-5-8gb"]["training rate"].endswith("~")
    assert all(suffix in LEGEND for suffix in SUFFIX.values())
    details = {row["field"]: row for row in CATALOG.rows("models", "t5-base")}
    assert details["hidden"] == {"field": "hidden", "value": "768*", "mark": "recall"}
    for section in ("models", "devices", "radio"):
        assert len(CATALOG.rows(section)) == len(CATALOG.records(section))
        json.dumps(CATALOG.records(section))
    assert CATALOG.records("devices", "t4")[0]["marks"]["power_w"] == "seen"


def test_immutable_and_picklable() -> None:
    """The mappings are read-only, and a catalog travels to another process."""
    with pytest.raises(TypeError):
        CATALOG.models["x"] = CATALOG.model("t5-base")  # type: ignore[index]
    copy: Catalog = pickle.loads(pickle.dumps(CATALOG))
    assert copy.models == CATALOG.models


def test_import_is_light() -> None:
    """Importing the catalog loads none of the heavy libraries."""
    heavy = "pandas pydantic cvxpy scipy numba matplotlib pulp networkx"
    loaded = f"' '.join(m for m in '{heavy}'.split() if m in sys.modules)"
    code = f"import sys, edgealloc.catalog; sys.exit({loaded} or 0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
