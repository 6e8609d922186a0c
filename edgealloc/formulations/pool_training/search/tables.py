"""A problem of pipelines of groups as arrays for kernels, and its plans as tables with one row per stage."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.pool_training.plan import Plan
from edgealloc.formulations.pool_training.search.clock import Clock, new_clock
from edgealloc.formulations.pool_training.search.fastcost import FastCost
from edgealloc.formulations.pool_training.timetables import RATIOS, TICKS

__all__ = ["Net", "Pool", "Room", "new_room", "plan_of", "pool_of", "rows_of"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Columns of a row: devices of the stage, its layers, 1 if its shares are to be found; then members.
SIZE, LAYERS, OPEN, FIRST = range(4)
#: Blocks of columns behind those: shares, then the best if memory were no matter, equal ones, and those by memory.
IDEAL, EQUAL, ROOMY = range(2, 5)
#: Ticks of a hand-over in the timetables.
ALL_RATIOS: Final = np.array([round(ratio * TICKS) for ratio in RATIOS], dtype=np.int64)
#: Rows of `Pool.device`: FLOP/s, W above idling, W idling, bytes.
SPEED, ACTIVE, IDLE, FREE_BYTES = range(4)
#: Rows of `Pool.sums`: FLOP of a sample, bytes of states, activations of a sample, gradients.
WORK, STATE, KEPT, GRADIENT = range(4)
#: Rows of `Net.pair`: seconds per byte (the longest over media), latency (s), J per byte.
NEAR, LATENCY_S, JOULES = range(3)
#: Rows of `Room.media`: place of a medium among those of the pipeline, -1 if it is not there; medium at a place; those
#: of the phase at hand; hand-overs that use the medium at a place.
PLACE, MEDIUM, MINE, HOPS = range(4)
#: Rows of `Room.group`: most samples of a member, samples tried, members from the cheapest.
CAP, TRIAL, ORDER = range(3)
#: Rows of `Room.after`: seconds and joules behind the stage, and from the stage on.
BEHIND, SPENT, NOW, SPENT_NOW = range(4)


class Net(NamedTuple):
    """Routes between D devices."""

    devices: int
    boundary: float  #: bytes of a sample between stages
    route: IntArray  #: (D D + 1,) where the media of i D + j begin
    medium: IntArray
    air: FloatArray  #: seconds of a byte on them
    pair: FloatArray  #: (3, D, D)


class Pool(NamedTuple):
    """What the kernels know of a problem: D devices, Y layers. Few arrays, because each makes compiling slower."""

    hybrid: bool  #: windows of hybrids, not of pipelines
    most: int  #: devices of a stage at most
    layers: int
    micro: int  #: micro-batches
    samples: int  #: of a micro-batch
    per_s: float
    per_j: float
    latest: float  #: deadline (s), inf without one
    tied: float  #: bytes of the table that first and last layer share
    tied_state: float
    able: IntArray  #: devices that can take part
    device: FloatArray  #: (4, D)
    flops: FloatArray  #: (2, Y+1, Y+1) of a sample in layers a to b - 1, forward and backward, as `FastCost` sums them
    sums: FloatArray  #: (4, Y+1) running sums over layers
    ratios: IntArray  #: ticks of a hand-over in the timetables


class Room(NamedTuple):
    """Where kernels reckon: S stages, G devices of a stage, K media."""

    use: FloatArray  #: (K,) seconds on a medium in the phase at hand, -1 if it is not used
    media: IntArray  #: (4, K)
    group: IntArray  #: (3, G)
    joined: IntArray  #: (1, FIRST + 2 G) members of first and last stage
    after: FloatArray  #: (4, Y+1)
    cuts: IntArray  #: (S, Y+1)


def pool_of(cost: FastCost, kind: str) -> tuple[Pool, Net]:
    """The arrays of a problem for pipelines or hybrids."""
    problem, network, layers, devices = cost.problem, cost.problem.network, cost.problem.layers, cost.problem.devices
    flops = np.zeros((2, layers + 1, layers + 1))
    for a in range(layers):
        for b in range(a + 1, layers + 1):
            flops[:, a, b] = cost.flops(a, b)
    route, medium, air = [0], [], []
    for i in range(devices):
        for j in range(devices):
            if network.connected(i, j):
                for one, seconds in network.airtime(i, j).items():
                    medium.append(one)
                    air.append(seconds)
            route.append(len(medium))
    hybrid = kind == "hybrid"
    pool = Pool(
        hybrid, min(problem.micro_batch, devices) if hybrid else 1, layers, problem.micro_batches, problem.micro_batch,
        cost.per_second, cost.per_joule,
        math.inf if problem.deadline_s is None else float(problem.deadline_s) * (1.0 + 1e-12),
        float(problem.tied_bytes), float(problem.tied_state_bytes),
        np.array([i for i in range(devices) if cost.free[i] >= 0.0], dtype=np.int64),
        np.array([cost.speed, np.subtract(cost.busy, cost.idle), cost.idle, cost.free]), flops,
        np.array([np.add(cost.forward, cost.backward), cost.state, cost.kept, cost.gradient]), ALL_RATIOS,
    )
    net = Net(devices, float(problem.boundary_bytes), np.array(route, dtype=np.int64), np.array(medium, dtype=np.int64),
              np.array(air, dtype=np.float64),
              np.array([network.seconds_per_byte, network.latency_s, network.joules_per_byte]))
    return pool, net


def new_room(pool: Pool, net: Net) -> tuple[Room, Clock]:
    """Room for the largest pipelines of a pool."""
    devices, most, media = net.devices, pool.most, int(net.medium.max(initial=0)) + 1
    stages = max(min(devices, pool.layers), 1)
    phase = min(2 * most * int(np.diff(net.route).max(initial=1)), media)

    def counts(*shape: int) -> IntArray:
        return np.zeros(shape, dtype=np.int64)

    room = Room(np.full(media, -1.0), counts(4, media), counts(3, most), counts(1, FIRST + 2 * most),
                np.zeros((4, pool.layers + 1)), counts(stages, pool.layers + 1))
    room.media[PLACE] = -1
    return room, new_clock(stages, pool.micro, media, (2 * stages + 1) * phase)


def rows_of(pool: Pool, net: Net, plan: Plan) -> IntArray:
    """A plan as a table (S, 3 + 5 G), with rows for as many stages as there can be."""
    most = pool.most
    rows = np.zeros((max(min(net.devices, pool.layers), len(plan.stages)), FIRST + 5 * most), dtype=np.int64)
    for p, (group, shares) in enumerate(zip(plan.stages, plan.shares, strict=True)):
        rows[p, :FIRST] = len(group), plan.layers[p], 0
        rows[p, FIRST:FIRST + len(group)] = group
        rows[p, FIRST + most:FIRST + most + len(group)] = shares
    return rows


def plan_of(pool: Pool, rows: IntArray, stages: int) -> Plan:
    """The plan of a table."""
    most = pool.most
    groups, layers, shares = [], [], []
    for row in rows[:stages].tolist():
        groups.append(tuple(row[FIRST:FIRST + row[SIZE]]))
        layers.append(row[LAYERS])
        shares.append(tuple(row[FIRST + most:FIRST + most + row[SIZE]]))
    return Plan("hybrid" if pool.hybrid else "pipeline", tuple(groups), tuple(layers), tuple(shares))
