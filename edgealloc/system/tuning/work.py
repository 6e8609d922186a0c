"""Work and messages of fine-tuning: FLOP per step, bytes per round of federated learning, bytes of the result."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgealloc.errors import DataError, Fault
from edgealloc.system.transformer import Transformer
from edgealloc.system.tuning.counts import require_applicable, require_sizes, trainable_params
from edgealloc.system.tuning.framework import framework_of
from edgealloc.system.tuning.graph import training_step
from edgealloc.system.tuning.methods import Tuning

__all__ = ["SCALAR_BYTES", "SEED_BYTES", "message_bytes", "result_bytes", "tuning_step_flops"]

Array = npt.NDArray[np.float64]

#: A zeroth-order step is a random direction, told by the seed of its generator, and a projected gradient in single
#: precision (MeZO, arXiv 2305.17333, section 2.1; federated use: ours).
SEED_BYTES = 8.0
SCALAR_BYTES = 4.0
#: Parameters travel in half precision.
_WIRE_BYTES = 2.0


def tuning_step_flops(
    shape: Transformer,
    tuning: Tuning,
    batch: npt.ArrayLike,
    tokens: npt.ArrayLike,
    *,
    convention: str = "torch",
    family: str | None = None,
) -> Array:
    r"""FLOP of one training step of a whole batch: matrix products, counted one by one.

    Forward ``B d (2 Y P + 2 h V) + 4 Y B d^2 q`` and adapters. Backward: for each product the gradient of its input,
    where something before it is trained, and of its matrix, where that is trained. Full fine-tuning is thus three
    forward passes (Narayanan et al. 2021, arXiv 2104.04473), a frozen base about two: its matrices need no gradients,
    attention keeps its factor three. Checkpointing adds the blocks' forward pass ("torch": without the last matrix,
    whose output nobody needs again); a zeroth-order step is two forward passes; virtual tokens lengthen the sequence
    (prompt) or attention's keys (prefix). BAdam: the mean over its blocks.

    Not counted: norms, functions and other work per element; the optimiser (GaLore's singular value decompositions
    every few hundred steps among it); MeZO's random directions; scores that fused attention computes a second time.

    Parameters
    ----------
    shape : Transformer
    tuning : Tuning
    batch, tokens : array_like
    convention, family
        As :func:`edgealloc.system.tuning.memory.tuning_memory`: "textbook" computes gradients down to the first
        block's input even where nothing below it is trained.

    Returns
    -------
    ndarray

    Raises
    ------
    DataError
        The method does not apply to the model; unknown convention or family.

    Examples
    --------
    >>> from edgealloc.system.tuning.methods import TUNING_METHODS
    >>> gpt = Transformer(layers=1, hidden=10, heads=2, kv_heads=2, head_dim=5, ffn=40, vocab=50, gated=False)
    >>> float(tuning_step_flops(gpt, TUNING_METHODS["full-adam"], 3, 7))  # 72 B d h^2 + 12 B d^2 h + 6 B d h V
    231840.0
    """
    require_applicable(shape, tuning)
    b, d = require_sizes(batch, tokens)
    step = training_step(shape, tuning, framework_of(shape, convention, family), b, d)
    if tuning.order == 0:
        return np.asarray(2.0 * step.forward_flops)
    again = step.again_flops if tuning.checkpointing else 0.0
    return np.asarray(step.forward_flops + step.backward_flops + again)


def message_bytes(shape: Transformer, tuning: Tuning, steps_per_round: int = 1, family: str | None = None) -> float:
    """Bytes that a device sends per round of federated learning (and receives as many).

    First order: the update of all trained parameters in half precision. Zeroth order: a seed and a scalar for each
    step of the round, ``12 steps``, or the update if that is smaller.

    Parameters
    ----------
    shape : Transformer
    tuning : Tuning
    steps_per_round : int
    family : str, optional

    Raises
    ------
    DataError
        `steps_per_round` is not a whole number >= 1; the method does not apply to the model.

    Examples
    --------
    >>> from edgealloc.system.tuning.methods import TUNING_METHODS
    >>> llama = Transformer.of_family("llama", layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000)
    >>> message_bytes(llama, TUNING_METHODS["mezo"], 10), message_bytes(llama, TUNING_METHODS["lora"], 10)
    (120.0, 8388608.0)
    """
    if steps_per_round != int(steps_per_round) or steps_per_round < 1:
        raise DataError([Fault("steps_per_round", f"{steps_per_round!r} must be a whole number >= 1")])
    update = result_bytes(shape, tuning, family)
    if tuning.order == 0:
        return min(update, steps_per_round * (SEED_BYTES + SCALAR_BYTES))
    return update


def result_bytes(shape: Transformer, tuning: Tuning, family: str | None = None) -> float:
    """Bytes of what training elsewhere returns: the trained parameters in half precision.

    The whole model where the base is trained. Parameters and errors as :func:`message_bytes`.
    """
    require_applicable(shape, tuning)
    return _WIRE_BYTES * trainable_params(shape, tuning, family)
