"""A tape that records, operation by operation, what automatic differentiation keeps and how much it computes.

Rules of reverse differentiation, the same in every framework:

- a matrix product ``y = x W`` of n rows costs ``2 n d_in d_out`` FLOP forward and as much for each gradient that is
  needed: of x, and of W. The gradient of W needs x, that of x needs W alone, which is in memory anyway: **a frozen
  matrix keeps nothing**;
- a product of two tensors keeps each factor whose partner needs a gradient;
- a sum keeps nothing; a view of a tensor is the tensor;
- what is kept twice is in memory once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Tape", "Tensor"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor by what counts: its size, and whether a gradient of it is needed. Identity is its storage.

    Attributes
    ----------
    values : ndarray
        Elements.
    element_bytes : float
    grad : bool
    """

    values: Array
    element_bytes: float
    grad: bool

    @property
    def bytes(self) -> Array:
        """Size in bytes."""
        return self.values * self.element_bytes


class Tape:
    """Kept tensors and FLOP of the operations recorded on it.

    Examples
    --------
    A frozen matrix keeps nothing of its input, a trained one keeps it:

    >>> tape = Tape()
    >>> x = Tensor(np.asarray(30.0), 2.0, grad=True)
    >>> y = tape.matmul(x, np.asarray(3.0), 10, 20, trained=False)
    >>> float(tape.kept_bytes), float(tape.forward_flops), float(tape.backward_flops)
    (0.0, 1200.0, 1200.0)
    >>> y = tape.matmul(x, np.asarray(3.0), 10, 20, trained=True)
    >>> float(tape.kept_bytes), float(tape.backward_flops)
    (60.0, 3600.0)
    """

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}
        self.forward_flops: Array = np.zeros(())
        self.backward_flops: Array = np.zeros(())

    @property
    def kept_bytes(self) -> Array:
        """Bytes of all tensors that are kept, each once."""
        return np.asarray(sum((tensor.bytes for tensor in self._kept.values()), np.zeros(())))

    def keep(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""
        for tensor in tensors:
            self._kept[id(tensor)] = tensor

    def keep_bytes(self, amount: Array | float) -> None:
        """Keep something that no other operation can share."""
        self.keep(Tensor(np.asarray(amount, dtype=np.float64), 1.0, grad=False))

    def cast(self, x: Tensor, element_bytes: float) -> Tensor:
        """The same numbers in another format; the same tensor where the format is the same."""
        return x if x.element_bytes == element_bytes else Tensor(x.values, element_bytes, x.grad)

    def matmul(
        self, x: Tensor, rows: Array, d_in: int, d_out: int, *, trained: bool, bias_trained: bool = False
    ) -> Tensor:
        """``x W + b`` with the `rows` rows of x."""
        flops = 2.0 * rows * float(d_in * d_out)
        self.forward_flops = self.forward_flops + flops
        self.backward_flops = self.backward_flops + flops * (int(x.grad) + int(trained))
        if trained:
            self.keep(x)
        return Tensor(rows * float(d_out), x.element_bytes, x.grad or trained or bias_trained)

    def product(self, x: Tensor, y: Tensor) -> Tensor:
        """``x y``, element by element; of the size of x."""
        if y.grad:
            self.keep(x)
        if x.grad:
            self.keep(y)
        return Tensor(x.values, x.element_bytes, x.grad or y.grad)

    def elementwise(self, x: Tensor, *, keeps: str = "") -> Tensor:
        """A function of every element that keeps its "input", its "output" or nothing."""
        out = Tensor(x.values, x.element_bytes, x.grad)
        if x.grad and keeps:
            self.keep(x if keeps == "input" else out)
        return out

    def batched(self, x: Tensor, y: Tensor, flops: Array, values: Array, *, keeps: bool = True) -> Tensor:
        """Product of two computed tensors, both kept as their gradients need (or by the caller)."""
        self.forward_flops = self.forward_flops + flops
        self.backward_flops = self.backward_flops + flops * (int(x.grad) + int(y.grad))
        if keeps and y.grad:
            self.keep(x)
        if keeps and x.grad:
            self.keep(y)
        return Tensor(values, x.element_bytes, x.grad or y.grad)
