"""Claims about citations: BibTeX that a strict parser reads, keys that exist, what CITATION.cff says, one command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import edgealloc as ea
from edgealloc.cli import app
from edgealloc.core.citations import FORMULATIONS, REFERENCES, SOFTWARE, TOPICS, Reference, bibtex, references
from edgealloc.core.kinds import KINDS, problem_class

ROOT = Path(__file__).parents[2]
#: What BibTeX's own styles ask of each type.
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "techreport": {"author", "title", "institution"},
    "misc": {"author", "title"},
}


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["cite", *(str(arg) for arg in args)])


def parse(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """key -> (type, fields); anything that is not an entry, a comment line or a blank line is an error."""
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    at = 0
    while at < len(text):
        gap = re.compile(r"\s+|%[^\n]*\n").match(text, at)
        if gap is not None:
            at = gap.end()
            continue
        head = re.compile(r"@([a-z]+)\{([A-Za-z][\w:.-]*),\n").match(text, at)
        assert head is not None, f"no entry at {text[at:at + 40]!r}"
        kind, key = head[1], head[2]
        assert key not in entries, f"{key} twice"
        at, fields = head.end(), {}
        while not text.startswith("}", at):
            name = re.compile(r"\s*([a-z]+)\s*= \{").match(text, at)
            assert name is not None, f"{key}: no field at {text[at:at + 40]!r}"
            value, at = braced(text, name.end())
            assert name[1] not in fields, f"{key}: {name[1]} twice"
            fields[name[1]] = value
            end = re.compile(r",?\n").match(text, at)
            assert end is not None, f"{key}: {name[1]} does not end at {text[at:at + 20]!r}"
            assert end[0].startswith(",") == (not text.startswith("}", end.end())), f"{key}: comma after {name[1]}"
            at = end.end()
        at += 1
        entries[key] = kind, fields
    return entries


def braced(text: str, start: int) -> tuple[str, int]:
    """The text up to the brace that closes the one before `start`, as BibTeX counts (backslashes do not matter)."""
    depth, at = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return text[start : at - 1], at


@pytest.mark.parametrize("key", list(REFERENCES))
def test_every_entry_parses(key: str) -> None:
    """One entry of a known type with what its type needs, ASCII, specials escaped, capitals in braces."""
    text = bibtex(key)
    assert text.isascii()
    assert text.startswith("%") == REFERENCES[key].from_memory
    entries = parse(text)
    assert list(entries) == [key]
    kind, fields = entries[key]
    assert set(fields) >= REQUIRED[kind]
    assert all(fields.values())
    for name, value in fields.items():
        assert re.search(r"(?<!\\)[&%$#_~^]", value) is None, f"{name}: {value}"
    assert re.fullmatch(r"\d{4}", fields.get("year", "2000"))
    assert re.fullmatch(r"\d+--\d+", fields.get("pages", "1--2"))
    assert re.fullmatch(r"\d{4}\.\d{5}", fields.get("eprint", "2000.00000"))
    if "eprint" in fields:
        assert fields["archiveprefix"] == "arXiv"
    unprotected = re.sub(r"\{[^{}]*\}", "", fields["title"])
    for word in re.findall(r"[^\s,:()/-]+", unprotected):
        assert word[1:] == word[1:].lower(), f"{word} loses its capitals in most styles"
    for author in fields["author"].split(" and "):
        assert re.fullmatch(r"\{[^{}]+\}|[^,]+, [^,]+", author), author


def test_rendering() -> None:
    """Accents, specials and organisations, by hand."""
    odd = Reference("odd2000", "misc", "50% of R&D on LLMs: {A_b} in Łódź—and the x^2", (("Łódź & Co", ""), ("Å", "Ç")))
    REFERENCES[odd.key] = odd
    try:
        with pytest.raises(ea.DataError, match="no LaTeX is known for 'Ł'"):
            bibtex(odd.key)
        REFERENCES[odd.key] = Reference(
            "odd2000", "misc", "50% of R&D on LLMs in Göteborg—the x^2_i", (("AT&T", ""), ("Čapek", "Žofie"))
        )
        fields = parse(bibtex(odd.key))["odd2000"][1]
    finally:
        del REFERENCES[odd.key]
    assert fields["title"] == (
        r'50\% of {R\&D} on {LLMs} in G{\"o}teborg---the x{\textasciicircum}2\_i'
    )
    assert fields["author"] == r"{AT\&T} and {\v{C}}apek, {\v{Z}}ofie"


def test_keys_exist() -> None:
    """Every key that a method, a formulation or a topic names is in the table; every built-in method names some."""
    for kind in KINDS:
        assert kind in FORMULATIONS
        for method in problem_class(kind).METHODS:
            assert method.cites, f"{method.name} cites nothing"
            assert references(method.cites), method.name
    for keys in (*FORMULATIONS.values(), *TOPICS.values()):
        assert references(keys)
    assert list(REFERENCES) == [work.key for work in REFERENCES.values()]
    with pytest.raises(ea.DataError, match="did you mean 'liu2024resource'"):
        references(["liu2024resorce"])


def test_the_same_as_the_citation_file() -> None:
    """The papers of CITATION.cff are in the table with the same titles, authors, years and numbers; so is edgealloc."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    own = REFERENCES[SOFTWARE]
    assert own.authors == tuple((author["name"], "") for author in cff["authors"])
    assert own.title.startswith(cff["title"])
    assert own.fields["note"] == f"Version {cff['version']}" == f"Version {ea.__version__}"
    by_title = {work.title: work for work in REFERENCES.values()}
    assert len(cff["references"]) == 4
    for paper in cff["references"]:
        work = by_title[paper["title"]]
        assert work.authors == tuple((one["family-names"], one["given-names"]) for one in paper["authors"])
        assert work.year == str(paper["year"])
        assert f"arXiv:{work.fields['eprint']}" == paper["identifiers"][0]["value"]
        venue = paper.get("journal") or paper.get("collection-title")
        assert venue == (work.fields.get("journal") or work.fields.get("booktitle"))
        assert not work.from_memory


def test_methods_and_formulations() -> None:
    """BibTeX on stdout, each entry once, in the order asked for."""
    done = run("certified", "split-training", "greedy", "edgealloc")
    assert done.exit_code == 0, done.stderr
    entries = parse(done.stdout)
    assert next(iter(entries)) == SOFTWARE
    assert "liu2024resource" in entries
    assert "geoffrion1974lagrangean" in entries
    assert list(parse(run("service-cost-ratio").stdout)) == ["qian2023association", "dinkelbach1967nonlinear", SOFTWARE]
    assert list(parse(run("huangfu2018highs").stdout)) == ["huangfu2018highs"]
    for kind in KINDS:
        for name in (kind, *problem_class(kind).methods()):
            assert parse(run(name).stdout), name


def test_everything_that_can_be_cited_is_listed() -> None:
    """Without a name: methods, formulations, topics, and one line per key."""
    done = run()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    for name in (*KINDS, *TOPICS, *problem_class("split-training").methods(), *REFERENCES):
        assert sum(line.split()[:1] == [name] for line in lines) >= 1, name
    listed = json.loads(run("--json").stdout)
    assert set(listed) == {"formulation", "method", "topic", "reference"}
    assert set(listed["reference"]) == set(REFERENCES)
    assert listed["formulation"]["split-training"][0] == "liu2024resource"


def test_json() -> None:
    document = json.loads(run("edge-only", "shen2018fractional1", "--json").stdout)
    assert document["names"] == {
        # a rule of two papers
        "edge-only": ["liu2024resource", "zhang2025democratized"], "shen2018fractional1": ["shen2018fractional1"],
    }
    liu, _, shen = document["references"]
    assert liu["authors"] == ["Chang Liu", "Jun Zhao"]
    assert (liu["from_memory"], shen["from_memory"]) == (False, True)
    assert list(parse(liu["bibtex"])) == ["liu2024resource"]


def test_unknown_names() -> None:
    for name, meant in (("certifid", "certified"), ("split-trainin", "split-training"), ("edgaloc", "edgealloc")):
        done = run("greedy", name)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert f"'{name}'" in done.stderr
        assert f"'{meant}'" in done.stderr


def test_a_users_own_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `cites` it prints edgealloc's own entry; with them theirs; a faulty key is said."""
    monkeypatch.setattr("edgealloc.core.method._REGISTERED", {})
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import edgealloc as ea\n"
        "def solve(problem, run):\n    return ea.Outcome()\n"
        "ea.register_method('split-training', ea.Method('mine', 'one', run=solve))\n"
        "ea.register_method('split-training', ea.Method('other', 'two', cites=('yuille2003cccp',), run=solve))\n"
        "ea.register_method('split-training', ea.Method('faulty', 'three', cites=('yuile2003cccp',), run=solve))\n",
        encoding="utf-8",
    )
    assert list(parse(run("mine", "--plugin", plugin).stdout)) == [SOFTWARE]
    assert list(parse(run("other", "--plugin", plugin).stdout)) == ["yuille2003cccp"]
    faulty = run("faulty", "--plugin", plugin)
    assert faulty.exit_code == 2
    assert "did you mean 'yuille2003cccp'" in faulty.stderr
