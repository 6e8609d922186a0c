"""The limits of a scenario as arrays: deadlines, caps of users, and what a server must hold for its users."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.system.memory import activation_bytes_per_layer, device_memory, state_bytes
from edgealloc.system.transformer import head_params, layer_params, lora_params_per_layer
from edgealloc.units import format_si

if TYPE_CHECKING:
    from edgealloc.catalog import Catalog
    from edgealloc.scenarios.split_training.schema import Document, ServerGroup, UserGroup

__all__ = [
    "RESOURCE_SENSES",
    "ServerNeed",
    "deadlines",
    "group_size",
    "optional_limits",
    "server_bytes",
    "server_need",
    "server_room",
]

FloatArray = npt.NDArray[np.float64]

#: word in a scenario file -> field of the problem
RESOURCE_SENSES: Final = {"at most": "at_most", "exactly": "exactly"}


def group_size(group: UserGroup | ServerGroup) -> int:
    """How many users or servers a group has."""
    return len(group.positions) if group.positions is not None else int(group.count or 0)


# ---- deadlines ----------------------------------------------------------------------------------------------------


def deadlines(document: Document) -> tuple[FloatArray | None, FloatArray | None]:
    """(seconds, weight of a second late) per user; inf: no deadline, and a hard one. None: nobody has one."""
    seconds = _per_user(document, "deadline")
    weight = _per_user(document, "deadline_penalty")
    if np.isinf(seconds).all():
        return None, None
    # without a deadline there is nothing to be late for
    weight[np.isinf(seconds)] = math.inf
    return seconds, None if np.isinf(weight).all() else weight


def _per_user(document: Document, key: str) -> FloatArray:
    """A key of the users' groups, else of [limits], else inf."""
    general = getattr(document.limits, key)
    own = [getattr(group, key) for group in document.users]
    values = [math.inf if value is None else value for value in (general if one is None else one for one in own)]
    return np.repeat(np.array(values, dtype=np.float64), [group_size(group) for group in document.users])


# ---- memory of servers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServerNeed:
    """What a server holds: ``base_bytes`` once, and ``fixed_bytes + layers x per_layer_bytes`` for each of its users.

    Everything is counted as if all users of a server were in the middle of a step at once: the model shares a server
    among them at the same time, and a queue in front of it is nobody's promise.

    Attributes
    ----------
    fixed_bytes : float
        Of one user whatever the cut: head, logits and, with recomputation, the working set of one layer.
    per_layer_bytes : float
        Of one user per layer trained on the server: states and kept activations.
    base_bytes : float
        Of a server, whoever it serves: the shared frozen model, 0 where every user brings a copy.
    """

    fixed_bytes: float
    per_layer_bytes: float
    base_bytes: float

    def describe(self) -> str:
        """What is counted, in parts with a semicolon between."""
        if self.base_bytes:
            return (
                f"the frozen model once per server ({format_si(self.base_bytes, 'B')}); "
                f"per user {self._each('adapters')}; all users of a server count at the same time"
            )
        return (
            f"per user {self._each('weights, adapters')}; every user has a copy of the layers trained for it; all "
            "users of a server count at the same time"
        )

    def _each(self, states: str) -> str:
        return (
            f"{format_si(self.fixed_bytes, 'B')} for head and logits and "
            f"{format_si(self.per_layer_bytes, 'B')} per layer on the server ({states}, activations)"
        )


def server_need(document: Document, catalog: Catalog) -> ServerNeed:
    """The memory that one user takes on a server, by the same model as on its device.

    Where lengths of sequences are drawn, everybody counts with the longest possible: the safe side.
    """
    model = document.model
    tokens = model.tokens[1] if isinstance(model.tokens, tuple) else model.tokens
    # Devices hold the embedding, so a head that is tied to it needs a table of its own on the server.
    shape = dataclasses.replace(catalog.model(model.name).transformer(), tied_embeddings=False)
    frozen = model.training == "frozen"
    kept: dict[str, Any] = {
        "training": model.training,
        "targets": model.lora_targets,
        "fused_attention": model.fused_attention,
        "bytes_per_element": model.activation_bytes,
    }
    adapters = lora_params_per_layer(shape, model.lora_rank, model.lora_targets) if frozen else 0
    memory = device_memory(
        shape,
        model.batch,
        tokens,
        states=model.optimizer_states,
        adapter_params_per_layer=adapters,
        recompute=model.recompute,
        **kept,
    )
    fixed, per_layer, base = float(memory.head_bytes), float(memory.per_layer_bytes), 0.0
    if model.recompute:
        fixed += float(activation_bytes_per_layer(shape, model.batch, tokens, **kept))
    if frozen and document.limits.shared_base:
        head, layer = (
            float(state_bytes(count, training="frozen")) for count in (head_params(shape), layer_params(shape))
        )
        # every layer, also those that no user ever sends: a server cannot know beforehand
        fixed, per_layer, base = fixed - head, per_layer - layer, head + shape.layers * layer
    return ServerNeed(fixed, per_layer, base)


def server_bytes(group: ServerGroup, catalog: Catalog) -> float:
    """Memory of one server of a group, in all."""
    if group.memory is not None or group.device is None:
        return group.memory or 0.0
    return group.accelerators * float(catalog.device(group.device).require("memory_bytes"))


def server_room(group: ServerGroup, catalog: Catalog, need: ServerNeed) -> float:
    """Bytes that one server of a group has for its users; what the shared base leaves of its share."""
    return max(group.memory_share * server_bytes(group, catalog) - need.base_bytes, 0.0)


# ---- all of them --------------------------------------------------------------------------------------------------


def optional_limits(document: Document, catalog: Catalog) -> dict[str, Any]:
    """Fields of the problem for the limits that a scenario has, but for the price of being late.

    That price is relative to the reference of the weights, which only a built problem has.
    """
    fields: dict[str, Any] = {"resource_sense": RESOURCE_SENSES[document.limits.resources]}
    seconds, _ = deadlines(document)
    if seconds is not None:
        fields["deadline_s"] = seconds
    sizes = [group_size(group) for group in document.servers]
    caps = [group.users_max for group in document.servers]
    if any(cap is not None for cap in caps):
        everybody = sum(group_size(group) for group in document.users)  # a cap that never binds
        fields["users_per_server"] = np.repeat([everybody if cap is None else cap for cap in caps], sizes)
    if document.limits.server_memory:
        need = server_need(document, catalog)
        room = [server_room(group, catalog, need) for group in document.servers]
        fields |= {
            "server_memory_bytes": np.repeat(room, sizes),
            "server_memory_bytes_fixed": need.fixed_bytes,
            "server_memory_bytes_per_layer": need.per_layer_bytes,
        }
    return fields
