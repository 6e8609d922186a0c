"""A transformer's training step as a graph of operations: kept activations and FLOP of every fine-tuning method.

One block is recorded on a :class:`~edgealloc.system.tuning.tape.Tape` for every case that occurs (first block or not,
trained or frozen), and counted as often as it stands in the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgealloc.system.memory import LOGSUMEXP_BYTES
from edgealloc.system.transformer import Transformer
from edgealloc.system.tuning.counts import block_matrices
from edgealloc.system.tuning.framework import Framework
from edgealloc.system.tuning.methods import Tuning
from edgealloc.system.tuning.tape import Tape, Tensor

__all__ = ["Step", "training_step"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """What one forward and backward pass keeps and computes; arrays over batch and tokens.

    Attributes
    ----------
    kept_bytes : ndarray
        Kept from the forward to the backward pass, in all blocks, the embedding and the head, without logits.
    input_bytes : ndarray
        Input of one block: what checkpointing keeps of it.
    working_bytes : ndarray
        The most that one block keeps beside its input.
    outside_bytes : ndarray
        The part of `kept_bytes` that is not in the blocks.
    forward_flops, backward_flops, block_flops, again_flops : ndarray
        Forward pass, backward pass, the part of the forward pass that is in the blocks, and what of it checkpointing
        computes again.
    """

    kept_bytes: Array
    input_bytes: Array
    working_bytes: Array
    outside_bytes: Array
    forward_flops: Array
    backward_flops: Array
    block_flops: Array
    again_flops: Array


class _Block:
    """Records blocks of one model under one method."""

    def __init__(self, shape: Transformer, tuning: Tuning, framework: Framework, batch: Array, tokens: Array) -> None:
        self.shape, self.tuning, self.framework = shape, tuning, framework
        self.batch, self.tokens, self.rows = batch, tokens, batch * tokens
        self.e = tuning.element_bytes
        self.sizes = block_matrices(shape)
        self.tape = Tape()
        self.base = False

    def run(self, x_grad: bool, base: bool) -> Tape:
        """Record one block; `base`: its own parameters are trained."""
        self.tape, self.base = Tape(), base
        x = self.input(x_grad)
        if self.framework.post_norm:
            x = self._norm(self._sum(x, self._attention(x)))
            self._norm(self._sum(x, self._feed_forward(x)))
        elif self.shape.norms_per_layer == 1:
            normed = self._norm(x)
            self._sum(self._attention(normed), self._feed_forward(normed))
        else:
            x = self._sum(x, self._attention(self._norm(x)))
            self._feed_forward(self._norm(x))
        return self.tape

    def head(self, x_grad: bool, base: bool) -> Tape:
        """Record the final norm and the table of the output."""
        self.tape, self.base = Tape(), base
        x = self.input(x_grad)
        if self.shape.final_norm:
            x = self._norm(x)
        self.tape.matmul(x, self.rows, self.shape.hidden, self.shape.vocab, trained=base)
        return self.tape

    def embedding(self, base: bool) -> Tape:
        """Record what the embedding keeps."""
        self.tape, self.base = Tape(), base
        if self.shape.embedding_norm:
            self._norm(self.input(base))
        if self.framework.labels:
            self.tape.keep_bytes(_INDEX_BYTES * self.rows * (2 if base else 1))  # labels, and the token numbers
        if self.framework.rotary:
            self.tape.keep_bytes(2.0 * self.e * self.tokens * self.shape.head_dim)  # cosines and sines
        if self.framework.hands_mask and self.tuning.checkpointing and not self.tuning.fused_attention:
            self.tape.keep_bytes(self.e * self.rows * self.tokens)
        return self.tape

    def last_flops(self) -> Array:
        """FLOP of what follows the last kept tensor of a block."""
        if self.framework.post_norm:
            return np.zeros(())
        width = self.tuning.bottleneck if self.tuning.method == "adapters" else self.shape.ffn
        low = self.tuning.rank if self.tuning.has_lora and "down" in self.tuning.targets else 0
        return np.asarray(2.0 * self.rows * self.shape.hidden * (width + low))

    def input(self, grad: bool) -> Tensor:
        """Input of a block."""
        return Tensor(self.rows * float(self.shape.hidden), self.e, grad)

    def _sum(self, x: Tensor, y: Tensor) -> Tensor:
        return Tensor(x.values, x.element_bytes, x.grad or y.grad)

    def _norm(self, x: Tensor) -> Tensor:
        tape, framework = self.tape, self.framework
        bias = self.shape.norm_bias and (self.base or self.tuning.method == "bitfit")
        if framework.rms_upcast:
            wide = tape.cast(x, 4.0)
            root = Tensor(self.rows, 4.0, x.grad)
            if x.grad:
                tape.keep(wide, root)
            unit = Tensor(x.values, self.e, x.grad)
            if self.base:
                tape.keep(unit)  # the factor's gradient needs it
        elif x.grad or self.base or bias:
            tape.keep(x)
            if framework.statistics:
                tape.keep_bytes(2.0 * self.e * self.rows)
        return Tensor(x.values, self.e, x.grad or self.base or bias)

    def _dropout(self, x: Tensor) -> Tensor:
        if not self.framework.dropout:
            return x
        if x.grad:
            self.tape.keep_bytes(x.values)
        return Tensor(x.values, x.element_bytes, x.grad)

    # ---- matrices and what methods put beside them

    def _linear(self, name: str, x: Tensor) -> Tensor:
        inputs, outputs = self.sizes[name]
        has_bias = {"none": (), "qkv": ("q", "k", "v"), "all": ("q", "k", "v", "o")}[self.shape.attention_bias]
        bias = name in has_bias or (self.shape.ffn_bias and name in ("gate", "up", "down"))
        return self._matrix(x, inputs, outputs, bias, name in self.tuning.targets)

    def _matrix(self, x: Tensor, inputs: int, outputs: int, has_bias: bool, target: bool) -> Tensor:
        bias = has_bias and (self.base or self.tuning.method == "bitfit")
        y = self.tape.matmul(x, self.rows, inputs, outputs, trained=self.base, bias_trained=bias)
        if self.tuning.has_lora and target:
            low = self._trained(self._wide(x), inputs, self.tuning.rank)
            self._trained(low, self.tuning.rank, outputs)
            y = Tensor(y.values, y.element_bytes, True)
        return y

    def _trained(self, x: Tensor, inputs: int, outputs: int) -> Tensor:
        return self.tape.matmul(x, self.rows, inputs, outputs, trained=True)

    def _wide(self, x: Tensor) -> Tensor:
        """Input of an adapter, copied where it computes in single precision."""
        return self.tape.cast(x, 4.0) if self.framework.adapters_upcast else x

    def _scaled(self, x: Tensor, *, wide: bool = False) -> Tensor:
        """(IA)^3: times a trained vector, whose gradient needs x."""
        if self.tuning.method != "ia3":
            return x
        self.tape.keep(self._wide(x) if wide else x)
        return Tensor(x.values, x.element_bytes, True)

    def _adapter(self, x: Tensor) -> Tensor:
        """Serial adapter ``x + W2 gelu(W1 x)``."""
        if self.tuning.method != "adapters":
            return x
        inner = self._trained(x, self.shape.hidden, self.tuning.bottleneck)
        self._trained(self.tape.elementwise(inner, keeps="input"), self.tuning.bottleneck, self.shape.hidden)
        return Tensor(x.values, x.element_bytes, True)

    # ---- attention

    def _attention(self, x: Tensor) -> Tensor:
        q, k, v = self._queries_keys_values(x)
        masked = self.tuning.method == "prefix"
        length = self.tokens
        if masked:
            length = self.tokens + self.tuning.virtual_tokens
            k, v = (Tensor(self.batch * length * self.shape.key_width, self.e, True) for _ in range(2))
        fused = self.tuning.fused_attention
        if self.framework.repeats_keys and (masked or not fused):
            values = self.batch * length * self.shape.query_width
            k, v = (Tensor(values, self.e, t.grad) for t in (k, v))
        out = self._fused(q, k, v, length, masked) if fused else self._unfused(q, k, v, length)
        return self._adapter(self._dropout(self._linear("o", out)))

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.framework.joint_qkv:
            outputs = self.shape.query_width + 2 * self.shape.key_width
            target = bool({"q", "k", "v"} & set(self.tuning.targets))
            joint = self._matrix(x, self.shape.hidden, outputs, self.shape.attention_bias != "none", target)
            joint = self._scaled(joint)
            return joint, joint, joint
        q = self._linear("q", x)
        k, v = self._scaled(self._linear("k", x)), self._scaled(self._linear("v", x))
        if self.framework.rotary:
            q, k = self.tape.elementwise(q), self.tape.elementwise(k)
        return q, k, v

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, length: Array, masked: bool) -> Tensor:
        flops = 2.0 * self.rows * length * self.shape.query_width
        scores = self.tape.batched(q, k, flops, self.rows, keeps=False)
        self.tape.batched(scores, v, flops, self.rows, keeps=False)
        grad = q.grad or k.grad or v.grad
        out = Tensor(self.rows * float(self.shape.query_width), self.e, grad)
        if grad:
            self.tape.keep(q, k, v, out)
            self.tape.keep_bytes(LOGSUMEXP_BYTES * self.shape.heads * self.rows)
            if masked and self.framework.masks:
                self.tape.keep_bytes(self.e * self.rows * length)
        return Tensor(out.values, self.e, grad) if self.framework.copies_output else out

    def _unfused(self, q: Tensor, k: Tensor, v: Tensor, length: Array) -> Tensor:
        tape, entries = self.tape, self.shape.heads * self.rows * length
        if self.framework.joint_qkv:  # each is copied out of the joint tensor
            widths = (self.tokens * self.shape.query_width, length * self.shape.key_width)
            q, k, v = (
                Tensor(self.batch * w, self.e, t.grad) for t, w in ((q, widths[0]), (k, widths[1]), (v, widths[1]))
            )
        flops = 2.0 * self.rows * length * self.shape.query_width
        scores = tape.batched(q, k, flops, entries)
        if self.framework.softmax_upcast:
            scores = tape.cast(scores, 4.0)
        weights = tape.cast(tape.elementwise(scores, keeps="output"), self.e)
        out = tape.batched(self._dropout(weights), v, flops, self.rows * float(self.shape.query_width))
        return Tensor(out.values, self.e, out.grad)

    # ---- feed-forward

    def _feed_forward(self, x: Tensor) -> Tensor:
        tape = self.tape
        if self.shape.gated:
            gate, up = self._linear("gate", x), self._linear("up", x)
            inner = tape.product(tape.elementwise(gate, keeps="input"), up)
        else:
            inner = self._activation(self._linear("up", x))
        inner = self._scaled(inner, wide=True)
        return self._adapter(self._dropout(self._linear("down", inner)))

    def _activation(self, x: Tensor) -> Tensor:
        if self.framework.activation == "relu":
            return self.tape.elementwise(x, keeps="output")
        if self.framework.activation == "gelu-steps":
            # 0.5 x (1 + tanh(c (x + 0.044715 x^3))): the cube keeps x, tanh its output, the product both factors
            tanh = self.tape.elementwise(self.tape.elementwise(x, keeps="input"), keeps="output")
            return self.tape.product(self.tape.elementwise(x), self.tape.elementwise(tanh))
        return self.tape.elementwise(x, keeps="input")


#: Token numbers and labels are 64-bit.
_INDEX_BYTES = 8.0


def training_step(shape: Transformer, tuning: Tuning, framework: Framework, batch: Array, tokens: Array) -> Step:
    """Kept activations and FLOP of one first-order step (of a zeroth-order method: as if it were one).

    With BAdam one block of ``Y / D`` layers is trained at a time: kept is the most, which the first block needs since
    every gradient on the way to it is computed, and FLOP are the mean over the blocks.

    Parameters
    ----------
    shape : Transformer
    tuning : Tuning
    framework : Framework
    batch, tokens : ndarray
        B sequences of d tokens; virtual tokens come on top.

    Returns
    -------
    Step
    """
    b, d = batch, tokens
    if tuning.method == "prompt":
        d = d + tuning.virtual_tokens
    block = _Block(shape, tuning, framework, b, d)
    whole = tuning.trains_base and tuning.method != "badam"
    input_grad = (
        whole or tuning.method == "prompt" or tuning.checkpointing or not framework.first_input_free
        or (tuning.method == "bitfit" and shape.embedding_norm)
    )  # fmt: skip
    first = block.run(input_grad, whole or tuning.method == "badam")
    layers = float(shape.layers)
    if tuning.method == "badam":
        active = layers / (tuning.blocks or shape.layers)
        inside, above = block.run(True, True), block.run(True, False)
        kept = first.kept_bytes + (active - 1.0) * inside.kept_bytes + (layers - active) * above.kept_bytes
        backward = (
            first.backward_flops
            + (active - 1.0) * inside.backward_flops
            + 0.5 * (layers - active) * above.backward_flops
        )
        most = inside
    else:
        most = block.run(True, whole)
        kept = first.kept_bytes + (layers - 1.0) * most.kept_bytes
        backward = first.backward_flops + (layers - 1.0) * most.backward_flops
    head, embedding = block.head(True, whole), block.embedding(whole)
    outside = head.kept_bytes + embedding.kept_bytes
    given = block.input(grad=True)
    block_flops = layers * most.forward_flops
    skipped = layers * block.last_flops() if framework.stops_early else 0.0
    return Step(
        kept_bytes=np.asarray(kept + outside),
        input_bytes=given.bytes,
        working_bytes=_beside_input(block, most, given),
        outside_bytes=np.asarray(outside),
        forward_flops=np.asarray(block_flops + head.forward_flops),
        backward_flops=np.asarray(backward + head.backward_flops),
        block_flops=np.asarray(block_flops),
        again_flops=np.asarray(block_flops - skipped),
    )


def _beside_input(block: _Block, most: Tape, given: Tensor) -> Array:
    """What a block keeps beside its input, which the norm keeps as it is unless it copies it."""
    copied = block.framework.rms_upcast and block.e < 4.0
    own = block.framework.post_norm and not block.base
    return np.asarray(most.kept_bytes - (0.0 if copied or own else given.bytes))
