"""The network between the devices: links, routes, and what messages and collectives cost on them.

Links that share a *medium* share its airtime: two directions of a cable are two media, a Wi-Fi channel is one. Routes
minimise a fixed metric (hops, unless links say otherwise) and not time, so that a faster link never changes a route:
with routes and orders fixed, more bandwidth can only help.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from edgealloc.core.fields import short
from edgealloc.errors import DataError, Fault, nearest

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Message", "Network", "Topology"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: sender, receiver, bytes
Message = tuple[int, int, float]

#: Attributes of an edge of a NetworkX graph that are read; the first is required.
EDGE_ATTRIBUTES: Final = ("rate_bits_per_s", "latency_s", "medium", "metric", "joules_per_byte")


@dataclass(frozen=True, eq=False)
class Topology:
    """A network as arrays: directed links between nodes.

    Attributes
    ----------
    nodes : tuple of str
        The devices in the order of the problem, then relays (switches, access points), which only pass on.
    ends : (L, 2) int
        Index of the node a link leaves and of the one it enters.
    rate_bits_per_s : (L,)
        Bits per second that a link carries while nothing else uses its medium, > 0.
    latency_s : (L,)
        Delay of a message on top of its transmission, >= 0.
    medium : (L,) int
        Links with the same number share one medium: their transmissions take turns.
    metric : (L,)
        Routes take the path with the smallest sum, > 0; 1 counts hops.
    joules_per_byte : (L,)
        Energy of sender and receiver for one byte on the link, >= 0.
    relays : int, optional
        How many of the last nodes are relays; None where that is not said.

    Raises
    ------
    DataError
        With every fault: names that occur twice, ends that do not exist, rates that are not positive, ...

    Examples
    --------
    >>> home = Topology.star(("phone", "laptop"), rate_bits_per_s=1e8)
    >>> home.nodes
    ('phone', 'laptop', 'switch')
    """

    nodes: tuple[str, ...]
    ends: Any
    rate_bits_per_s: Any
    latency_s: Any = 0.0
    medium: Any = None
    metric: Any = 1.0
    joules_per_byte: Any = 0.0
    relays: int | None = None

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        nodes = _names(self.nodes)
        for k, name in enumerate(nodes):
            if name in nodes[:k]:
                faults.append(Fault(f"topology.nodes[{k}]", f"'{name}' is the name of node {nodes.index(name)}, too; "
                                                            "give every device and relay its own"))
        ends = _checked_ends(self.ends, faults)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "ends", _frozen(ends))
        count = len(ends)
        for k, (a, b) in enumerate(ends):
            if not (0 <= a < len(nodes) and 0 <= b < len(nodes)):
                faults.append(Fault(f"topology.ends[{k}]", f"is ({a}, {b}); there are nodes 0 to {len(nodes) - 1}"))
            elif a == b:
                faults.append(Fault(f"topology.ends[{k}]", f"is a link from '{nodes[a]}' to itself; leave it out"))
        _, where = np.unique(ends, axis=0, return_index=True)
        for k in sorted(set(range(count)) - {int(one) for one in where}):
            faults.append(Fault(f"topology.ends[{k}]", f"links node {ends[k, 0]} to node {ends[k, 1]} again; put one "
                                                       "link with the sum of their rates"))
        for name, low, open_low, unit in (("rate_bits_per_s", 0.0, True, "bit/s"), ("latency_s", 0.0, False, "s"),
                                          ("metric", 0.0, True, ""), ("joules_per_byte", 0.0, False, "J/B")):
            object.__setattr__(self, name, _checked_links(self, name, count, low, open_low, unit, faults))
        try:
            medium = np.arange(count) if self.medium is None else np.array(self.medium)
        except ValueError:  # rows of several lengths
            medium = np.empty(0)
        if medium.shape != (count,) or medium.dtype.kind not in "iu":
            faults.append(Fault("topology.medium", f"must be one whole number per link ({count}), or None"))
            medium = np.arange(count)
        # numbers 0, 1, ... in order of appearance: what a medium is called does not matter
        _, first, number = np.unique(medium, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        object.__setattr__(self, "medium", _frozen(rank[number.reshape(-1)] if count else np.empty(0, np.int64)))
        if faults:
            raise DataError(faults, "Topology")

    # ---- makers ---------------------------------------------------------------------------------------------------

    @classmethod
    def of_graph(cls, graph: nx.Graph[Any], devices: Sequence[Any] | None = None) -> Self:
        """The topology of a NetworkX graph.

        Parameters
        ----------
        graph : networkx.Graph or networkx.DiGraph
            Edges carry ``rate_bits_per_s`` and, optionally, ``latency_s`` (0), ``metric`` (1), ``joules_per_byte`` (0)
            and ``medium`` (any label: edges with the same one share their airtime). An undirected edge is two links
            of the full rate, one in each direction, unless its medium says that they share.
        devices : sequence, optional
            The nodes that are devices, in the order of the problem; all nodes by default. The others are relays.

        Raises
        ------
        DataError
            A device that is no node, an edge without a rate, a faulty value, a multigraph.
        """
        if getattr(graph, "is_multigraph", lambda: False)():
            raise DataError("topology: is a multigraph; give a Graph or DiGraph with one edge per pair of nodes")
        if not hasattr(graph, "edges") or not hasattr(graph, "nodes"):
            raise DataError(f"topology: is a {type(graph).__name__}; give an edgealloc.Topology or a networkx graph")
        names = [str(node) for node in graph.nodes]
        if isinstance(devices, str) or not isinstance(devices, (Iterable, type(None))):
            raise DataError([Fault("device_names", f"is {short(devices)}; give a sequence of nodes")], "Topology")
        wanted = names if devices is None else [str(node) for node in devices]
        faults = [
            Fault(f"device_names[{k}]", f"'{name}' is no node of the topology; {nearest(name, names)}")
            for k, name in enumerate(wanted) if name not in names
        ]
        nodes = (*wanted, *(name for name in names if name not in set(wanted)))
        index = {name: k for k, name in enumerate(nodes)}
        if faults:
            raise DataError(faults, "Topology")
        ends: list[tuple[int, int]] = []
        columns: dict[str, list[Any]] = {name: [] for name in EDGE_ATTRIBUTES}
        media: dict[Any, int] = {}
        for a, b, data in graph.edges(data=True):
            if "rate_bits_per_s" not in data:
                near = sorted(set(data) & {"rate", "bandwidth", "rate_bps", "capacity", "weight"})
                hint = f" (it has '{near[0]}')" if near else ""
                faults.append(Fault(f"topology edge '{a}' - '{b}'", f"has no rate_bits_per_s{hint}; give bit/s"))
                continue
            for tail, head in [(a, b)] if graph.is_directed() else [(a, b), (b, a)]:
                ends.append((index[str(tail)], index[str(head)]))
                label = ("shared", str(data["medium"])) if "medium" in data else ("own", len(ends))
                columns["medium"].append(media.setdefault(label, len(media)))
                columns["rate_bits_per_s"].append(data["rate_bits_per_s"])
                for name, usual in (("latency_s", 0.0), ("metric", 1.0), ("joules_per_byte", 0.0)):
                    columns[name].append(data.get(name, usual))
        if faults:
            raise DataError(faults, "Topology")
        numbers = np.array(columns.pop("medium"), dtype=np.int64)
        return cls(nodes=nodes, ends=np.array(ends, dtype=np.int64).reshape(-1, 2), medium=numbers,
                   relays=None if devices is None else len(nodes) - len(wanted),
                   **{name: np.array(values, dtype=object) for name, values in columns.items()})

    @classmethod
    def shared(
        cls, devices: Sequence[str] | int, rate_bits_per_s: float, latency_s: float = 0.0, joules_per_byte: float = 0.0
    ) -> Self:
        """One channel, such as Wi-Fi in ad-hoc mode: every device reaches every other, and all take turns.

        Parameters
        ----------
        devices : sequence of str, or int
            Names of the devices, or how many there are.
        rate_bits_per_s : float
            Rate of the channel in bit/s.
        latency_s : float
            Delay of a message in s, on top of its transmission.
        joules_per_byte : float
            Energy of sender and receiver together per byte, in J.
        """
        names = _names(devices)
        ends = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
        return cls(names, np.array(ends, np.int64).reshape(-1, 2), rate_bits_per_s, latency_s,
                   np.zeros(len(ends), np.int64), 1.0, joules_per_byte, 0)

    @classmethod
    def mesh(
        cls, devices: Sequence[str] | int, rate_bits_per_s: float, latency_s: float = 0.0, joules_per_byte: float = 0.0
    ) -> Self:
        """A full-duplex link of its own between every two devices.

        Parameters
        ----------
        devices : sequence of str, or int
            Names of the devices, or how many there are.
        rate_bits_per_s : float
            Rate in bit/s, in each direction.
        latency_s : float
            Delay of a message in s, on top of its transmission.
        joules_per_byte : float
            Energy of sender and receiver together per byte, in J.
        """
        names = _names(devices)
        ends = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
        return cls(names, np.array(ends, np.int64).reshape(-1, 2), rate_bits_per_s, latency_s, None, 1.0,
                   joules_per_byte, 0)

    @classmethod
    def star(
        cls,
        devices: Sequence[str] | int,
        rate_bits_per_s: npt.ArrayLike,
        latency_s: npt.ArrayLike = 0.0,
        joules_per_byte: float = 0.0,
        relay: str = "switch",
    ) -> Self:
        """Every device on a full-duplex port of a switch; rate and latency may differ between the ports (D,).

        The latency is that of one port: a message crosses two.

        Parameters
        ----------
        devices : sequence of str, or int
            Names of the devices, or how many there are.
        rate_bits_per_s : array_like
            Rate of each port in bit/s, a number or (D,).
        latency_s : array_like
            Delay of a port in s, a number or (D,).
        joules_per_byte : float
            Energy of sender and receiver together per byte, in J.
        relay : str
            Name of the switch.

        Raises
        ------
        DataError
            Arrays that do not fit the devices.
        """
        names = _names(devices)
        ends = [end for i in range(len(names)) for end in ((i, len(names)), (len(names), i))]
        faults: list[Fault] = []
        rate, latency = (np.repeat(_checked_ports(name, one, len(names), faults), 2)
                         for name, one in (("rate_bits_per_s", rate_bits_per_s), ("latency_s", latency_s)))
        if faults:
            raise DataError(faults, "Topology")
        return cls((*names, relay), np.array(ends, np.int64).reshape(-1, 2), rate, latency, None, 1.0, joules_per_byte,
                   1)

    @classmethod
    def line(
        cls, devices: Sequence[str] | int, rate_bits_per_s: float, latency_s: float = 0.0, joules_per_byte: float = 0.0
    ) -> Self:
        """A full-duplex link between every device and the next.

        Parameters
        ----------
        devices : sequence of str, or int
            Names of the devices, or how many there are.
        rate_bits_per_s : float
            Rate in bit/s, in each direction.
        latency_s : float
            Delay of a message in s, on top of its transmission.
        joules_per_byte : float
            Energy of sender and receiver together per byte, in J.
        """
        names = _names(devices)
        ends = [end for i in range(len(names) - 1) for end in ((i, i + 1), (i + 1, i))]
        return cls(names, np.array(ends, np.int64).reshape(-1, 2), rate_bits_per_s, latency_s, None, 1.0,
                   joules_per_byte, 0)

    # ---- facts ----------------------------------------------------------------------------------------------------

    @property
    def links(self) -> int:
        """L."""
        return len(self.ends)

    @property
    def media(self) -> int:
        """How many media there are."""
        return int(self.medium.max()) + 1 if self.links else 0

    def graph(self) -> nx.DiGraph[str]:
        """The topology as a NetworkX graph with the attributes that `of_graph` reads."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        for k, (a, b) in enumerate(self.ends):
            graph.add_edge(self.nodes[a], self.nodes[b], rate_bits_per_s=float(self.rate_bits_per_s[k]),
                           latency_s=float(self.latency_s[k]), medium=int(self.medium[k]),
                           metric=float(self.metric[k]), joules_per_byte=float(self.joules_per_byte[k]))
        return graph

    def scaled(self, factor: float) -> Self:
        """The same network with every rate multiplied by `factor`.

        Raises
        ------
        DataError
            A factor that is no number > 0.
        """
        given: Any = factor
        if not isinstance(given, (int, float, np.number)) or not 0.0 < given < math.inf:
            raise DataError(f"factor: is {short(given)}; give a number > 0")
        return type(self)(self.nodes, self.ends, self.rate_bits_per_s * factor, self.latency_s, self.medium,
                          self.metric, self.joules_per_byte, self.relays)

    def without(self, lost: Iterable[int]) -> Self:
        """The network after nodes (numbers) are gone, with the links that used them; the others keep their order.

        Parameters
        ----------
        lost : iterable of int
            Numbers of the nodes that are gone.

        Raises
        ------
        DataError
            There is no such node.
        """
        gone = set(lost)
        if unknown := sorted(gone - set(range(len(self.nodes)))):
            raise DataError(f"lost: names node {unknown[0]}; there are 0 to {len(self.nodes) - 1}")
        keep = [k for k in range(len(self.nodes)) if k not in gone]
        new = {old: k for k, old in enumerate(keep)}
        here = np.array([a not in gone and b not in gone for a, b in self.ends], dtype=bool)
        ends = np.array([(new[int(a)], new[int(b)]) for a, b in self.ends[here]], np.int64).reshape(-1, 2)
        relays = None if self.relays is None else sum(k >= len(self.nodes) - self.relays for k in keep)
        return type(self)(tuple(self.nodes[k] for k in keep), ends, self.rate_bits_per_s[here], self.latency_s[here],
                          self.medium[here], self.metric[here], self.joules_per_byte[here], relays)


def _names(devices: Sequence[str] | int) -> tuple[str, ...]:
    if isinstance(devices, (int, np.integer)) and not isinstance(devices, bool) and devices >= 1:
        return tuple(f"device-{k}" for k in range(devices))
    if isinstance(devices, (str, bool)) or not isinstance(devices, Iterable):
        raise DataError(f"Topology: devices: is {short(devices)}; give a sequence of names, or their number")
    return tuple(str(name) for name in devices)


def _checked_ends(value: Any, faults: list[Fault]) -> IntArray:
    """Links as pairs of whole numbers (L, 2)."""
    try:
        given = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.full(1, math.nan)
    if given.size == 0:
        return np.empty((0, 2), np.int64)
    if given.ndim != 2 or given.shape[1] != 2 or (given != np.floor(given)).any() or not np.isfinite(given).all():
        faults.append(Fault("topology.ends", f"is {short(value)}; give two whole numbers for each link: the nodes that "
                                             "it leaves and enters, by their places in `nodes`"))
        return np.empty((0, 2), np.int64)
    return np.asarray(given.astype(np.int64))


def _checked_ports(name: str, value: Any, devices: int, faults: list[Fault]) -> FloatArray:
    """A number for each port of a switch (D,)."""
    try:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (devices,))
    except (TypeError, ValueError):
        faults.append(Fault(f"topology.{name}", f"is {short(value)}; give a number, or one for each of the {devices} "
                                                "devices"))
        return np.ones(devices)


def _frozen(array: Any) -> Any:
    array.setflags(write=False)
    return array


def _checked_links(
    topology: Topology, name: str, count: int, low: float, open_low: bool, unit: str, faults: list[Fault]
) -> FloatArray:
    try:
        array = np.broadcast_to(np.array(getattr(topology, name), dtype=np.float64), (count,)).copy()
    except (TypeError, ValueError):
        faults.append(Fault(f"topology.{name}", f"must be a number, or one for each of the {count} links"))
        return np.ones(count)
    bad = ~np.isfinite(array) | ((array <= low) if open_low else (array < low))
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        a, b = (topology.nodes[one] if 0 <= one < len(topology.nodes) else one for one in topology.ends[k])
        sign = ">" if open_low else ">="
        faults.append(Fault(f"topology.{name}[{k}]", f"is {array[k]:g} {unit}".rstrip() + f" on the link from '{a}' to "
                                                     f"'{b}'; it must be finite and {sign} {low:g} {unit}".rstrip()))
        return np.ones(count)
    return np.asarray(_frozen(array))


class Network:
    """Routes between the devices of a topology and the prices of messages on them.

    Attributes
    ----------
    topology : Topology
    devices : int
        D; nodes beyond it are relays.
    media : int
    """

    def __init__(self, topology: Topology, devices: int) -> None:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        self.topology, self.devices, self.media = topology, devices, topology.media
        size = len(topology.nodes)
        tail, head = topology.ends[:, 0], topology.ends[:, 1]
        graph = csr_array((topology.metric, (tail, head)), shape=(size, size))
        _, before = dijkstra(graph, indices=np.arange(devices), return_predecessors=True)
        link_at = {(int(a), int(b)): k for k, (a, b) in enumerate(topology.ends)}
        self._routes: dict[tuple[int, int], tuple[int, ...]] = {}
        for i in range(devices):
            for j in range(devices):
                if i == j or before[i, j] < 0:
                    continue
                path, node = [], j
                while node != i:
                    previous = int(before[i, node])
                    path.append(link_at[(previous, node)])
                    node = previous
                self._routes[(i, j)] = tuple(reversed(path))
        self._byte_time = 8.0 / topology.rate_bits_per_s
        self._airtime: dict[tuple[int, int], dict[int, float]] = {}

    def with_rates(self, rate_bits_per_s: FloatArray) -> Network:
        """The same routes at other link rates (L,): cheap, for prices and sweeps."""
        other = copy.copy(self)
        other._byte_time = 8.0 / rate_bits_per_s
        other._airtime = {}
        other.__dict__.pop("seconds_per_byte", None)
        return other

    @cached_property
    def seconds_per_byte(self) -> FloatArray:
        """Time for which a byte from i to j occupies the media of its route, the longest over them (D, D)."""
        return self._pairs(math.inf, lambda i, j: max(self.airtime(i, j).values()))

    @cached_property
    def latency_s(self) -> FloatArray:
        """Sum of the latencies along the route (D, D)."""
        return self._pairs(0.0, lambda i, j: float(self.topology.latency_s[list(self.route(i, j))].sum()))

    @cached_property
    def joules_per_byte(self) -> FloatArray:
        """Energy of a byte along the route (D, D)."""
        return self._pairs(0.0, lambda i, j: float(self.topology.joules_per_byte[list(self.route(i, j))].sum()))

    def _pairs(self, missing: float, value: Callable[[int, int], float]) -> FloatArray:
        matrix = np.full((self.devices, self.devices), missing)
        np.fill_diagonal(matrix, 0.0)
        for i, j in self._routes:
            matrix[i, j] = value(i, j)
        matrix.setflags(write=False)
        return matrix

    def connected(self, i: int, j: int) -> bool:
        """Whether there is a route from i to j."""
        return i == j or (i, j) in self._routes

    def route(self, i: int, j: int) -> tuple[int, ...]:
        """Links from i to j in order."""
        return self._routes[(i, j)] if i != j else ()

    def airtime(self, i: int, j: int) -> dict[int, float]:
        """Seconds for which one byte from i to j occupies each medium of its route."""
        if i == j:
            return {}
        known = self._airtime.get((i, j))
        if known is None:
            known = {}
            for k in self._routes[(i, j)]:
                medium = int(self.topology.medium[k])
                known[medium] = known.get(medium, 0.0) + float(self._byte_time[k])
            self._airtime[(i, j)] = known
        return known

    def media_of(self, messages: Iterable[Message]) -> tuple[int, ...]:
        """Media that a set of messages uses, in order."""
        return tuple(sorted({medium for i, j, _ in messages for medium in self.airtime(i, j)}))

    def phase(self, messages: Iterable[Message]) -> tuple[float, float]:
        """Occupancy and latency (s) of messages sent at once.

        The occupancy is ``max over media of the sum over messages and links of 8 bytes/rate``: messages that meet on
        a medium share it, the others do not notice each other. The latency is the longest of their routes.
        """
        use: dict[int, float] = {}
        latency = 0.0
        for i, j, size in messages:
            for medium, seconds in self.airtime(i, j).items():
                use[medium] = use.get(medium, 0.0) + size * seconds
            latency = max(latency, float(self.latency_s[i, j]))
        return max(use.values(), default=0.0), latency

    def ring(self, members: Sequence[int], sizes: Sequence[float]) -> tuple[float, float]:
        """Occupancy and latency of one ring step: member k sends ``sizes[k]`` bytes to member k + 1."""
        following = [*members[1:], members[0]]
        return self.phase(zip(members, following, sizes, strict=True))

    def all_reduce(self, members: Sequence[int], size: float) -> float:
        """Seconds of a ring all-reduce of `size` bytes: ``2 (g-1)`` steps of ``size/g`` bytes by every member.

        Source: Patarasuk & Yuan 2009 (bandwidth-optimal ring); on the real routes a step takes as long as the most
        loaded medium.
        """
        g = len(members)
        if g < 2 or size <= 0.0:
            return 0.0
        occupancy, latency = self.ring(members, [size / g] * g)
        return 2.0 * (g - 1) * (occupancy + latency)

    def all_gather(self, members: Sequence[int], sizes: Sequence[float]) -> tuple[float, float]:
        """Occupancy and latency (s) of a ring all-gather: in step k member m passes on ``sizes[m - k]`` bytes.

        The occupancies of the ``g - 1`` steps add up, and so do their latencies.
        """
        g = len(members)
        steps = [self.ring(members, [sizes[(m - k) % g] for m in range(g)]) for k in range(g - 1)]
        return sum(step[0] for step in steps), sum(step[1] for step in steps)

    @cached_property
    def unreachable(self) -> tuple[tuple[int, int], ...]:
        """Pairs of devices without a route."""
        return tuple((i, j) for i in range(self.devices) for j in range(self.devices) if not self.connected(i, j))
