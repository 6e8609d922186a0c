"""Pruned weights: what they take and what they save, which depends on who computes with them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, get_args

from edgealloc.errors import DataError, Fault, nearest
from edgealloc.system.transformer import Transformer

__all__ = ["DENSE", "Sparsity", "structured"]

Pattern = Literal["none", "unstructured", "4:8", "2:4"]


@dataclass(frozen=True)
class Sparsity:
    """Which weights of the matrices in blocks are zero; tables stay dense.

    Attributes
    ----------
    pattern : {"none", "unstructured", "4:8", "2:4"}
        "unstructured": anywhere. "2:4": two of every four in a row are zero (Mishra et al. 2021, arXiv 2104.08378).
    share : float
        Share of zeros, in [0, 1); 1/2 for 2:4 and 4:8.

    Raises
    ------
    DataError
        An unknown pattern, a share out of its range.
    """

    pattern: Pattern = "none"
    share: float = 0.0

    def __post_init__(self) -> None:
        known = get_args(Pattern)
        faults: list[Fault] = []
        if self.pattern not in known:
            faults.append(Fault("pattern", f"{self.pattern!r} is not known; {nearest(str(self.pattern), known)}"))
        if not 0.0 <= self.share < 1.0:
            faults.append(Fault("share", f"{self.share!r} must be in [0, 1): the part of weights that are zero"))
        elif self.pattern in ("2:4", "4:8") and self.share != 0.5:
            faults.append(Fault("share", f"{self.share!r} must be 0.5: {self.pattern} keeps half of the weights"))
        elif self.pattern == "none" and self.share:
            faults.append(Fault("share", f"{self.share!r} must be 0 where nothing is pruned"))
        if faults:
            raise DataError(faults)

    def stored_bits(self, bits: float, supported: bool) -> float:
        """Bits per weight of the dense matrix, of which each kept weight takes `bits`.

        - not supported by who stores it, or dense: `bits`: zeros are stored like other weights;
        - 2:4: ``bits / 2 + 1``: two kept weights and a 2-bit index for each, per four (4:8: 2 bits more per four
          kept would address them; counted as 2:4);
        - unstructured: ``(1 - share) bits + 1``: kept weights and a bitmap.

        Examples
        --------
        >>> Sparsity("2:4", 0.5).stored_bits(16.0, supported=True)
        9.0
        """
        if not supported or self.pattern == "none":
            return bits
        return (1.0 - self.share) * bits + 1.0

    def compute_factor(self, supported: bool) -> float:
        """FLOP that are left of one: 1/2 for 2:4 on hardware with sparse tensor cores, else 1.

        Unstructured zeros and 4:8 save no FLOP on the hardware of the catalog, even where they save memory.

        Parameters
        ----------
        supported : bool
            Whether the hardware or software knows this pattern.
        """
        return 0.5 if supported and self.pattern == "2:4" else 1.0


#: Nothing pruned.
DENSE: Final = Sparsity()


def structured(shape: Transformer, share: float) -> Transformer:
    """A narrower model: about `share` of the heads and of the feed-forward width of every block are taken out.

    What LLM-Pruner (arXiv 2305.11627) does, but alike in all blocks (it spares the first and last ones). Heads go in
    whole groups of a key head, so the share is rounded; at least one group and one channel stay.

    Parameters
    ----------
    shape : Transformer
        The model.
    share : float
        Of heads and width to take out, in [0, 1).

    Raises
    ------
    DataError
        `share` outside [0, 1).

    Examples
    --------
    >>> llama = Transformer(32, 4096, 32, 32, 128, 11008, 32000)
    >>> structured(llama, 0.2).heads, structured(llama, 0.2).ffn
    (26, 8806)
    """
    if not 0.0 <= share < 1.0:
        raise DataError([Fault("share", f"{share!r} must be in [0, 1)")])
    groups = max(1, round(shape.kv_heads * (1.0 - share)))
    return dataclasses.replace(
        shape,
        heads=groups * (shape.heads // shape.kv_heads),
        kv_heads=groups,
        ffn=max(1, round(shape.ffn * (1.0 - share))),
    )
