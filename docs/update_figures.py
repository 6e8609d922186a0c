"""Draw the figures of the papers' pages anew, with their tables, and write what was found there.

    python docs/update_figures.py [WORKERS] [PAPER ...]

Of Liu & Zhao half of the paper's sizes and half of its weights, so that it takes some ten minutes on two processors;
the commands in the page draw the paper's own sizes. PAPER is liu-zhao-2024, zeng-2024, dong-2024, zhang-2024, or
pool-training, fine-tuning or deployment (the pictures of pool_training.md, fine_tuning.md and deployment.md); all by
default.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import edgealloc as ea
from edgealloc.core.figures import COLOURS, GREY, new_figure, place_legend, save_figure, style_axes
from edgealloc.reproduce.dong_2024 import figures as dong
from edgealloc.reproduce.dong_2024.runs import TABLES
from edgealloc.reproduce.dong_2024.settings import WORKLOADS
from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES, FigureResult, run_figures
from edgealloc.reproduce.liu_zhao_2024.settings import EDITIONS
from edgealloc.reproduce.trend import TrendResult
from edgealloc.reproduce.zeng_2024 import figures as zeng
from edgealloc.reproduce.zeng_2024.settings import TESTBEDS
from edgealloc.reproduce.zhang_2024 import figures as zhang
from edgealloc.reproduce.zhang_2024 import runs as zhang_runs
from edgealloc.reproduce.zhang_2024.settings import BASES
from edgealloc.sweeps.result import frame_to_csv

sys.path.insert(0, str(Path(__file__).resolve().parent))

from data_flow import data_flow

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "images" / "liu_zhao_2024"
ZENG_FOLDER = DOCS / "images" / "zeng_2024"
DONG_FOLDER = DOCS / "images" / "dong_2024"
ZHANG_FOLDER = DOCS / "images" / "zhang_2024"
USERS, SERVERS, SAMPLES = 25, 5, 5
WEIGHTS = [1.0, 3.0, 5.0, 7.0, 10.0]


def drawn(workers: int) -> list[FigureResult]:
    """Every figure in both editions; pictures and tables of means are written."""
    results = []
    for names, values in ((["2a", "2b", "4", "5a", "5b"], None), (["3a", "3b", "3c"], WEIGHTS)):
        for result in run_figures(
            names, list(EDITIONS), SAMPLES, users=USERS, servers=SERVERS, values=values, workers=workers
        ):
            stem = f"figure_{result.figure.name}_{result.edition}"
            picture = result.save(FOLDER / "rows")[0]
            picture.replace(FOLDER / f"{stem}.png")
            frame_to_csv(result.summary, FOLDER / f"{stem}_summary.csv")
            results.append(result)
    for path in (FOLDER / "rows").iterdir():
        path.unlink()
    (FOLDER / "rows").rmdir()
    return sorted(results, key=lambda one: list(FIGURES).index(one.figure.name))


def page(results: list[FigureResult]) -> str:
    """Gallery, trends and rankings."""
    lines = []
    for number, figure in FIGURES.items():
        lines += [f"### {number}: {figure.title}", ""]
        mine = [one for one in results if one.figure.name == number]
        for one in mine:
            path = f"images/liu_zhao_2024/figure_{number}_{one.edition}"
            lines.append(f"![Figure {number}, {one.edition} edition]({path}.png)")
        links = (f"[{one.edition}](images/liu_zhao_2024/figure_{number}_{one.edition}_summary.csv)" for one in mine)
        lines += ["", f"Means and intervals: {', '.join(links)}.", ""]
        lines += _trend_table([one.edition for one in mine], [one.trends for one in mine])
        lines += ["", "Rankings as found, best first (means over all points and samples):", ""]
        for one in mine:
            lines += [f"- {one.edition}, {name.replace('_', ' ')}: {text}" for name, text in one.rankings.items()]
        lines.append("")
    return "\n".join(lines).rstrip()


def _trend_table(editions: Sequence[str], trends: Sequence[Sequence[TrendResult]]) -> list[str]:
    """A row per statement, a column per edition."""
    lines = ["| statement | " + " | ".join(editions) + " |", "|---|" + "---|" * len(editions)]
    return [*lines, *(f"| {row[0].statement} | " + " | ".join(f"{one.verdict}: {one.found}" for one in row) + " |"
                      for row in zip(*trends, strict=True))]


def zeng_page() -> str:
    """Pictures and tables of Zeng et al. are written; gallery and findings."""
    results = list(zeng.run_figures(list(zeng.FIGURES), list(TESTBEDS)))
    lines = []
    for name, figure in zeng.FIGURES.items():
        mine = [one for one in results if one.figure.name == name]
        lines += [f"### {name}: {figure.title}", ""]
        table = "time" if name == "energy" else name  # the same rows
        for one in mine:
            picture, rows = one.save(ZENG_FOLDER)
            _small(picture)
            if table != name:
                rows.unlink()
            lines.append(f"![{figure.title}, testbed {one.edition}](images/zeng_2024/zeng_{name}_{one.edition}.png)")
        links = (f"[{one.edition}](images/zeng_2024/zeng_{table}_{one.edition}.csv)" for one in mine)
        lines += ["", f"Rows: {', '.join(links)}. {'; '.join(mine[0].choices)}.", ""]
        lines += [*_trend_table([one.edition for one in mine], [one.trends for one in mine]), ""]
        proofs = [f"{one.edition}: {one.proof()}" for one in mine if one.gaps()]
        lines += [f"Certified plans. {'; '.join(proofs)}.", ""] if proofs else []
    return "\n".join(lines).rstrip()


def dong_page() -> str:
    """Pictures and tables of Dong et al. are written; gallery and findings."""
    results = list(dong.run_figures(list(dong.FIGURES), list(WORKLOADS)))
    lines = []
    for name, figure in dong.FIGURES.items():
        mine = [one for one in results if one.figure.name == name]
        lines += [f"### {name}: {figure.title}", ""]
        for one in mine:
            picture, _ = one.save(DONG_FOLDER)
            _small(picture)
            workload = f", workload {one.edition}" if figure.workload else ""
            lines.append(f"![{figure.title}{workload}](images/dong_2024/{picture.name})")
        links = (f"[{one.edition if figure.workload else 'all'}](images/dong_2024/{one.stem}.csv)" for one in mine)
        lines += ["", f"Rows: {', '.join(links)}. {'; '.join(mine[0].choices)}.", ""]
        heads = [one.edition if figure.workload else "found" for one in mine]
        lines += [*_trend_table(heads, [one.trends for one in mine]), ""]
        if name in ("published", "fleet"):
            lines += ["```text", *TABLES[name](mine[0].rows).splitlines(), "```", ""]
    return "\n".join(lines).rstrip()


def zhang_page() -> str:
    """Pictures and tables of Zhang et al. are written; gallery and findings."""
    results = list(zhang.run_figures(list(zhang.FIGURES), list(BASES)))
    lines = []
    for name, figure in zhang.FIGURES.items():
        mine = [one for one in results if one.figure.name == name]
        lines += [f"### {name}: {figure.title}", ""]
        table = "strategies" if name == "server" else name  # the same rows
        for one in mine:
            picture, rows = one.save(ZHANG_FOLDER)
            _small(picture)
            if table != name:
                rows.unlink()
            lines.append(f"![{figure.title}, base {one.edition}](images/zhang_2024/{picture.name})")
        links = (f"[{one.edition}](images/zhang_2024/zhang_{table}_{one.edition}.csv)" for one in mine)
        lines += ["", f"Rows: {', '.join(links)}. {'; '.join(mine[0].choices)}.", ""]
        lines += [*_trend_table([one.edition for one in mine], [one.trends for one in mine]), ""]
        if name in ("strategies", "offloading"):
            for one in mine:
                lines += ["```text", *zhang_runs.TABLES[name](one.rows).splitlines(), "```", ""]
    return "\n".join(lines).rstrip()


def _small(picture: Path) -> None:
    """A picture of few colours needs a third of the bytes."""
    from PIL import Image

    with Image.open(picture) as image:
        reduced = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(picture, optimize=True)


def pool_pictures() -> None:
    """The smart home's plan as pool_training.md shows it."""
    solution = ea.Scenario.load(DOCS.parent / "examples" / "scenarios" / "smart_home.toml").problem().solve()
    folder = DOCS / "images" / "pool_training"
    folder.mkdir(parents=True, exist_ok=True)
    for what in ("gantt", "memory", "topology"):
        _small(save_figure(solution.plot(what), folder / f"{what}.png"))


def tuning_pictures() -> None:
    """The field teams' assignment as fine_tuning.md shows it."""
    solution = ea.Scenario.load(DOCS.parent / "examples" / "scenarios" / "field_teams.toml").problem().solve()
    folder = DOCS / "images" / "fine_tuning"
    folder.mkdir(parents=True, exist_ok=True)
    for what in ("placement", "quality", "load"):
        _small(save_figure(solution.plot(what), folder / f"{what}.png"))


def deployment_pictures() -> None:
    """The clinic's rollout as deployment.md shows it."""
    problem = ea.Scenario.load(DOCS.parent / "examples" / "scenarios" / "clinic.toml").problem()
    solution = problem.solve()
    folder = DOCS / "images" / "deployment"
    folder.mkdir(parents=True, exist_ok=True)
    for what in ("quality", "offloading", "coverage", "load"):
        _small(save_figure(solution.plot(what), folder / f"{what}.png"))
    front = ea.pareto_front(problem, x="energy", y="accuracy")
    _small(save_figure(front.plot(), folder / "pareto.png"))


def ratio_picture() -> None:
    """How much of the best service-cost ratio simple rules reach, as service_cost_ratio.md shows it."""
    problem = ea.Scenario.random(users=20, servers=4, model="llama3.2-1b", load="congested", seed=0).split_training()
    values = np.geomspace(1.5, 8.0, 9)
    figure, ax = new_figure(width=6.4, height=3.6)
    bounds = []
    for colour, mark, method in zip(COLOURS, "osD", ("certified", "greedy", "random"), strict=False):
        answers = [ea.service_cost_ratio(problem, float(value), method=method) for value in values]
        if method == "certified":
            bounds = [answer.bound or 0.0 for answer in answers]
        shares = [100.0 * (answer.ratio or 0.0) / bound for answer, bound in zip(answers, bounds, strict=True)]
        ax.plot(values, shares, color=colour, marker=mark, label=method)
    ax.axhline(100.0, color=GREY, linestyle=":", label="proven bound")
    ax.set_ylim(0.0, 105.0)
    style_axes(ax, "Most service per cost: what methods reach", "value of a served user (1)", "share of the bound (%)")
    place_legend(ax)
    _small(save_figure(figure, DOCS / "images" / "service_cost_ratio.png"))


def write(page_name: str, block: str) -> None:
    """Replace the block of a page."""
    file = DOCS / page_name
    text = file.read_text(encoding="utf-8")
    parts = re.split(r"(<!-- numbers:figures -->\n).*?(<!-- end -->)", text, flags=re.DOTALL)
    file.write_text(f"{parts[0]}{parts[1]}{block}\n{''.join(parts[2:])}", encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Draw, and replace the blocks of the pages."""
    workers = next((int(one) for one in arguments if one.isdigit()), 1)
    papers = [one for one in arguments if not one.isdigit()] or [
        "liu-zhao-2024", "pool-training", "zeng-2024", "fine-tuning", "dong-2024", "deployment", "zhang-2024",
        "service-cost-ratio", "data-flow"]
    if "liu-zhao-2024" in papers:
        write("liu_zhao_2024.md", page(drawn(workers)))
    if "pool-training" in papers:
        pool_pictures()
    if "zeng-2024" in papers:
        write("zeng_2024.md", zeng_page())
    if "fine-tuning" in papers:
        tuning_pictures()
    if "dong-2024" in papers:
        write("dong_2024.md", dong_page())
    if "deployment" in papers:
        deployment_pictures()
    if "zhang-2024" in papers:
        write("zhang_2024.md", zhang_page())
    if "service-cost-ratio" in papers:
        ratio_picture()
    if "data-flow" in papers:
        data_flow(DOCS / "images" / "data_flow.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
