"""Published figures of fine-tuning: typed a second time, marked, and beside them the memory model's error."""

from __future__ import annotations

import dataclasses

import pytest

from edgealloc.catalog import default_catalog
from edgealloc.catalog.tuning_facts import (
    MemoryRow,
    QualityRow,
    StepsRow,
    StepTimeRow,
    memory_errors,
    memory_rows,
    published_models,
    quality_rows,
    step_time_rows,
    steps_rows,
)
from edgealloc.errors import DataError
from edgealloc.system.transformer import total_params
from edgealloc.system.tuning import TUNING_METHODS

OTHER_METHODS = {"zero-shot", "in-context", "linear-probe", "mezo-prefix"}


def test_every_row_has_source_setting_and_marks() -> None:
    """Nothing without a source; marks name fields that have values; methods are known."""
    rows: list[MemoryRow | QualityRow | StepsRow | StepTimeRow] = [
        *memory_rows(),
        *quality_rows(),
        *steps_rows(),
        *step_time_rows(),
    ]
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.source, row.name
        assert row.setting, row.name
        assert row.confidence in ("seen", "recall")
        assert row.method in set(TUNING_METHODS) | OTHER_METHODS
        assert row.marks()
        for field in (*row.assumption_fields, *row.recall_fields, *row.derived_fields):
            assert getattr(row, field) is not None, (row.name, field)


def test_models() -> None:
    """Shapes that the catalog has not are from memory, and their count of parameters is the published size."""
    own = {name: entry for name, entry in published_models().items() if name not in default_catalog().models}
    sizes = {
        "opt-30b": 30e9,
        "opt-66b": 66e9,
        "llama-33b": 32.5e9,
        "llama-65b": 65.2e9,
        "galore-llama-60m": 58e6,
        "galore-llama-130m": 134e6,
        "galore-llama-350m": 368e6,
        "galore-llama-1b": 1339e6,
    }
    assert set(own) == set(sizes)
    for name, entry in own.items():
        assert entry.confidence == "recall"
        assert total_params(entry.transformer()) == entry.params == pytest.approx(sizes[name], rel=0.01)


def test_figures_typed_a_second_time() -> None:
    """Some numbers of every source."""
    memory = {row.name: row for row in memory_rows()}
    assert memory["mezo-22-opt-13b-full-adam"].published_gb == 316
    assert memory["mezo-22-opt-13b-full-adam"].gpus == 4
    assert memory["mezo-22-opt-66b-mezo"].published_gb == 128
    assert memory["mezo-22-opt-1.3b-prefix"].published_gb == 19
    assert memory["lomo-1-lomo-no-ac-activation"].published_gb == 45.61
    assert memory["galore-2-350m-galore"].published_gb == 1.22
    assert memory["badam-llama3-8b-badam"].published_gb == 23.5
    assert memory["qlora-llama-65b-qlora"].published_gb == 48
    assert memory["llamafactory-7b-qlora-4bit-qlora"].published_gb == 6
    assert sum(row.model.startswith("opt") for row in memory_rows()) == 16
    quality = {(row.model, row.task, row.label): row for row in quality_rows()}
    assert quality["opt-13b", "SST-2", "mezo"].quality == pytest.approx(0.914)
    assert quality["opt-13b", "DROP", "full-adam"].metric == "F1"
    assert quality["opt-66b", "SQuAD", "mezo-prefix"].value == 85.0
    assert ("opt-66b", "SQuAD", "mezo") not in quality  # no figure was published
    assert quality["roberta-large", "RTE", "lora"].value == 83.2
    assert quality["gpt3-175b", "WikiSQL", "lora_4.7M"].trainable_params == 4.7e6
    assert quality["llama-65b", "MMLU after FLAN v2", "nf4_dq"].value == 63.9
    assert quality["gpt2-medium", "E2E", "lora"].quality is None
    times = {(row.model, row.method, row.batch): row.seconds_per_step for row in step_time_rows()}
    assert times["opt-30b", "full-adam", 8] == 45.608
    ratio = next(row for row in steps_rows() if row.compared_with == "full-adam")
    assert ratio.steps_ratio == 32
    counts = {row.method: row.steps for row in steps_rows() if row.steps}
    assert counts == {"mezo": 20000, "full-adam": 625}
    assert all(row.confidence == "recall" for row in steps_rows() if row.steps)


def test_errors_are_shown_and_where_the_rule_is_exact_they_vanish() -> None:
    """Published rows that are bytes per parameter come out; the others keep their error."""
    errors = {check.row.name: check for check in memory_errors()}
    assert len(errors) == len(memory_rows())
    for part in ("weights", "gradient", "optimizer"):
        assert abs(errors[f"lomo-1-adamw-ac-{part}"].error_percent) < 0.1
    assert abs(errors["galore-2-350m-full-adam"].error_percent) < 0.5
    assert abs(errors["badam-llama3-8b-adam"].error_percent) < 1.5
    assert abs(errors["mezo-22-opt-13b-mezo"].error_percent) < 1
    # never fitted away: the prefix rows of the paper are far above any count of tensors
    assert errors["mezo-22-opt-13b-prefix"].error_percent < -70
    assert errors["mezo-22-opt-13b-full-adam"].error_percent < -20
    check = errors["lomo-1-lomo-ac-total"]
    assert check.model_gb == pytest.approx(float(check.memory.total_bytes) / 2**30)
    assert check.error_percent == pytest.approx(100 * (check.model_gb / 14.58 - 1))


def test_own_rows_and_faults() -> None:
    """A user's row is compared, too; an unknown model or component is refused with the nearest."""
    row = memory_rows()[0]
    assert memory_errors([dataclasses.replace(row, part="weights")])[0].model_gb < memory_errors([row])[0].model_gb
    with pytest.raises(DataError, match="'opt-13b'"):
        memory_errors([dataclasses.replace(row, model="opt-13")])
    with pytest.raises(DataError, match="'gradient'"):
        memory_errors([dataclasses.replace(row, part="weights+gradients")])
