"""The paper's findings as statements about our rows: each holds or does not, and nothing is tuned to make one hold.

A statement about cases holds only if it holds in all of them; "in 7 of 9" is what was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from edgealloc.reproduce.dong_2024.settings import ADAPTERS, FRUGAL, MAINSTREAM, TARGET, usable_bytes
from edgealloc.reproduce.trend import TrendResult
from edgealloc.units import format_count, format_si, format_time

__all__ = [
    "CLOSE", "FAR", "NEAR", "Rows", "above_bound", "best_of_all", "close_on_one_device", "close_to_published",
    "device_hours", "devices_alone", "fewer_bytes", "first_order_is_faster", "grows_with_text", "less_memory",
    "like_inference", "more_becomes_possible", "much_more_than_inference", "on_mainstream", "runs_and_trains",
    "shares_of_peak", "small_formats", "smaller_than_full", "too_large", "trained_share_is_not_memory",
    "within_a_factor",
]

Row = Mapping[str, Any]
Rows = Sequence[Row]

#: "much more" than inference: at least this multiple; "like inference": at most this multiple. Ours.
FAR: Final = 4.0
NEAR: Final = 1.25
#: A published row is met if the model is off by no more than this share. Ours.
CLOSE: Final = 0.2


def _counted(statement: str, verdicts: Iterable[tuple[bool, str]], extra: str = "") -> TrendResult:
    judged = list(verdicts)
    if not judged:
        return TrendResult(statement, None, "no case")
    good = sum(ok for ok, _ in judged)
    against = [label for ok, label in judged if not ok]
    text = f"in {good} of {format_count(len(judged), 'case')}"
    if against and good:
        text += f"; not for {', '.join(against[:3])}{', ...' if len(against) > 3 else ''}"
    return TrendResult(statement, good == len(judged), text + (f"; {extra}" if extra else ""))


def _at(rows: Rows, method: str) -> Rows:
    return [row for row in rows if row["method"] == method and math.isfinite(row["total_bytes"])]


def _range(values: Iterable[float]) -> str:
    found = list(values)
    return f"{min(found):.3g} to {max(found):.3g}" if found else "-"


# ---- memory -------------------------------------------------------------------------------------------------------


def too_large(rows: Rows) -> TrendResult:
    """Adam on all parameters exceeds the memory of every mainstream device."""
    most = max(usable_bytes(device) for device in MAINSTREAM)
    full = _at(rows, "full-adam")
    extra = ", ".join(f"{row['model']} {format_si(row['total_bytes'], 'B')}" for row in full)
    return _counted(f"Adam on all parameters takes more than any mainstream device has for training "
                    f"({format_si(most, 'B')})", ((row["total_bytes"] > most, row["model"]) for row in full), extra)


def much_more_than_inference(rows: Rows) -> TrendResult:
    """Adam on all parameters takes at least `FAR` times inference's memory."""
    full = _at(rows, "full-adam")
    return _counted(f"Adam on all parameters takes at least {FAR:g} times the memory of inference",
                    ((row["over_inference"] >= FAR, row["model"]) for row in full),
                    f"{_range(row['over_inference'] for row in full)} times")


def like_inference(rows: Rows) -> TrendResult:
    """MeZO takes at most `NEAR` times inference's memory."""
    mezo = _at(rows, "mezo")
    return _counted(f"zeroth order takes at most {NEAR:g} times the memory of inference",
                    ((row["over_inference"] <= NEAR, row["model"]) for row in mezo),
                    f"{_range(row['over_inference'] for row in mezo)} times; what is beyond inference is the loss over "
                    "the vocabulary")


def smaller_than_full(rows: Rows) -> TrendResult:
    """Every memory-efficient method takes less than Adam on all parameters."""
    full = {row["model"]: row["total_bytes"] for row in _at(rows, "full-adam")}
    verdicts, shares = [], []
    for method in (*ADAPTERS, *FRUGAL):
        for row in _at(rows, method):
            shares.append(row["total_bytes"] / full[row["model"]])
            verdicts.append((shares[-1] < 1.0, f"{method} of {row['model']}"))
    return _counted("every memory-efficient method takes less than Adam on all parameters", verdicts,
                    f"{_range(shares)} of it")


def grows_with_text(rows: Rows) -> TrendResult:
    """What parameter-efficient methods take beyond the weights is activations, far more than what they train."""
    verdicts, ratios = [], []
    for method in ADAPTERS:
        for row in _at(rows, method):
            states = row["gradient_bytes"] + row["optimizer_bytes"]
            ratios.append((row["activation_bytes"] + row["logits_bytes"]) / max(states, 1.0))
            verdicts.append((ratios[-1] > 1.0, f"{method} of {row['model']}"))
    return _counted("of what parameter-efficient methods take beyond the weights, activations are the larger part",
                    verdicts, f"{_range(ratios)} times gradients and optimiser states")


def trained_share_is_not_memory(rows: Rows) -> TrendResult:
    """Parameter-efficient methods take more memory than zeroth order on all parameters."""
    mezo = {row["model"]: row["total_bytes"] for row in _at(rows, "mezo")}
    verdicts = [(row["total_bytes"] > mezo[row["model"]], f"{method} of {row['model']}")
                for method in ADAPTERS if method != "qlora" for row in _at(rows, method)]
    return _counted("parameter-efficient methods on a half-precision base take more than zeroth order on all "
                    "parameters", verdicts)


def small_formats(rows: Rows) -> TrendResult:
    """A base in 4 bits takes less than one in half precision."""
    lora = {row["model"]: row["total_bytes"] for row in _at(rows, "lora")}
    qlora = _at(rows, "qlora")
    return _counted("a base in 4 bits takes less than one in half precision (qlora, lora)",
                    ((row["total_bytes"] < lora[row["model"]], row["model"]) for row in qlora),
                    f"{_range(row['total_bytes'] / lora[row['model']] for row in qlora)} of it")


# ---- what fits ----------------------------------------------------------------------------------------------------


def _pair(row: Row) -> str:
    return f"{row['model']} on {row['device']}"


def on_mainstream(rows: Rows) -> TrendResult:
    """Models of a billion parameters and more cannot be trained by Adam on mainstream devices."""
    here = [row for row in rows if row["device"] in MAINSTREAM and row["params"] >= 1e9]
    return _counted("no mainstream device can train a model of a billion parameters or more by Adam on all parameters",
                    ((not row["fits_full-adam"], _pair(row)) for row in here))


def more_becomes_possible(rows: Rows) -> TrendResult:
    """How many pairs of model and device every step of the ranking adds."""
    count = dict.fromkeys([row["best"] for row in rows], 0)
    for row in rows:
        count[row["best"]] += 1
    adam = sum(row["fits_full-adam"] for row in rows)
    any_ = len(rows) - count.get("", 0)
    said = ", ".join(f"{method} {number}" for method, number in
                     sorted(count.items(), key=lambda one: -one[1]) if method)
    return TrendResult("memory-efficient methods make pairs of model and device possible that Adam on all parameters "
                       "does not", any_ > adam, f"{adam} of {len(rows)} pairs by Adam, {any_} by some method; best: "
                       f"{said}; none {count.get('', 0)}")


def runs_and_trains(rows: Rows) -> TrendResult:
    """Where inference fits, zeroth order does."""
    return _counted("what a device can run in half precision it can fine-tune by zeroth order",
                    ((row["fits_mezo"], _pair(row)) for row in rows if row["fits_inference"]))


# ---- to a target --------------------------------------------------------------------------------------------------


def _orders(rows: Rows) -> tuple[Rows, Rows]:
    return [row for row in rows if row["order"] == 1], [row for row in rows if row["order"] == 0]


def less_memory(rows: Rows) -> TrendResult:
    """Zeroth order takes less memory than any first-order method on a base of the same format."""
    first, zeroth = _orders(rows)
    verdicts = [(max(one["memory_bytes"] for one in zeroth) < row["memory_bytes"], row["method"])
                for row in first if zeroth and row["method"] != "qlora"]
    return _counted("zeroth order takes less memory than first order on a half-precision base", verdicts,
                    "at batches twice as large")


def first_order_is_faster(rows: Rows) -> TrendResult:
    """Computing to the target takes longer by zeroth order."""
    first, zeroth = _orders(rows)
    slow = min((row["compute_s"] for row in zeroth), default=math.nan)
    verdicts = [(slow > row["compute_s"], row["method"]) for row in first if zeroth]
    return _counted("zeroth order computes longer to the target than first order", verdicts,
                    f"{_range(slow / row['compute_s'] for row in first)} times; its energy, too")


def fewer_bytes(rows: Rows) -> TrendResult:
    """A federation exchanges fewer bytes by adapters than by full models, and by zeroth order than by adapters."""
    sent = {row["method"]: row["federation_bytes"] for row in rows}
    pairs = [("lora", "full-adam"), ("prefix", "full-adam"), ("mezo", "lora"), ("mezo", "prefix")]
    verdicts = [(sent[a] < sent[b], f"{a} against {b}") for a, b in pairs if a in sent and b in sent]
    extra = ", ".join(f"{method} {format_si(sent[method], 'B')}" for method in ("full-adam", "lora", "mezo")
                      if method in sent)
    return _counted("a federation sends fewer bytes by adapters than by full models, and fewer still by zeroth order",
                    verdicts, extra)


def device_hours(rows: Rows) -> TrendResult:
    """Whether zeroth order saves device hours on one device, too, as it does where full fine-tuning needs eight."""
    time = {row["method"]: row["compute_s"] for row in rows}
    statement = ("zeroth order takes fewer device hours than Adam on all parameters, as published for OPT-30B on 1 "
                 "device against 8")
    if not {"mezo", "full-adam"} <= set(time):
        return TrendResult(statement, None, "not among the methods")
    ratio = time["mezo"] / time["full-adam"]
    return TrendResult(statement, ratio < 1.0,
                       f"on one device that holds both {ratio:.3g} times as many, {format_time(time['mezo'])} against "
                       f"{format_time(time['full-adam'])}: the published gain is over 8 devices that share the model")


# ---- published rows -----------------------------------------------------------------------------------------------


def _judged(rows: Rows, one_device: bool = False) -> Rows:
    return [row for row in rows if row["quantity"] == "memory" and row["whole"]
            and not (one_device and (row["gpus"] > 1 or row["source_name"] == "LLaMA-Factory"))]


def _row_name(row: Row) -> str:
    return f"{row['method']} of {row['model']} ({row['source_name']}, {100.0 * row['error']:+.0f} %)"


def close_to_published(rows: Rows) -> TrendResult:
    """The model is off by at most `CLOSE`."""
    judged = _judged(rows)
    return _counted(f"the model is within {CLOSE:.0%} of a published row",
                    ((abs(row["error"]) <= CLOSE, _row_name(row)) for row in judged), _spread(judged))


def close_on_one_device(rows: Rows) -> TrendResult:
    """The same without what several devices share, and without rules of thumb."""
    judged = _judged(rows, one_device=True)
    return _counted(f"on one device, without rules of thumb, the model is within {CLOSE:.0%} of a published row",
                    ((abs(row["error"]) <= CLOSE, _row_name(row)) for row in judged), _spread(judged))


def within_a_factor(rows: Rows) -> TrendResult:
    """No row is off by more than a factor of 2."""
    return _counted("no published row is off by more than a factor of 2",
                    ((0.5 <= 1.0 + row["error"] <= 2.0, _row_name(row)) for row in _judged(rows)))


def shares_of_peak(rows: Rows) -> TrendResult:
    """Published steps reach the share of the peak rate that the library assumes: a check of an assumption."""
    steps = [row for row in rows if row["quantity"] == "step"]
    alone = [row["share_of_peak"] for row in steps if row["gpus"] == 1]
    verdicts = [(row["share_of_peak"] >= TARGET.utilisation, f"{row['method']} of {row['model']} by {row['batch']}")
                for row in steps]
    return _counted(f"published steps reach the assumed {TARGET.utilisation:g} of the peak rate", verdicts,
                    f"{_range(alone)} on one device")


def _spread(rows: Rows) -> str:
    errors = sorted(row["error"] for row in rows)
    return (f"errors from {100.0 * errors[0]:+.0f} to {100.0 * errors[-1]:+.0f} %, the median "
            f"{100.0 * errors[len(errors) // 2]:+.0f} %; {sum(one < 0.0 for one in errors)} of {len(errors)} below the "
            "published value") if errors else ""


# ---- a fleet ------------------------------------------------------------------------------------------------------


def best_of_all(rows: Rows) -> TrendResult:
    """Nothing is better than the certified assignment beyond its gap."""
    found = {row["method"]: row["objective"] for row in rows if math.isfinite(row["objective"])}
    statement = "no rule is better than the certified assignment"
    if "certified" not in found:
        return TrendResult(statement, None, "the certified method found nothing")
    others = {name: value for name, value in found.items() if name != "certified"}
    worst = ", ".join(f"{name} {value / found['certified']:.3g} times its objective"
                      for name, value in sorted(others.items(), key=lambda one: one[1]))
    return TrendResult(statement, all(found["certified"] <= value for value in others.values()), worst)


def above_bound(rows: Rows) -> TrendResult:
    """No assignment lies below the bound: a check of the library, not of the paper."""
    known = [row["over_bound"] for row in rows if math.isfinite(row["over_bound"])]
    return TrendResult("no assignment lies below the proven bound", min(known) >= 1.0 - 1e-9 if known else None,
                       f"least ratio {min(known):.6f} over {format_count(len(known), 'assignment')}" if known else
                       "no bound")


def devices_alone(rows: Rows) -> TrendResult:
    """Whether one rule for all serves the fleet: adapters on every device, or all parameters at servers."""
    rules = [row for row in rows if row["method"] in ("lora-device", "full-server")]
    return _counted("one rule for all (adapters on every device; all parameters at the servers) serves every job",
                    ((math.isfinite(row["objective"]), row["method"]) for row in rules))
