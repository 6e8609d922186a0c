"""Fine-tuning methods as functions of a model's shape: parameters, memory, work and messages."""

from edgealloc.system.tuning.counts import not_applicable, trainable_params
from edgealloc.system.tuning.framework import CONVENTIONS
from edgealloc.system.tuning.memory import TuningMemory, inference_memory, kept_bytes, tuning_memory, weight_bytes
from edgealloc.system.tuning.methods import STATE_PARTS, TUNING_METHODS, WEIGHT_BYTES, Tuning, tuning_named
from edgealloc.system.tuning.work import message_bytes, result_bytes, tuning_step_flops

__all__ = [
    "CONVENTIONS",
    "STATE_PARTS",
    "TUNING_METHODS",
    "WEIGHT_BYTES",
    "Tuning",
    "TuningMemory",
    "inference_memory",
    "kept_bytes",
    "message_bytes",
    "not_applicable",
    "result_bytes",
    "trainable_params",
    "tuning_memory",
    "tuning_named",
    "tuning_step_flops",
    "weight_bytes",
]
