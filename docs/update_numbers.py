"""Write the numbers of the README anew: every block between `<!-- numbers:NAME -->` and `<!-- end -->`.

    python benchmarks/certificate.py --markdown docs/benchmarks/certificate.md
    python benchmarks/proof.py --markdown docs/benchmarks/proof.md
    python benchmarks/resources.py --markdown docs/benchmarks/resources.md
    python docs/update_numbers.py
"""

from __future__ import annotations

import re
from pathlib import Path

import edgealloc as ea

DOCS = Path(__file__).resolve().parent


def quickstart() -> str:
    """What the README's five lines print."""
    scenario = ea.Scenario.random(users=50, servers=5, model="llama3.2-1b", load="proportional", seed=0)
    problem = scenario.split_training(weights=ea.Weights(delay=1, energy=1, stability=1))
    ea.compare(problem)  # times of a warm process
    return f"```text\n{ea.compare(problem)}\n```"


def main() -> None:
    """Replace the blocks."""
    readme = DOCS.parent / "README.md"
    text = readme.read_text(encoding="utf-8")
    blocks = {"quickstart": quickstart()}
    for table in (DOCS / "benchmarks").glob("*.md"):
        blocks[table.stem] = table.read_text(encoding="utf-8").strip()
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- numbers:{name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text)  # type: ignore[misc]
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
