"""Options, methods, tables, weights, constraints: the small pieces of core."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import edgealloc as ea
from edgealloc.core.constraints import Conflict
from edgealloc.core.method import find_method, methods_of
from edgealloc.core.run import Run, TimeUpError
from edgealloc.core.tables import latex_table, markdown_table, text_table

OPTIONS: dict[str, Any] = {"gap": 1e-3, "time_limit_s": 60.0, "seed": 0, "threads": None, "on_progress": None,
                           "warm_start": None}


@pytest.mark.parametrize(("name", "value"), [
    ("gap", -1e-9), ("gap", math.nan), ("gap", math.inf), ("gap", "small"), ("gap", None),
    ("time_limit_s", 0.0), ("time_limit_s", -1.0), ("time_limit_s", math.nan), ("time_limit_s", "1 h"),
    ("seed", -1), ("seed", 1.5), ("seed", None), ("threads", 0), ("threads", -2), ("threads", 1.5),
])
def test_faulty_options_are_named(name: str, value: Any) -> None:
    with pytest.raises(ea.DataError, match=f"solve: {name}: is"):
        Run.create(**{**OPTIONS, name: value})


def test_all_faulty_options_at_once() -> None:
    with pytest.raises(ea.DataError, match="4 faults") as caught:
        Run.create(**{**OPTIONS, "gap": -1, "time_limit_s": 0, "seed": -1, "threads": 0})
    assert len(caught.value.faults) == 4


def test_options_that_are_fine() -> None:
    run = Run.create(**{**OPTIONS, "time_limit_s": None, "gap": 0})
    assert run.time_limit_s == math.inf
    assert run.seconds_left == math.inf
    assert run.threads >= 1
    run.check_time()
    with pytest.raises(TimeUpError):
        Run(time_limit_s=-1.0).check_time()


def test_progress_reaches_history_and_caller() -> None:
    seen: list[ea.Progress] = []
    run = Run(on_progress=seen.append)
    run.report("a", 1, 2.0, 1.0)
    run.report("b")
    assert run.history == seen
    assert seen[0].gap == 0.5
    assert seen[1].gap is None
    assert ea.Progress("x", 0.0, 0, 1.0, 2.0).gap == 0.0


def test_register_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgealloc.core.method._REGISTERED", {})

    def mine(problem: Any, run: Any) -> ea.Outcome:
        return ea.Outcome()

    ea.register_method("split-training", ea.Method("contract-test", "one line", run=mine))
    assert ea.SplitTraining.methods()["contract-test"].summary == "one line"
    again = ea.Method("contract-test", "replaced", run="edgealloc.core.run:Run")
    ea.register_method("split-training", again)
    assert ea.SplitTraining.methods()["contract-test"] is again
    assert next(iter(ea.SplitTraining.methods())) == "certified"
    with pytest.raises(ea.DataError, match="built-in"):
        ea.register_method("split-training", ea.Method("greedy", "", run=mine))
    with pytest.raises(ea.DataError, match="did you mean 'split-training'"):
        ea.register_method("split-trainning", ea.Method("x", "", run=mine))
    for faulty in (ea.Method("", "", run=mine), ea.Method("x", ""), ea.Method("x", "", run="no_colon")):
        with pytest.raises(ea.DataError, match="needs a name"):
            ea.register_method("split-training", faulty)


def test_unknown_and_unfit_methods() -> None:
    table = (ea.Method("greedy", "", run="x:y"), ea.Method("absent", "", needs=("no_such_package",), run="x:y"))
    with pytest.raises(ea.DataError, match="did you mean 'greedy'"):
        find_method("none", table, "gredy")
    with pytest.raises(ea.MissingDependencyError, match="pip install"):
        find_method("none", table, "absent")(None, Run())
    def wrong(problem: Any, run: Any) -> Any:
        return 3

    with pytest.raises(TypeError, match="returned int"):
        ea.Method("wrong", "", run=wrong)(None, Run())
    with pytest.raises(TypeError):
        methods_of("none", table)["new"] = table[0]  # type: ignore[index]


def test_every_method_of_the_table_resolves() -> None:
    from edgealloc.core.links import resolve

    for method in ea.SplitTraining.METHODS:
        assert isinstance(method.run, str)
        module = method.run.partition(":")[0]
        if not module.endswith((".certified", ".exact")):
            assert callable(resolve(method.run))


def test_text_table_aligns_numbers() -> None:
    lines = text_table(["name", "value"], [["a", "1.5"], ["long name", "-20"]]).splitlines()
    assert lines == ["name       value", "---------  -----", "a            1.5", "long name    -20"]
    assert text_table(["a"], []) == "a\n-"


def test_markdown_escapes_pipes() -> None:
    lines = markdown_table(["m|n", "x"], [["a|b", "1"]]).splitlines()
    assert lines[2] == r"| a\|b | 1 |"
    assert lines[1] == "| --- | ---: |"
    assert lines[0] == r"| m\|n | x |"


def test_latex_escapes_everything_special() -> None:
    text = latex_table(["a_b"], [[r"of 50 % of $x & {y} #1 ~ ^ \z"]])
    assert r"of 50 \% of \$x \& \{y\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}z \\" in text
    assert text.startswith(r"\begin{tabular}{l}")


def test_weights() -> None:
    weights = ea.Weights(2.0, np.array([1.0, 3.0]), 0.0, reference={"delay": 4.0})
    assert weights.effective("delay", 2).tolist() == [0.5, 0.5]
    assert weights.effective("energy", 2).tolist() == [1.0, 3.0]
    assert weights.effective("stability", 3).tolist() == [0.0] * 3
    assert weights.with_reference({"delay": 9.0}) is weights
    assert ea.Weights().with_reference({"energy": 2.0}).effective("energy", 1).tolist() == [0.5]
    with pytest.raises(ValueError, match="read-only"):
        weights.energy[0] = 5.0  # type: ignore[index]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"delay": -1.0}, "weights.delay: is -1"), ({"energy": math.nan}, "weights.energy: is nan"),
    ({"stability": [1.0, math.inf]}, r"weights.stability\[1\]: is inf"),
    ({"delay": np.ones((2, 2))}, "shape"), ({"reference": {"dealy": 1.0}}, "did you mean 'delay'"),
    ({"reference": {"delay": 0.0}}, "must be finite and > 0 s"),
])
def test_faulty_weights(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ea.DataError, match=message):
        ea.Weights(**arguments)


def test_weights_that_are_no_numbers_are_data_errors() -> None:
    faulty: tuple[dict[str, Any], ...] = ({"delay": "much"}, {"reference": {"delay": "1 s"}}, {"energy": None})
    for arguments in faulty:
        with pytest.raises(ea.DataError):
            ea.Weights(**arguments)


def test_diagnosis_text_is_cut_off() -> None:
    one = Conflict("gain", "user 3", 1.5, "dB", "raise it")
    assert str(one) == "gain at user 3 by 1.5 dB: raise it"
    text = ea.Diagnosis((one,) * 12).text()
    assert text.count("\n") == 10
    assert "2 more" in text
