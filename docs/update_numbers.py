"""Write the numbers of the README and docs/*.md anew: every block between `<!-- numbers:NAME -->` and `<!-- end -->`.

    python benchmarks/certificate.py --markdown docs/benchmarks/certificate.md
    python benchmarks/proof.py --markdown docs/benchmarks/proof.md
    python benchmarks/resources.py --markdown docs/benchmarks/resources.md
    python benchmarks/methods.py --sizes 8x2:334,50x5:17 --seconds 20 --workers 2 --methods ... --out docs/benchmarks
    python benchmarks/never_below.py --workers 2 --markdown docs/benchmarks/never_below.md
    python benchmarks/pool_methods.py --markdown docs/benchmarks
    python benchmarks/pool_methods.py --sizes 50x80:1 --networks wifi --weights time --seconds 60 \\
        --methods certified --name large_pools --markdown docs/benchmarks
    python benchmarks/choices.py --agents 100,1000,10000,100000 --fleets 100x5,1000x10,10000x20 --highs 1000 \\
        --markdown docs/benchmarks/choices.md
    python docs/update_numbers.py               all blocks
    python docs/update_numbers.py defects       only those named
"""

from __future__ import annotations

import functools
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import edgealloc as ea
from edgealloc.catalog import SUFFIX
from edgealloc.catalog import compression_facts as compact
from edgealloc.core.fields import Field
from edgealloc.core.method import Method
from edgealloc.core.tables import markdown_table
from edgealloc.formulations.deployment.methods import METHODS as DEPLOYMENT_SOLVERS
from edgealloc.formulations.deployment.validate import FIELDS as DEPLOYMENT_FIELDS
from edgealloc.formulations.deployment.validate import FLAGS as DEPLOYMENT_FLAGS
from edgealloc.formulations.fine_tuning.methods import METHODS as TUNING_SOLVERS
from edgealloc.formulations.fine_tuning.validate import FIELDS as TUNING_FIELDS
from edgealloc.formulations.fine_tuning.validate import FLAGS
from edgealloc.formulations.pool_training.methods import METHODS
from edgealloc.formulations.pool_training.validate import FIELDS
from edgealloc.formulations.split_training.methods import METHODS as SPLIT_SOLVERS
from edgealloc.formulations.split_training.validate import FIELDS as SPLIT_FIELDS
from edgealloc.reproduce.dong_2024 import runs as dong
from edgealloc.reproduce.dong_2024 import settings as dong_settings
from edgealloc.reproduce.liu_zhao_2024.defects import defects, markdown
from edgealloc.reproduce.zeng_2024.estimate import estimate_table
from edgealloc.reproduce.zeng_2024.settings import REPORTED, TESTBEDS, choices
from edgealloc.reproduce.zhang_2024 import settings as zhang_settings
from edgealloc.system.tuning import TUNING_METHODS

sys.path.insert(0, str(Path(__file__).resolve().parent))

from update_methods import described

DOCS = Path(__file__).resolve().parent
#: Words of symbols that are letters, and indices that are several letters in a row.
GREEK = frozenset(["alpha", "beta", "eta", "kappa", "lambda", "psi", "rho", "sigma", "theta", "Theta"])
INDICES = frozenset(["nm", "ik", "ic", "iv", "ivc", "is", "sc", "vc"])
FIELD_HEADER = ["symbol", "python name", "unit", "per", "what"]


def quickstart() -> str:
    """What the README's five lines print."""
    scenario = ea.Scenario.random(users=50, servers=5, model="llama3.2-1b", load="proportional", seed=0)
    problem = scenario.split_training(weights=ea.Weights(delay=1, energy=1, stability=1))
    ea.compare(problem)  # times of a warm process
    return f"```text\n{ea.compare(problem)}\n```"


def paper_defects() -> str:
    """What is wrong with the literal problem of Liu & Zhao."""
    return markdown(defects())


def paper_setting() -> str:
    """Every number of the preset "paper": the paper's, and ours with the reason."""
    scenario = ea.Scenario.random(50, 10, preset="paper")
    reasons, lines = scenario.assumptions(), ["| number | value | from |", "|---|---|---|"]
    for row in scenario.table():
        source = f"ours: {reasons[row.path]}" if row.mark == "assumption" else row.source
        if row.mark in ("assumption", "cited"):
            lines.append(f"| `{row.path}` | {row.shown} | {source} |")
    reference = scenario.split_training().weights.reference or {}
    amounts = f"{reference['delay']:.4g} s, {reference['energy']:.4g} J, {reference['stability']:.4g}"
    lines.append(f"| `weights.reference` | {amounts} | ours: {reasons['weights.reference']} |")
    return "\n".join(lines)


def _symbol(text: str) -> str:
    """A symbol of a table of fields as a formula: "kappa_n" is kappa with the index n."""

    def part(word: str) -> str:
        if word in GREEK:
            return f"\\{word}"
        return word if len(word) == 1 or word in INDICES else f"\\mathrm{{{word}}}"

    def one(match: re.Match[str]) -> str:
        return part(match[1]) + (f"_{{{part(match[2])}}}" if match[2] else "")

    return f"${re.sub(r'([A-Za-z]+)(?:_([A-Za-z0-9]+))?', one, text)}$" if text else ""


def _field_rows(fields: Sequence[Field]) -> list[list[str]]:
    rows = []
    for one in fields:
        shape = one.shape.replace("scalar", "")
        rows.append([_symbol(one.symbol), f"`{one.name}`", one.unit.replace("*", " "), shape, one.text])
    return rows


def _source(method: Method) -> str:
    """Where a method is from; one of these pages as a link."""
    page = method.reference.removeprefix("docs/")
    return page if page == method.reference else f"[{page}]({page})"


def split_fields() -> str:
    """The symbol table of split training."""
    rows = [["$Y$", "`layers`", "1", "", "layers of the model"], *_field_rows(SPLIT_FIELDS)]
    return markdown_table(FIELD_HEADER, rows)


def split_solvers() -> str:
    """The methods of split training as the library lists them."""
    return _methods("split-training", SPLIT_SOLVERS)


def pool_fields() -> str:
    """The symbol table of pool training."""
    counts = {"layers": ("Y", "layers"), "batch": ("B", "samples of an iteration"), "micro_batches": ("M", "its parts"),
              "tokens": ("d", "units that sequence parallelism shares"),
              "heads": ("", "units that tensor parallelism shares")}
    rows = [[_symbol(symbol), f"`{name}`", "1", "", text] for name, (symbol, text) in counts.items()]
    return markdown_table(FIELD_HEADER, [*rows, *_field_rows(FIELDS)])


def _methods(kind: str, methods: Sequence[Method]) -> str:
    pages = described()
    rows = [[f"[`{one.name}`](methods/{pages[kind, one.name]})", one.summary, "a lower bound" if one.proves else "",
             "" if one.slow else "yes", _source(one)] for one in methods]
    return markdown_table(["method", "idea", "proves", "by default in `compare`", "source"], rows)


def pool_methods() -> str:
    """The methods of pool training as the library lists them."""
    return _methods("pool-training", METHODS)


def tuning_solvers() -> str:
    """The methods of fine-tuning fleets as the library lists them."""
    return _methods("fine-tuning", TUNING_SOLVERS)


def tuning_fields() -> str:
    """The symbol table of fine-tuning fleets."""
    rows = [["", f"`{name}`", "", "job x method", text] for name, text in FLAGS.items()]
    return markdown_table(FIELD_HEADER, [*_field_rows(TUNING_FIELDS), *rows])


def tuning_methods() -> str:
    """Fine-tuning methods as the library lists them."""
    rows = [[f"`{name}`", one.summary, "first" if one.order else "zeroth", "all" if one.trains_base else "few",
             one.precision, one.reference] for name, one in TUNING_METHODS.items()]
    return markdown_table(["method", "what is trained", "order", "parameters", "base", "source"], rows)


def tuning_answer() -> str:
    """The page of the field teams' solution, without its time."""
    solution = ea.Scenario.load(DOCS.parent / "examples" / "scenarios" / "field_teams.toml").problem().solve()
    lines = [line for line in solution.summary().splitlines() if not re.fullmatch(r"time +[\d.e-]+ s", line)]
    return "\n".join(["```text", *lines, "```"])


@functools.cache
def _clinic() -> ea.Solution[ea.Rollout, ea.DeploymentCosts]:
    """The clinic's rollout."""
    problem = ea.Scenario.load(DOCS.parent / "examples" / "scenarios" / "clinic.toml").problem()
    solution: ea.Solution[ea.Rollout, ea.DeploymentCosts] = problem.solve()
    return solution


def deployment_fields() -> str:
    """The symbol table of deployment."""
    rows = [["", f"`{name}`", "", "device x variant", text] for name, text in DEPLOYMENT_FLAGS.items()]
    return markdown_table(FIELD_HEADER, [*_field_rows(DEPLOYMENT_FIELDS), *rows])


def deployment_solvers() -> str:
    """The methods of deployment as the library lists them."""
    return _methods("deployment", DEPLOYMENT_SOLVERS)


def deployment_answer() -> str:
    """The page of the clinic's solution, without its time."""
    lines = [line for line in _clinic().summary().splitlines() if not re.fullmatch(r"time +[\d.e-]+ s", line)]
    return "\n".join(["```text", *lines, "```"])


def deployment_why() -> str:
    """Why it is what it is."""
    return f"```text\n{_clinic().explain().text()}\n```"


def tuning_errors() -> str:
    """Published memory beside the model's."""
    rows = [row for row in dong.ROWS["published"]("", (), 0.0, None, lambda _: None) if row["quantity"] == "memory"]
    table = markdown_table(dong.PUBLISHED_HEADER, dong.published_cells([row for row in rows if row["whole"]]))
    parts = markdown_table(dong.PUBLISHED_HEADER, dong.published_cells([row for row in rows if not row["whole"]]))
    return f"{table}\n\nComponents, where a source has them (* from memory):\n\n{parts}"


def inference_sizes() -> str:
    """Published sizes beside the model's, llama.cpp first."""
    checks = compact.size_errors()
    texts = []
    for own in (True, False):
        rows = [[one.row.model, f"`{one.row.label}`", f"{one.published:g} {one.row.unit}", f"{one.model:.4g}",
                 f"{one.error_percent:+.2f} %", one.row.reason or one.row.note]
                for one in checks if one.row.name.startswith("llama.cpp") == own]
        texts.append(markdown_table(["model", "format", "published", "model's", "error", "remark"], rows))
    return f"{texts[0]}\n\nOther formats (MELT, ExecuTorch, GPTQ):\n\n{texts[1]}"


def inference_speed() -> str:
    """Measured speeds beside the roofline's."""
    rows = []
    for one in compact.throughput_errors():
        predicted, error = one.predicted, one.error_percent
        rows.append([one.row.device, one.row.model, f"`{one.row.label}`", one.row.framework, f"{one.measured:.4g}",
                     f"{one.peak:.4g}", f"{one.eta_bandwidth:.2f}", "-" if predicted is None else f"{predicted:.3g}",
                     "-" if error is None else f"{error:+.0f} %", one.basis])
    header = ["device", "model", "format", "framework", "tokens/s", "at peak bandwidth", "eta", "predicted", "error",
              "predicted from the other"]
    return markdown_table(header, rows)


def inference_frameworks() -> str:
    """Efficiencies of frameworks, derived from the measured rows."""
    rows = []
    for name, entry in compact.frameworks().items():
        one = compact.efficiency(name)
        rows.append([f"`{name}`", entry.unit, ", ".join(entry.families), f"{one.eta_bandwidth:.2f}",
                     f"{one.low:.2f} to {one.high:.2f}", str(len(one.rows)), f"{one.eta_flops:.2g}", entry.text])
    return markdown_table(["framework", "unit", "formats", "eta_bandwidth", "range", "rows", "eta_flops", "what"], rows)


def inference_classes() -> str:
    """Base models: accuracy by class and hallucination rate, each with its mark."""
    marks = {"published": "", "published change": "~", "assumption": "?"}
    header = ["model", "parameters", "f16 GB", "Q4_K_M GB",
              *(f"{one.name} ({one.benchmark})" for one in compact.QUERY_CLASSES), "hallucination (HHEM)", "teacher"]
    rows = []
    for one in compact.variants(labels=["f16"]):
        found = [*one.class_accuracy.values(), one.hallucination]
        if one.hallucination is not None or all(found[:3]):
            cells = ["-" if cell is None else f"{100 * cell.value:.1f}{SUFFIX[cell.mark]}{marks[cell.origin]}"
                     for cell in found]
            small = compact.variant(one.base, "Q4_K_M").weight_bytes
            rows.append([one.base, f"{one.params / 1e9:.2f} B", f"{one.weight_bytes / 1e9:.2f}", f"{small / 1e9:.2f}",
                         *cells, one.teacher or ""])
    return markdown_table(header, rows)


def inference_accuracy() -> str:
    """The assumption on accuracy beside published changes."""
    errors: dict[str, list[float]] = {}
    for one in compact.accuracy_errors():
        errors.setdefault(one.row.task, []).append(one.error_points)
    rows = [[task, str(len(found)), f"{statistics.median(found):+.1f}", f"{statistics.median(map(abs, found)):.1f}",
             f"{min(found):+.1f} to {max(found):+.1f}"] for task, found in errors.items()]
    return markdown_table(["benchmark", "rows", "median error (points)", "median size", "range"], rows)


def dong_choices() -> str:
    """What the public text of Dong et al. leaves open and we chose, for both workloads."""
    lines = ["Reported by the paper, as far as its public text goes (abstract; summaries of its sections):", "",
             *(f"- {one}" for one in dong_settings.REPORTED), "", "Ours:", ""]
    editions = {name: dong_settings.choices(name) for name in dong_settings.WORKLOADS}
    shared = [one for one in editions["short"] if one in editions["long"]]
    lines += [f"- `{name}`: {one}" for name, texts in editions.items() for one in texts if one not in shared]
    return "\n".join([*lines, *(f"- {one}" for one in shared)])


def zhang_choices() -> str:
    """What could not be read of Zhang et al. and we chose, for both base models."""
    lines = ["Reported by the paper, as far as it could be read (abstract, beginning of the introduction):", "",
             *(f"- {one}" for one in zhang_settings.REPORTED), "", "Ours:", ""]
    editions = {name: zhang_settings.choices(name) for name in zhang_settings.BASES}
    shared = [one for one in editions["llama3"] if one in editions["llama2"]]
    lines += [f"- `{name}`: {one}" for name, texts in editions.items() for one in texts if one not in shared]
    return "\n".join([*lines, *(f"- {one}" for one in shared)])


def zeng_choices() -> str:
    """What the public text of Zeng et al. leaves open and we chose, for both testbeds."""
    lines = ["Reported by the paper, as far as its public text goes:", "", *(f"- {one}" for one in REPORTED), "",
             "Ours:", ""]
    shared = [one for one in choices("nano") if one in choices("mixed")]
    for testbed, text in TESTBEDS.items():
        lines += [f"- testbed `{testbed}`: {text}"]
        lines += [f"  - {one}" for one in choices(testbed) if one not in shared]
    return "\n".join([*lines, *(f"- {one}" for one in shared)])


#: Blocks that are computed here; those of benchmarks are read from their tables.
BLOCKS: dict[str, Callable[[], str]] = {
    "quickstart": quickstart,
    "defects": paper_defects,
    "paper-setting": paper_setting,
    "split-fields": split_fields,
    "split-solvers": split_solvers,
    "pool-fields": pool_fields,
    "pool-methods": pool_methods,
    "pool-estimate": estimate_table,
    "zeng-choices": zeng_choices,
    "deployment-fields": deployment_fields,
    "deployment-solvers": deployment_solvers,
    "deployment-answer": deployment_answer,
    "deployment-why": deployment_why,
    "zhang-choices": zhang_choices,
    "tuning-fields": tuning_fields,
    "tuning-solvers": tuning_solvers,
    "tuning-methods": tuning_methods,
    "tuning-answer": tuning_answer,
    "tuning-errors": tuning_errors,
    "dong-choices": dong_choices,
    "inference-sizes": inference_sizes,
    "inference-speed": inference_speed,
    "inference-frameworks": inference_frameworks,
    "inference-classes": inference_classes,
    "inference-accuracy": inference_accuracy,
}


def _table(file: Path) -> str:
    """What a benchmark wrote."""
    return file.read_text(encoding="utf-8").strip()


def _written(page: Path, name: str, block: Callable[[], str]) -> None:
    """Replace one block of a page, if the page has it."""
    text = page.read_text(encoding="utf-8")
    parts = re.split(rf"(<!-- numbers:{name} -->\n).*?(<!-- end -->)", text, flags=re.DOTALL)
    if len(parts) > 1:
        page.write_text(f"{parts[0]}{parts[1]}{block()}\n{''.join(parts[2:])}", encoding="utf-8")


def main(wanted: list[str]) -> None:
    """Replace the blocks, all of them by default."""
    blocks = dict(BLOCKS)
    for table in (DOCS / "benchmarks").glob("*.md"):
        blocks[table.stem] = functools.partial(_table, table)
    for name in wanted or list(blocks):
        for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
            _written(page, name, blocks[name])


if __name__ == "__main__":
    main(sys.argv[1:])
