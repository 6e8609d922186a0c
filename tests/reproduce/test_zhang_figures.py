"""Claims about the figures on Zhang et al.: hand computations, golden numbers, judged findings, files, the command."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import edgealloc as ea
from edgealloc.catalog import default_catalog
from edgealloc.catalog.compression_rows import accuracy_rows, hallucination_rows, perplexity_rows
from edgealloc.cli import app
from edgealloc.reproduce.papers import PAPERS
from edgealloc.reproduce.zhang_2024 import runs
from edgealloc.reproduce.zhang_2024 import trends as say
from edgealloc.reproduce.zhang_2024.figures import FIGURES, FigureResult, run_figure, run_figures
from edgealloc.reproduce.zhang_2024.settings import (
    BASES,
    DEVICES,
    MIX,
    PHONES,
    QUERIES,
    STRATEGIES,
    usable_bytes,
)

GOLDEN = Path(__file__).with_name("zhang_golden.json")
EXAMPLES = Path(__file__).parents[2] / "examples" / "zhang_2024"


@cache
def result(name: str, edition: str = "llama3") -> FigureResult:
    return run_figure(name, edition, time_limit_s=10.0)


def by(found: FigureResult, key: str) -> dict[Any, dict[str, Any]]:
    return {row[key]: row for row in found.rows}


def numbers() -> dict[str, list[float]]:
    """What the golden file holds: the metrics of every strategy, and of phones by every rule."""
    found: dict[str, list[float]] = {}
    for edition in BASES:
        for row in result("strategies", edition).rows:
            if not row["reason"]:
                found[f"{edition} {row['strategy']}"] = [row[name] for name in (*runs.METRICS, "weight_bytes")]
        for row in result("offloading", edition).rows:
            if row["where"] != "certified":
                found[f"{edition} {row['where']}"] = [row[name] for name in (
                    "objective", "energy_j", "hallucination", "accuracy", "delay_s")]
    return found


def test_golden_numbers() -> None:
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    found = numbers()
    assert found.keys() == kept.keys()
    for key, values in found.items():
        assert values == pytest.approx(kept[key], rel=1e-6, abs=1e-12), key


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_the_uncompressed_model_is_its_published_rows() -> None:
    """Accuracy is the mix of three published rows, the hallucination rate one; the weights are 2 B a parameter."""
    row = by(result("strategies"), "strategy")["half"]
    dense = {one.task: one.value for one in accuracy_rows() if one.model == "llama3.1-8b" and one.label == "f16"}
    mixed = 0.5 * dense["piqa"] + 0.3 * dense["mmlu"] + 0.2 * dense["gsm8k"]
    assert row["accuracy"] == pytest.approx(mixed)
    assert row["accuracy_origin"] == "published"
    rate = next(one.value for one in hallucination_rows() if one.model == "llama3.1-8b")
    assert row["hallucination"] == pytest.approx(rate) == pytest.approx(0.054)
    assert row["weight_bytes"] == pytest.approx(2 * 8030261248)
    assert sum(MIX) == pytest.approx(1.0)


def test_energy_is_power_times_time() -> None:
    """An A100 reads all weights for every token at the bandwidth that its measured row shows."""
    row = by(result("server", "llama2"), "strategy")["half"]
    device = default_catalog().device("a100-sxm-80gb")
    assert row["energy_j"] == pytest.approx(400.0 * row["delay_s"])
    tokens = sum(one.share * one.answer for one in QUERIES.values())
    # 92.85 token/s were measured, without long contexts; the prompts take little
    assert row["delay_s"] == pytest.approx(tokens / 92.85, rel=0.08)
    assert row["tokens_per_s"] < float(device.memory_bandwidth_bytes_per_s or 0.0) / row["weight_bytes"]


def test_compressed_quality_follows_the_named_assumption() -> None:
    """3 bits of Llama 2: a published change where there is one, else divided by the ratio of perplexities."""
    row = by(result("strategies", "llama2"), "strategy")["quantise-3"]
    ratio = next(one.value / one.dense for one in perplexity_rows()
                 if one.model == "llama2-7b" and one.label == "awq-int3-g128")
    rate = next(one.value for one in hallucination_rows() if one.model == "llama2-7b")
    assert row["hallucination"] == pytest.approx(rate * ratio)
    assert row["hallucination_origin"] == "assumption"
    published = {one.task: (one.value, one.dense) for one in accuracy_rows()
                 if one.model == "llama2-7b" and one.label == "awq-int3-g128"}
    assert row["truthful"] == published["truthfulqa_mc1"][0]


def test_access_is_memory_and_speed() -> None:
    """Every device that counts holds the weights; a Raspberry Pi 4 holds no 8B in 4 bits at 5 token/s."""
    for edition in BASES:
        for row in result("strategies", edition).rows:
            names = row["accessible"].split()
            assert row["reason"] or row["accessibility"] == len(names) / len(DEVICES)
            if row["strategy"] != "offload":
                for name in names:
                    # formats of processors are smaller than those of graphics processors
                    assert 0.6 * row["weight_bytes"] < usable_bytes(name)
    rows = by(result("strategies"), "strategy")
    assert rows["half"]["accessible"] == "jetson-agx-orin-32gb"
    assert "raspberry-pi-4b-8gb" not in rows["quantise-4"]["accessible"]
    assert usable_bytes("snapdragon-865-12gb") == 6e9
    assert rows["distil"]["reason"] == ""
    assert "no student" in by(result("strategies", "llama2"), "strategy")["distil"]["reason"]


def test_arrows() -> None:
    assert [runs.arrow(value, 100.0) for value in (100.0, 100.9, 101.1, 99.1, 98.9)] == [0, 0, 1, 0, -1]
    assert runs.arrow(0.1, 0.0) == 1
    assert runs.arrow(math.nan, 1.0) == 0
    for row in result("strategies").rows:
        for name in runs.METRICS:
            assert row[f"{name}_arrow"] in runs.ARROWS


def test_phones_by_hand() -> None:
    """Power of a phone while it answers, what goes over the radio, and a server at the load of its queries."""
    problem = runs.phones_problem("llama3", 3)
    assert problem.device_memory_bytes.tolist() == [6e9] * 3
    k = problem.variant_names.index("llama3.2-3b-Q4_K_M")
    power = problem.local_energy_j[0, k] / problem.local_delay_s[0, k]
    assert power == pytest.approx(2.925)  # two phones were measured: 2.91 and 2.94 W
    assert problem.prompt_bytes.tolist() == [4.0 * one.prompt for one in QUERIES.values()]
    assert (problem.service_s > problem.busy_s).all()
    assert problem.query_rate_per_s[0].sum() == pytest.approx(1.0 / 60.0)
    rows = by(result("offloading"), "where")
    alone = rows["on-device"]
    assert alone["offloaded"] == alone["load"] == 0.0
    assert alone["energy_j"] == alone["device_energy_j"]
    mixed = sum(share * float(problem.local_energy_j[0, k, c]) for c, share in enumerate(MIX))
    assert alone["energy_j"] == pytest.approx(mixed)


def test_sharing_goes_from_all_to_little() -> None:
    rows = [row for row in result("sharing").rows if row["where"] == "certified"]
    assert [row["phones"] for row in rows] == list(PHONES.counts)
    assert rows[0]["offloaded"] == 1.0
    for row in rows:
        assert row["load"] <= 0.9 + 1e-9
        assert row["bound"] <= row["objective"] * (1.0 + 1e-9)
        assert row["objective"] <= row["bound"] * (1.0 + 2e-3)
        assert sum(row["variants"].values()) == row["phones"]


# ---- findings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "edition"), [
    (name, edition) for name in FIGURES for edition in BASES if (name, edition) != ("sharing", "llama2")])
def test_findings_are_judged(name: str, edition: str) -> None:
    """Every finding gets a verdict that its page tells; those that are theorems hold."""
    found = result(name, edition)
    text = found.text()
    assert len(found.trends) == len(FIGURES[name].judges)
    for trend in found.trends:
        assert str(trend) in text
        if "proven bound" in trend.statement:
            assert trend.holds
    assert "choices that are ours" in text
    assert "proxy" in text
    assert found.record()["figure"] == name


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(("name", "edition"), [("strategies", "llama2"), ("offloading", "llama3")])
def test_files(name: str, edition: str, tmp_path: Path) -> None:
    found = result(name, edition)
    picture, table = found.save(tmp_path)
    assert [picture.name, table.name] == [f"zhang_{name}_{edition}.png", f"zhang_{name}_{edition}.csv"]
    assert picture.stat().st_size > 10_000
    assert len(pd.read_csv(table)) == len(found.rows)


def test_pictures_show_the_rows() -> None:
    """Bars of four metrics are as long as the rows say; a line per rule has a point per number of phones."""
    bars = result("server").plot().axes
    for ax, name in zip(bars, runs.METRICS, strict=True):
        assert [bar.get_width() for bar in ax.patches] == [row[name] for row in result("server").rows]
    for ax in result("sharing").plot().axes:
        assert [len(line.get_xdata()) for line in ax.lines] == [len(PHONES.counts)] * len(runs.METHODS)


def strategy(name: str, energy: float = 1.0, wrong: float = 0.1, right: float = 0.7, access: float = 0.5,
             **changes: Any) -> dict[str, Any]:
    values = {"energy_j": energy, "hallucination": wrong, "accuracy": right, "accessibility": access}
    base = {"energy_j": 1.0, "hallucination": 0.1, "accuracy": 0.7, "accessibility": 0.5}
    return {"strategy": name, "reason": "", "weight_bytes": 1e9, "truthful": math.nan, **values,
            **{f"{key}_arrow": runs.arrow(values[key], base[key]) for key in base},
            **{f"{key}_change": runs.change(values[key], base[key]) for key in base}, **changes}


def test_findings_about_strategies_by_hand() -> None:
    rows = [strategy("half", truthful=0.3), strategy("quantise-4", 0.5, 0.11, 0.69, 0.6, truthful=0.29),
            strategy("prune-50", 1.0, 0.12, 0.6, 0.5), strategy("prune-2:4", 0.6, 0.13, 0.55, 0.5),
            strategy("prune-20%", 0.8, 0.14, 0.5, 0.6), strategy("distil", 0.4, 0.15, 0.6, 0.8, weight_bytes=2e9),
            strategy("offload", 1.0, access=1.0)]
    assert say.less_energy(rows).found.startswith("in 4 of 5 cases; not for prune-50; at best -60 %")
    assert say.less_energy([*rows[:2], *rows[3:]]).holds is True
    assert say.more_access(rows).found.startswith("in 3 of 5 cases; not for prune-50, prune-2:4; at best 80%")
    assert say.better_answers(rows).found.startswith("in 0 of 5 cases")
    assert say.better_answers([rows[0], strategy("distil", wrong=0.05, right=0.9)]).holds is True
    assert say.zeros_alone_save_nothing(rows).holds is True
    assert say.zeros_alone_save_nothing([*rows[:2], strategy("prune-50", 0.5), *rows[3:]]).holds is False
    assert say.zeros_alone_save_nothing(rows[:3]).holds is None
    assert say.proxies_agree(rows).holds is True
    assert say.proxies_agree([rows[0], strategy("quantise-4", wrong=0.2, truthful=0.31)]).holds is False
    assert say.proxies_agree(rows[2:]).holds is None
    assert say.no_free_lunch(rows).holds is True
    assert say.no_free_lunch([rows[0], strategy("distil", 0.1, 0.01, 0.9, 0.9), rows[1]]).holds is False
    assert say.four_bits_keep_quality(rows).holds is True
    assert say.four_bits_keep_quality([rows[0], strategy("quantise-4", right=0.66)]).holds is False
    assert say.large_in_few_bits(rows).holds is True
    assert say.large_in_few_bits([rows[1], strategy("distil", wrong=0.05, right=0.9, weight_bytes=2e9)]).holds is False
    assert say.large_in_few_bits(rows[:2]).holds is None


def place(where: str, objective: float, value: float, sent: tuple[float, float, float] = (0.0, 0.5, 1.0),
          phones: int = 4, bound: float = math.nan) -> dict[str, Any]:
    names = ("energy_j", "hallucination", "accuracy", "accessibility", "delay_s")
    return {"where": where, "phones": phones, "objective": objective, "bound": bound, "offloaded": sum(sent) / 3.0,
            **dict.fromkeys(names, value), **dict(zip(runs.CLASSES, sent, strict=True))}


def test_findings_about_phones_by_hand() -> None:
    rows = [place("on-device", 9.0, 1.0), place("edge", 8.0, 3.0), place("by difficulty", 7.5, 2.0),
            place("certified", 7.0, 2.0, bound=6.9)]
    assert say.between(rows).holds is True
    outside = say.between([*rows[:3], place("certified", 7.0, 4.0)])
    assert outside.found.startswith("in 5 of 10 cases; not for energy certified")
    assert say.between(rows[1:]).holds is None
    assert say.shared_work(rows).holds is True
    assert say.shared_work([*rows[:2], place("certified", 8.0, 3.0)]).holds is False
    assert say.complex_goes_to_the_edge(rows).holds is True
    assert say.complex_goes_to_the_edge([place("certified", 7.0, 2.0, (0.2, 1.0, 0.0))]).holds is False
    assert say.complex_goes_to_the_edge(rows[:2]).holds is None
    assert say.least_cost(rows).found == "in 4 of 4 cases"
    assert say.least_cost([place("edge", 6.0, 1.0), *rows[3:]]).holds is False
    fewer = [place("certified", 7.0, 2.0, (share,) * 3, phones) for phones, share in ((1, 1.0), (9, 0.4))]
    assert say.enough_server_takes_all(fewer).found == "1: 100%, 9: 40%"
    assert say.enough_server_takes_all(fewer[::-1]).holds is False


# ---- runs, the command and the scripts ------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_there_is() -> None:
    def stop(report: ea.Progress) -> None:
        if "quantise-3" in report.stage:
            raise KeyboardInterrupt

    broken = list(run_figures(["strategies", "offloading"], on_progress=stop))
    assert len(broken) == 1
    assert broken[0].interrupted
    assert [row["strategy"] for row in broken[0].rows] == ["half", "quantise-4"]
    assert "interrupted" in broken[0].text()


def test_faults_are_found_at_once() -> None:
    for names, editions, expected in ((["servre"], ["llama3"], "did you mean 'server'"),
                                      (["server"], ["llama"], "did you mean 'llama")):
        with pytest.raises(ea.DataError, match=expected):
            run_figures(names, editions)


def test_command(tmp_path: Path) -> None:
    def run(*args: object) -> Any:
        return CliRunner().invoke(app, ["figure", *(str(arg) for arg in args)])

    done = run("server", "--paper", "zhang-2024", "--edition", "llama2", "--out", tmp_path, "--format", "svg")
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"zhang_server_llama2.svg", "zhang_server_llama2.csv"}
    assert "Vectara" in done.stdout
    listed = run("--paper", "zhang-2024", "--list")
    assert all(name in listed.stdout for name in FIGURES)
    refused = run("server", "--paper", "zhang-2024", "--samples", "3", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "--samples: the figures of zhang-2024 have no such option" in refused.stderr


def test_scripts_and_settings() -> None:
    """One thin script per figure and one for all; devices and models are those of the catalog."""
    names = {f"zhang_{name}.py": name for name in FIGURES} | {"zhang_all.py": "all"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(names)
    for file, name in names.items():
        assert f'app(["figure", "{name}", "--paper", "zhang-2024"' in (EXAMPLES / file).read_text(encoding="utf-8")
        compile((EXAMPLES / file).read_text(encoding="utf-8"), file, "exec")
    assert PAPERS["zhang-2024"].figure_names() == list(FIGURES)
    assert PAPERS["zhang-2024"].edition_names() == list(BASES)
    assert {PHONES.device, PHONES.server, *DEVICES} <= set(default_catalog().devices)
    assert len({one.name for one in STRATEGIES}) == len(STRATEGIES)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(numbers(), indent=1) + "\n", encoding="utf-8")
