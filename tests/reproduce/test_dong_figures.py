"""Claims about the figures on Dong et al.: hand computations, golden numbers, judged findings, files, the command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import edgealloc as ea
from edgealloc.catalog import default_catalog
from edgealloc.cli import app
from edgealloc.reproduce.dong_2024 import trends as say
from edgealloc.reproduce.dong_2024.figures import FIGURES, FigureResult, run_figure, run_figures
from edgealloc.reproduce.dong_2024.runs import INFERENCE
from edgealloc.reproduce.dong_2024.settings import DEVICES, MAINSTREAM, METHODS, PREFERENCE, WORKLOADS, usable_bytes
from edgealloc.reproduce.papers import PAPERS

GOLDEN = Path(__file__).with_name("dong_golden.json")
EXAMPLES = Path(__file__).parents[2] / "examples" / "dong_2024"
SMALL = {"memory": ("opt-125m", "opt-1.3b"), "fits": ("opt-1.3b", "llama3.2-1b", "opt-13b")}


def result(name: str, edition: str = "short") -> FigureResult:
    """A figure at reduced size."""
    return _kept(name, edition)


@cache
def _kept(name: str, edition: str) -> FigureResult:
    return run_figure(name, edition, models=SMALL.get(name), time_limit_s=10.0)


def by_method(found: FigureResult, model: str = "") -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in found.rows if not model or row["model"] == model}


def numbers() -> dict[str, list[float]]:
    """What the golden file holds: memory, what fits, time and bytes to the target."""
    found: dict[str, list[float]] = {}
    for edition in WORKLOADS:
        for row in result("memory", edition).rows:
            found[f"memory {edition} {row['model']} {row['method']}"] = [row["total_bytes"]]
        for row in result("fits", edition).rows:
            key = f"fits {edition} {row['model']} {row['device']}"
            found[key] = [float((*PREFERENCE, "").index(row["best"])), row["memory_bytes"]]
        for row in result("target", edition).rows:
            found[f"target {edition} {row['method']}"] = [row["compute_s"], row["energy_j"], row["memory_bytes"],
                                                          row["federation_bytes"]]
    for row in result("published").rows:
        if row["quantity"] == "memory":
            found[f"published {row['name']}"] = [row["published_gb"], row["model_gb"]]
        else:
            found[f"published {row['name']}"] = [row["share_of_peak"]]
    return found


def test_golden_numbers() -> None:
    """Every number is that of the file."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    now = numbers()
    assert set(now) == set(golden)
    for key, values in golden.items():
        assert now[key] == pytest.approx(values, rel=2e-3), key


# ---- rows against hand computation -------------------------------------------------------------------------------


def test_memory_by_hand() -> None:
    """OPT-1.3B: 16 bytes per parameter of states, 2 of weights, and logits of 8 x 128 tokens."""
    rows = by_method(result("memory"), "opt-1.3b")
    parameters, tokens, vocab = 1315758080, 8 * 128, 50272
    states = sum(rows["full-adam"][f"{part}_bytes"] for part in ("weights", "gradient", "optimizer"))
    assert states == pytest.approx(16 * parameters)
    assert rows["mezo"]["weights_bytes"] == pytest.approx(2 * parameters)
    assert rows["mezo"]["gradient_bytes"] == rows["mezo"]["optimizer_bytes"] == 0.0
    assert {rows[name]["logits_bytes"] for name in ("full-adam", "lora", "mezo")} == {6.0 * tokens * vocab}
    assert rows[INFERENCE]["logits_bytes"] == 2.0 * tokens * vocab
    trained = 24 * 2 * 8 * (2048 + 2048)
    assert rows["lora"]["trained_params"] == trained
    assert rows["lora"]["weights_bytes"] == pytest.approx(2 * parameters + 2 * trained)
    assert set(rows) == {INFERENCE, *METHODS}
    for row in rows.values():
        parts = [row[f"{part}_bytes"] for part in ("weights", "gradient", "optimizer", "activation", "logits",
                                                   "overhead")]
        assert row["total_bytes"] == pytest.approx(sum(parts))
        assert row["over_inference"] == pytest.approx(row["total_bytes"] / rows[INFERENCE]["total_bytes"])


def test_what_fits_is_what_the_library_says() -> None:
    """The matrix and `ea.fits` agree: the best of those that fit by the order of preference."""
    for row in result("fits", "long").rows[:: 4]:
        report = ea.fits(row["model"], row["device"], methods=PREFERENCE, batch=8, tokens=512)
        assert report.limit_bytes == pytest.approx(row["usable_bytes"])
        fitting = [name for name in PREFERENCE if name in report.fitting]
        assert row["best"] == (fitting[0] if fitting else "")
        for name in PREFERENCE:
            assert row[f"fits_{name}"] == (name in fitting)
    assert usable_bytes("apple-a17-pro") == 4e9
    assert len(result("fits").rows) == 3 * len(DEVICES)


def test_time_and_messages_by_hand() -> None:
    """Three forward passes of full fine-tuning, two of zeroth order at twice the batch and 32 times the steps."""
    rows = by_method(result("target"))
    layers, hidden, vocab, batch, tokens = 24, 2048, 50272, 8, 128
    matrices = 2 * batch * tokens * (layers * 12 * hidden**2 + hidden * vocab)
    forward = matrices + 4 * layers * batch * tokens**2 * hidden
    rate, power = 0.35 * 10.65e12, 60.0
    # the first block's input needs no gradient, which the exact count leaves out
    assert rows["full-adam"]["compute_s"] == pytest.approx(625 * 3 * forward / rate, rel=5e-3)
    assert rows["mezo"]["compute_s"] == pytest.approx(20000 * 2 * 2 * forward / rate, rel=1e-9)
    assert rows["mezo"]["energy_j"] == pytest.approx(power * rows["mezo"]["compute_s"])
    assert rows["full-adam"]["federation_bytes"] == 20 * 2 * 1315758080
    assert rows["lora"]["federation_bytes"] == 20 * 2 * 24 * 2 * 8 * 4096
    assert rows["mezo"]["federation_bytes"] == 20 * 12 * 1000
    assert rows["full-adam"]["federation_s"] == pytest.approx(2 * 8 * rows["full-adam"]["federation_bytes"] / 20e6)


def test_published_rows_are_those_of_the_facts() -> None:
    """Some rows as their papers print them, and the error from the two columns."""
    memory = [row for row in result("published").rows if row["quantity"] == "memory"]
    assert len(memory) > 50
    found = {(row["model"], row["method"]): row["published_gb"] for row in memory if row["source_name"] == "MeZO"}
    for model, published in (("opt-1.3b", 27.0), ("opt-13b", 316.0), ("opt-30b", 633.0)):
        assert found[model, "full-adam"] == published
    assert found["opt-13b", "mezo"] == 26.0
    for row in memory:
        assert row["error"] == pytest.approx(row["model_gb"] / row["published_gb"] - 1.0)
    text = result("published").text()
    assert text.count("MeZO") >= len(found)
    assert "-80 %" in text
    # two forward passes of 16 x 400 tokens of OPT-1.3B in 0.815 s on an A100
    step = next(row for row in result("published").rows if row["name"] == "mezo-23-opt-1.3b-mezo-16")
    layers, hidden, vocab, tokens = 24, 2048, 50272, 16 * 400
    forward = 2 * tokens * (layers * 12 * hidden**2 + hidden * vocab) + 4 * layers * tokens * 400 * hidden
    assert step["share_of_peak"] == pytest.approx(2 * forward / 0.815 / 312e12, rel=1e-9)


def test_fleet_is_solved_and_proven() -> None:
    found = result("fleet")
    rows = by_method(found)
    assert rows["certified"]["status"] == "optimal"
    assert rows["certified"]["over_bound"] <= 1.0 + 1.1e-3
    for row in rows.values():
        placed = sum(sum(one.values()) for one in row["jobs"].values())
        assert placed == (row["count"] if math.isfinite(row["objective"]) else 0)
        assert not row["over_bound"] < 1.0 - 1e-9
    assert "certified" in found.text()


# ---- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "edition"), [
    ("memory", "long"), ("fits", "short"), ("target", "long"), ("published", "short"), ("fleet", "short")])
def test_files_and_findings(name: str, edition: str, tmp_path: Path) -> None:
    """Picture and table are written; every finding gets a verdict, those that are theorems hold."""
    found = result(name, edition)
    picture, table = found.save(tmp_path)
    stem = f"dong_{name}_{edition}" if FIGURES[name].workload else f"dong_{name}"
    assert [picture.name, table.name] == [f"{stem}.png", f"{stem}.csv"]
    assert picture.stat().st_size > 10_000
    assert len(pd.read_csv(table)) == len(found.rows)
    text = found.text()
    assert len(found.trends) == len(FIGURES[name].judges)
    for trend in found.trends:
        assert str(trend) in text
        assert trend.holds is not None
        if "proven bound" in trend.statement or "sends fewer bytes" in trend.statement:
            assert trend.holds, text
    assert "choices that are ours" in text
    assert found.record()["figure"] == name


def memory_row(method: str, total: float, model: str = "m", **changes: Any) -> dict[str, Any]:
    return {"model": model, "method": method, "params": 2e9, "total_bytes": total, "over_inference": total / 4e9,
            "activation_bytes": 1e9, "logits_bytes": 1e9, "gradient_bytes": 1e8, "optimizer_bytes": 1e8, **changes}


def test_findings_about_memory_by_hand() -> None:
    rows = [memory_row("full-adam", 32e9), memory_row("mezo", 4.4e9), memory_row("lora", 6e9),
            memory_row("qlora", 3e9), memory_row("ia3", 7e9), memory_row("bitfit", math.nan)]
    assert say.too_large(rows).holds is True
    assert say.too_large([memory_row("full-adam", 11e9)]).holds is False
    assert say.much_more_than_inference(rows).holds is True
    assert say.much_more_than_inference([memory_row("full-adam", 15e9)]).holds is False
    assert say.like_inference(rows).holds is True
    assert say.like_inference([memory_row("mezo", 5.1e9)]).holds is False
    assert say.smaller_than_full(rows).holds is True
    larger = say.smaller_than_full([*rows, memory_row("galore", 33e9)])
    assert larger.found.startswith("in 4 of 5 cases; not for galore of m")
    assert say.small_formats(rows).holds is True
    assert say.small_formats([*rows[:3], memory_row("qlora", 7e9)]).holds is False
    assert say.grows_with_text(rows).holds is True
    assert say.grows_with_text([*rows, memory_row("adapters", 7e9, optimizer_bytes=3e9)]).holds is False
    assert say.trained_share_is_not_memory(rows).holds is True
    assert say.trained_share_is_not_memory([rows[1], memory_row("lora", 4e9)]).holds is False
    assert say.like_inference([]).holds is None


def matrix_row(device: str, best: str, **fits: bool) -> dict[str, Any]:
    every = {f"fits_{name}": False for name in (INFERENCE, *PREFERENCE)}
    return {"model": "m", "device": device, "params": 2e9, "best": best, **every,
            **{f"fits_{name.replace('_', '-')}": value for name, value in fits.items()}}


def test_findings_about_devices_by_hand() -> None:
    phone, server = MAINSTREAM[1], "a100-sxm-80gb"
    rows = [matrix_row(phone, "mezo", mezo=True, inference=True),
            matrix_row(server, "full-adam", mezo=True, inference=True, full_adam=True)]
    assert say.on_mainstream(rows).holds is True
    assert say.on_mainstream([{**rows[0], "fits_full-adam": True}]).holds is False
    assert say.more_becomes_possible(rows).found.startswith("1 of 2 pairs by Adam, 2 by some method")
    assert say.more_becomes_possible(rows[1:]).holds is False
    assert say.runs_and_trains(rows).holds is True
    assert say.runs_and_trains([*rows, matrix_row(phone, "", inference=True)]).holds is False


def target_row(method: str, order: int, memory: float, seconds: float, sent: float) -> dict[str, Any]:
    return {"method": method, "order": order, "memory_bytes": memory, "compute_s": seconds, "federation_bytes": sent}


def test_findings_about_the_target_by_hand() -> None:
    rows = [target_row("full-adam", 1, 20e9, 10.0, 1e9), target_row("lora", 1, 5e9, 8.0, 1e6),
            target_row("qlora", 1, 2e9, 8.0, 1e6), target_row("mezo", 0, 3e9, 100.0, 1e3)]
    assert say.less_memory(rows).holds is True  # what has a base in 4 bits is not compared
    assert say.less_memory([*rows[:3], target_row("mezo", 0, 6e9, 100.0, 1e3)]).holds is False
    assert say.first_order_is_faster(rows).found.startswith("in 3 of 3 cases; 10 to 12.5 times")
    assert say.fewer_bytes(rows).holds is True
    assert say.fewer_bytes([*rows[:3], target_row("mezo", 0, 3e9, 100.0, 2e6)]).holds is False
    assert say.device_hours(rows).holds is False
    assert say.device_hours([*rows[:3], target_row("mezo", 0, 3e9, 5.0, 1e3)]).holds is True
    assert say.device_hours(rows[1:]).holds is None


def test_findings_about_rows_and_fleets_by_hand() -> None:
    whole: dict[str, Any] = {"quantity": "memory", "whole": True, "source_name": "MeZO", "model": "m", "gpus": 1}
    rows = [{**whole, "method": "mezo", "error": error} for error in (-0.4, -0.1, 0.15)]
    rows += [{**rows[0], "whole": False, "error": 9.0}]
    close = say.close_to_published(rows).found
    assert close.startswith("in 2 of 3 cases; not for mezo of m (MeZO, -40 %); errors from -40 to +15 %")
    assert say.close_on_one_device([*rows, {**rows[0], "gpus": 4}]).found.startswith("in 2 of 3 cases")
    assert say.close_on_one_device([*rows, {**rows[0], "source_name": "LLaMA-Factory"}]).found.startswith("in 2 of 3")
    assert say.within_a_factor(rows).holds is True
    assert say.within_a_factor([*rows, {**rows[0], "error": 1.2}]).holds is False
    steps = [{"quantity": "step", "method": "mezo", "model": "m", "batch": 8, "gpus": gpus, "share_of_peak": share}
             for gpus, share in ((1, 0.2), (1, 0.4), (8, 0.01))]
    assert say.shares_of_peak(steps).found.startswith("in 1 of 3 cases; not for mezo of m by 8")
    assert "0.2 to 0.4 on one device" in say.shares_of_peak(steps).found
    fleet = [{"method": name, "objective": value, "over_bound": value / 10.0} for name, value in
             (("certified", 10.0), ("lora-device", math.nan), ("full-server", 15.0))]
    assert say.best_of_all(fleet).found == "full-server 1.5 times its objective"
    assert say.best_of_all([*fleet, {**fleet[2], "method": "random", "objective": 9.0}]).holds is False
    assert say.best_of_all(fleet[1:]).holds is None
    assert say.above_bound(fleet).holds is True
    assert say.above_bound([{**fleet[0], "over_bound": 0.99}]).holds is False
    assert say.devices_alone(fleet).found == "in 1 of 2 cases; not for lora-device"


def test_figures_without_a_workload_are_run_once() -> None:
    found = [(one.figure.name, one.edition) for one in run_figures(["target", "published"])]
    assert found == [("target", "short"), ("published", "short"), ("target", "long")]


def test_ctrl_c_keeps_what_there_is() -> None:
    def stop(report: ea.Progress) -> None:
        if "lora" in report.stage:
            raise KeyboardInterrupt

    broken = list(run_figures(["target", "memory"], on_progress=stop))
    assert len(broken) == 1
    assert broken[0].interrupted
    assert len(broken[0].rows) == 2
    assert {trend.holds for trend in broken[0].trends} <= {True, None}
    assert "interrupted" in broken[0].text()


def test_faults_are_found_at_once() -> None:
    for names, editions, expected in ((["memroy"], ["short"], "did you mean 'memory'"),
                                      (["memory"], ["shrot"], "did you mean 'short'")):
        with pytest.raises(ea.DataError, match=expected):
            run_figures(names, editions)
    with pytest.raises(ea.DataError, match="not a known model"):
        run_figures(["memory"], models=["opt"])


# ---- the command and the scripts ---------------------------------------------------------------------------------


def run(*args: object) -> Any:
    return CliRunner().invoke(app, ["figure", *(str(arg) for arg in args)])


def test_command(tmp_path: Path) -> None:
    done = run("fits", "--paper", "dong-2024", "--models", "opt-125m", "--out", tmp_path, "--format", "svg")
    assert done.exit_code == 0, done.output
    names = {f"dong_fits_{edition}{end}" for edition in WORKLOADS for end in (".svg", ".csv")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "by zeroth order" in done.stdout
    listed = run("--paper", "dong-2024", "--list")
    assert all(name in listed.stdout for name in FIGURES)
    refused = run("memory", "--paper", "dong-2024", "--samples", "3", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "--samples: the figures of dong-2024 have no such option" in refused.stderr


def test_scripts_and_settings(tmp_path: Path) -> None:
    """One thin script per figure and one for all; devices and models are those of the catalog."""
    names = {f"dong_{name}.py": name for name in FIGURES} | {"dong_all.py": "all"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(names)
    for file, name in names.items():
        assert f'app(["figure", "{name}", "--paper", "dong-2024"' in (EXAMPLES / file).read_text(encoding="utf-8")
    options = ["--edition", "short", "--models", "opt-125m"]
    done = subprocess.run([sys.executable, str(EXAMPLES / "dong_fits.py"), str(tmp_path), *options],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dong_fits_short.png").is_file()
    assert PAPERS["dong-2024"].figure_names() == list(FIGURES)
    assert PAPERS["dong-2024"].edition_names() == list(WORKLOADS)
    sizes = [usable_bytes(device) for device in DEVICES]
    assert sizes == sorted(sizes)
    assert set(MAINSTREAM) <= set(DEVICES) <= set(default_catalog().devices)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")
