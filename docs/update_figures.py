"""Draw the figures of liu_zhao_2024.md anew, with their tables, and write what was found into the page.

    python docs/update_figures.py [WORKERS]

Half of the paper's sizes and half of its weights, so that it takes some ten minutes on two processors; the commands in
the page draw the paper's own sizes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgealloc.reproduce.liu_zhao_2024.figures import FIGURES, FigureResult, run_figures
from edgealloc.reproduce.liu_zhao_2024.settings import EDITIONS
from edgealloc.sweeps.result import frame_to_csv

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "images" / "liu_zhao_2024"
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
        lines += ["", f"Means and intervals: {', '.join(links)}.", "", "| statement | " + " | ".join(
            one.edition for one in mine) + " |", "|---|" + "---|" * len(mine)]
        for trends in zip(*(one.trends for one in mine), strict=True):
            lines.append(f"| {trends[0].statement} | " + " | ".join(_verdict(one) for one in trends) + " |")
        lines += ["", "Rankings as found, best first (means over all points and samples):", ""]
        for one in mine:
            lines += [f"- {one.edition}, {name.replace('_', ' ')}: {text}" for name, text in one.rankings.items()]
        lines.append("")
    return "\n".join(lines).rstrip()


def _verdict(trend: object) -> str:
    verdict = str(trend).split(":", 1)[0]
    return f"{verdict}: {getattr(trend, 'found', '')}"


def main(workers: int) -> None:
    """Draw, and replace the block of the page."""
    block = page(drawn(workers))
    file = DOCS / "liu_zhao_2024.md"
    text = file.read_text(encoding="utf-8")
    parts = re.split(r"(<!-- numbers:figures -->\n).*?(<!-- end -->)", text, flags=re.DOTALL)
    file.write_text(f"{parts[0]}{parts[1]}{block}\n{''.join(parts[2:])}", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
