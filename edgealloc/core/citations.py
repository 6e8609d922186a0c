"""What edgealloc builds on, as data: papers and software by key, rendered to BibTeX.

Methods name keys of `REFERENCES` in their `cites`; formulations and topics are in `FORMULATIONS` and `TOPICS`. An entry
whose `from_memory` is set was written down without the work at hand: its rendering says so, check it before you print
it.

>>> print(bibtex("dinkelbach1967nonlinear"))
% from memory: check before you print it
@article{dinkelbach1967nonlinear,
  author  = {Dinkelbach, Werner},
  title   = {On Nonlinear Fractional Programming},
  journal = {Management Science},
  volume  = {13},
  number  = {7},
  pages   = {492--498},
  year    = {1967}
}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgealloc.errors import DataError, nearest

__all__ = ["FORMULATIONS", "REFERENCES", "SOFTWARE", "TOPICS", "Reference", "bibtex", "references"]

#: The key of edgealloc's own entry.
SOFTWARE: Final = "edgealloc"


@dataclass(frozen=True)
class Reference:
    """One work.

    Attributes
    ----------
    key : str
        Its BibTeX key.
    kind : str
        BibTeX's type: "article", "inproceedings", "techreport", "incollection" or "misc".
    title : str
    authors : tuple of (family, given)
        In Unicode; an organisation has no given name.
    year : str
        Empty where there is none.
    fields : mapping
        Further BibTeX fields in Unicode, in the order in which they are printed.
    from_memory : bool
        Nobody has compared the entry with the work itself, or with an entry published for it.
    """

    key: str
    kind: str
    title: str
    authors: tuple[tuple[str, str], ...]
    year: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    from_memory: bool = False

    @property
    def line(self) -> str:
        """One line for lists: "Held & Karp 1971: The Traveling-Salesman Problem ..."."""
        names = [family for family, _ in self.authors]
        who = names[0] if len(names) == 1 else f"{names[0]} & {names[1]}" if len(names) == 2 else f"{names[0]} et al."
        return f"{who}{' ' + self.year if self.year else ''}: {self.title}"


def _arxiv(number: str, **fields: str) -> dict[str, str]:
    return {**fields, "eprint": number, "archiveprefix": "arXiv"}


_TABLE: Final = (
    Reference(
        SOFTWARE, "misc", "edgealloc: Resource Allocation with a Proof for Large Language Models at the Mobile Edge",
        (("The edgealloc developers", ""),), "", {"note": "Version 0.1.0"},
    ),
    # ---- the papers whose models are solved
    Reference(
        "liu2024resource", "inproceedings", "Resource Allocation for Stable LLM Training in Mobile Edge Computing",
        (("Liu", "Chang"), ("Zhao", "Jun")), "2024",
        _arxiv("2409.20247", booktitle="Proceedings of the 25th International Symposium on Theory, Algorithmic "
               "Foundations, and Protocol Design for Mobile Networks and Mobile Computing (MobiHoc '24)"),
    ),
    Reference(
        "zeng2024implementation", "article",
        "Implementation of Big AI Models for Wireless Networks with Collaborative Edge Computing",
        (("Zeng", "Liekang"), ("Ye", "Shengyuan"), ("Chen", "Xu"), ("Yang", "Yang")), "2024",
        _arxiv("2404.17766", journal="IEEE Wireless Communications"),
    ),
    Reference(
        "zhang2024edgeshard", "misc", "EdgeShard: Efficient LLM Inference via Collaborative Edge Computing",
        (("Zhang", "Mingjin"), ("Cao", "Jiannong"), ("Shen", "Xiaoming"), ("Cui", "Zeyang")), "2024",
        _arxiv("2405.14371"), from_memory=True,
    ),
    Reference(
        "ye2024asteroid", "misc", "Asteroid: Resource-Efficient Hybrid Pipeline Parallelism for Collaborative DNN "
        "Training on Heterogeneous Edge Devices",
        (("Ye", "Shengyuan"), ("Zeng", "Liekang"), ("Chu", "Xiaowen"), ("Xing", "Guoliang"), ("Chen", "Xu")), "2024",
        _arxiv("2408.08015"), from_memory=True,
    ),
    Reference(
        "dong2024finetuning", "misc",
        "Fine-Tuning and Deploying Large Language Models Over Edges: Issues and Approaches",
        (("Dong", "Yanjie"), ("Zhang", "Haijun"), ("Li", "Chengming"), ("Guo", "Song"), ("Leung", "Victor C. M."),
         ("Hu", "Xiping")), "2024",
        _arxiv("2408.10691"),
    ),
    Reference(
        "zhang2025democratized", "article",
        "Toward Democratized Generative AI in Next-Generation Mobile Edge Networks",
        (("Zhang", "Ruichen"), ("He", "Jiayi"), ("Luo", "Xiaofeng"), ("Niyato", "Dusit"), ("Kang", "Jiawen"),
         ("Xiong", "Zehui"), ("Li", "Yonghui"), ("Sikdar", "Biplab")), "2025",
        _arxiv("2411.09148", journal="IEEE Network"),
    ),
    Reference(
        "qian2023association", "misc",
        "User Association and Resource Allocation in Large Language Model Based Mobile Edge Computing System over "
        "Wireless Communications",
        (("Qian", "Liangxin"), ("Zhao", "Jun")), "2023", _arxiv("2310.17872"),
    ),
    Reference(
        "fu2023effectiveness", "inproceedings", "On the Effectiveness of Parameter-Efficient Fine-Tuning",
        (("Fu", "Zihao"), ("Yang", "Haoran"), ("So", "Anthony Man-Cho"), ("Lam", "Wai"), ("Bing", "Lidong"),
         ("Collier", "Nigel")), "2023",
        _arxiv("2211.15583", booktitle="Proceedings of the AAAI Conference on Artificial Intelligence", volume="37"),
        from_memory=True,
    ),
    Reference(
        "tr38901channel", "techreport", "Study on Channel Model for Frequencies from 0.5 to 100 GHz",
        (("3GPP", ""),), "",
        {"institution": "3rd Generation Partnership Project", "type": "Technical Report", "number": "TR 38.901"},
        from_memory=True,
    ),
    # ---- methods
    Reference(
        "shen2018fractional1", "article",
        "Fractional Programming for Communication Systems—Part I: Power Control and Beamforming",
        (("Shen", "Kaiming"), ("Yu", "Wei")), "2018",
        {"journal": "IEEE Transactions on Signal Processing", "volume": "66", "number": "10", "pages": "2616--2630"},
        from_memory=True,
    ),
    Reference(
        "shen2018fractional2", "article",
        "Fractional Programming for Communication Systems—Part II: Uplink Scheduling via Matching",
        (("Shen", "Kaiming"), ("Yu", "Wei")), "2018",
        {"journal": "IEEE Transactions on Signal Processing", "volume": "66", "number": "10", "pages": "2631--2644"},
        from_memory=True,
    ),
    Reference(
        "dinkelbach1967nonlinear", "article", "On Nonlinear Fractional Programming",
        (("Dinkelbach", "Werner"),), "1967",
        {"journal": "Management Science", "volume": "13", "number": "7", "pages": "492--498"}, from_memory=True,
    ),
    Reference(
        "yuille2003cccp", "article", "The Concave-Convex Procedure",
        (("Yuille", "Alan L."), ("Rangarajan", "Anand")), "2003",
        {"journal": "Neural Computation", "volume": "15", "number": "4", "pages": "915--936"}, from_memory=True,
    ),
    Reference(
        "held1971traveling", "article", "The Traveling-Salesman Problem and Minimum Spanning Trees: Part II",
        (("Held", "Michael"), ("Karp", "Richard M.")), "1971",
        {"journal": "Mathematical Programming", "volume": "1", "pages": "6--25"}, from_memory=True,
    ),
    Reference(
        "geoffrion1974lagrangean", "article", "Lagrangean Relaxation for Integer Programming",
        (("Geoffrion", "Arthur M."),), "1974",
        {"journal": "Mathematical Programming Study", "volume": "2", "pages": "82--114"}, from_memory=True,
    ),
    Reference(
        "kiwiel1990proximity", "article",
        "Proximity Control in Bundle Methods for Convex Nondifferentiable Minimization",
        (("Kiwiel", "Krzysztof C."),), "1990",
        {"journal": "Mathematical Programming", "volume": "46", "pages": "105--122"}, from_memory=True,
    ),
    Reference(
        "lemarechal1995bundle", "article", "New Variants of Bundle Methods",
        (("Lemaréchal", "C."), ("Nemirovskii", "A."), ("Nesterov", "Yu.")), "1995",
        {"journal": "Mathematical Programming", "volume": "69", "pages": "111--147"}, from_memory=True,
    ),
    # ---- solvers and modellers
    Reference(
        "huangfu2018highs", "article", "Parallelizing the Dual Revised Simplex Method",
        (("Huangfu", "Q."), ("Hall", "J. A. J.")), "2018",
        {"journal": "Mathematical Programming Computation", "volume": "10", "number": "1", "pages": "119--142",
         "doi": "10.1007/s12532-017-0130-5"},
    ),
    Reference(
        "diamond2016cvxpy", "article", "CVXPY: A Python-Embedded Modeling Language for Convex Optimization",
        (("Diamond", "Steven"), ("Boyd", "Stephen")), "2016",
        {"journal": "Journal of Machine Learning Research", "volume": "17", "number": "83", "pages": "1--5"},
        from_memory=True,
    ),
    Reference(
        "goulart2024clarabel", "misc",
        "Clarabel: An Interior-Point Solver for Conic Programs with Quadratic Objectives",
        (("Goulart", "Paul J."), ("Chen", "Yuwen")), "2024", _arxiv("2405.12762"),
    ),
    Reference(
        "forrest2005cbc", "incollection", "CBC User Guide", (("Forrest", "John"), ("Lougee-Heimer", "Robin")), "2005",
        {"booktitle": "Emerging Theory, Methods, and Applications", "publisher": "INFORMS",
         "series": "INFORMS TutORials in Operations Research", "pages": "257--277"},
        from_memory=True,
    ),
    Reference(
        "mitchell2011pulp", "techreport", "PuLP: A Linear Programming Toolkit for Python",
        (("Mitchell", "Stuart"), ("O'Sullivan", "Michael"), ("Dunning", "Iain")), "2011",
        {"institution": "The University of Auckland"}, from_memory=True,
    ),
)

#: Every work by its key, in the order in which lists show them.
REFERENCES: Final[dict[str, Reference]] = {one.key: one for one in _TABLE}

#: What to cite for a formulation: its paper, and edgealloc for the way it is solved.
FORMULATIONS: Final[dict[str, tuple[str, ...]]] = {
    "split-training": ("liu2024resource", SOFTWARE),
    "pool-training": ("zeng2024implementation", SOFTWARE),
    "fine-tuning": ("dong2024finetuning", SOFTWARE),
    "deployment": ("zhang2025democratized", SOFTWARE),
}

#: What to cite for things that are neither a formulation nor a method.
TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "service-cost-ratio": ("qian2023association", "dinkelbach1967nonlinear", SOFTWARE),
    "stability": ("liu2024resource", "fu2023effectiveness"),
    "path-loss": ("tr38901channel",),
    "solvers": ("huangfu2018highs", "goulart2024clarabel", "diamond2016cvxpy", "mitchell2011pulp", "forrest2005cbc"),
}


def references(keys: Iterable[str]) -> tuple[Reference, ...]:
    """The works of some keys, each once, in the order of their first mention.

    Raises
    ------
    DataError
        A key that is not in the table.
    """
    chosen: dict[str, Reference] = {}
    for key in keys:
        if key not in REFERENCES:
            raise DataError(f"cites: '{key}' is no key of the table of references; {nearest(key, REFERENCES)}")
        chosen[key] = REFERENCES[key]
    return tuple(chosen.values())


# ---- rendering ------------------------------------------------------------------------------------------------------

#: Fields whose text is a number, a range or an address: nothing in them is escaped.
_PLAIN: Final = frozenset({"year", "volume", "number", "pages", "doi", "eprint", "archiveprefix", "url"})
_SPECIAL: Final = {
    "\\": r"{\textbackslash}", "{": r"{\textbraceleft}", "}": r"{\textbraceright}", "&": r"\&", "%": r"\%",
    "$": r"\$", "#": r"\#", "_": r"\_", "~": r"{\textasciitilde}", "^": r"{\textasciicircum}", "–": "--", "—": "---",
    "ł": r"{\l}", "ø": r"{\o}", "ß": r"{\ss}",
}  # fmt: skip
#: Accents by their combining character.
_ACCENTS: Final = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c",
    "\u030a": "r",
}  # fmt: skip
#: Words that keep their capital although it is their only one.
_PROPER: Final = frozenset({"I", "Lagrangean", "Python"})


def bibtex(key: str) -> str:
    """The BibTeX entry of a key, pure ASCII, after a comment line if it is from memory.

    Raises
    ------
    DataError
        A key that is not in the table.
    """
    (work,) = references([key])
    fields = {"author": " and ".join(_author(*one) for one in work.authors), "title": _title(work.title)}
    fields |= {name: text if name in _PLAIN else _escape(text) for name, text in work.fields.items()}
    if work.year:
        fields["year"] = work.year
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{text}}}" for name, text in fields.items()]
    head = "% from memory: check before you print it\n" if work.from_memory else ""
    return f"{head}@{work.kind}{{{work.key},\n" + ",\n".join(lines) + "\n}"


def _author(family: str, given: str) -> str:
    """ "Family, Given"; an organisation in braces, so that it is not taken apart."""
    return f"{_escape(family)}, {_escape(given)}" if given else f"{{{_escape(family)}}}"


def _title(text: str) -> str:
    """Styles set titles in lower case: words with capitals of their own are put in braces."""
    def word(part: str) -> str:
        return f"{{{_escape(part)}}}" if part in _PROPER or part[1:] != part[1:].lower() else _escape(part)

    return "".join(word(part) for part in re.split(r"([\s,:()/–—-]+)", text))


def _escape(text: str) -> str:
    return "".join(_character(one) for one in unicodedata.normalize("NFC", text))


def _character(one: str) -> str:
    if one in _SPECIAL:
        return _SPECIAL[one]
    if one.isascii():
        return one
    base, *marks = list(unicodedata.normalize("NFD", one))
    if len(marks) != 1 or marks[0] not in _ACCENTS:
        raise DataError(f"citations: no LaTeX is known for {one!r}; add it to the table of characters")
    accent = _ACCENTS[marks[0]]
    return f"{{\\{accent}{{{base}}}}}" if accent.isalpha() else f"{{\\{accent}{base}}}"
