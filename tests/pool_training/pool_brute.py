"""A second, slow account of pool training: every plan of a tiny pool, priced by an event queue.

It shares no code with the package: routes by its own search over the links, pipelines by a simulator with a heap of
events in which devices and media work off their lists, memory by following what is kept, and every plan there is.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import edgealloc as ea

Numbers = tuple[int, ...]
Message = tuple[int, int, float]  #: from, to, bytes
Phase = tuple[float, float, set[int]]  #: occupancy, latency, media
Candidate = tuple[str, tuple[Numbers, ...], Numbers, tuple[Numbers, ...]]  #: parallelism, stages, layers, shares
Cost = tuple[float, float, list[tuple[int, float]]]  #: seconds, joules, memory by device
Way = tuple[str, int]  #: "f" or "b", stage
Pass = tuple[str, int, int]  #: "f" or "b", stage, micro-batch


def routes(problem: ea.PoolTraining) -> dict[tuple[int, int], Numbers]:
    """(i, j) -> links of the shortest path by metric (unique in the topologies of the tests)."""
    topology = problem.topology
    out: dict[int, list[tuple[int, int]]] = {}
    for k, (a, b) in enumerate(topology.ends.tolist()):
        out.setdefault(a, []).append((b, k))
    found: dict[tuple[int, int], Numbers] = {}
    for source in range(problem.devices):
        queue: list[tuple[float, int, Numbers]] = [(0.0, source, ())]
        done: set[int] = set()
        while queue:
            length, node, path = heapq.heappop(queue)
            if node in done:
                continue
            done.add(node)
            if node < problem.devices and node != source:
                found[source, node] = path
            for following, k in out.get(node, []):
                heapq.heappush(queue, (length + float(topology.metric[k]), following, (*path, k)))
    return found


class Brute:
    """Costs of plans of one problem; `best` tries them all."""

    def __init__(self, problem: ea.PoolTraining) -> None:
        self.problem, self.route = problem, routes(problem)
        self.ahead: list[float] = problem.forward_flops.tolist()
        self.home: list[float] = problem.backward_flops.tolist()

    # ---- network ----------------------------------------------------------------------------------------------------

    def phase(self, messages: Sequence[Message]) -> Phase:
        """(occupancy, latency, media) of messages sent at once."""
        topology, latency = self.problem.topology, 0.0
        use: dict[int, float] = {}
        for i, j, size in messages:
            path = self.route[i, j]
            latency = max(latency, sum(float(topology.latency_s[k]) for k in path))
            for k in path:
                medium = int(topology.medium[k])
                use[medium] = use.get(medium, 0.0) + 8.0 * size / float(topology.rate_bits_per_s[k])
        return max(use.values(), default=0.0), latency, set(use)

    def joules(self, messages: Sequence[Message]) -> float:
        return sum(size * sum(float(self.problem.topology.joules_per_byte[k]) for k in self.route[i, j])
                   for i, j, size in messages)

    def all_reduce(self, ring: Numbers, size: float) -> tuple[float, float, set[int]]:
        """(seconds, joules, media): 2 (g-1) steps in which everybody sends size/g to the next."""
        g = len(ring)
        if g < 2 or size <= 0.0:
            return 0.0, 0.0, set()
        step = [(ring[k], ring[(k + 1) % g], size / g) for k in range(g)]
        occupancy, latency, media = self.phase(step)
        return 2 * (g - 1) * (occupancy + latency), 2 * (g - 1) * self.joules(step), media

    # ---- plans of one stage -----------------------------------------------------------------------------------------

    def one_stage(self, kind: str, ring: Numbers, shares: Numbers) -> Cost:
        """(T, E, memory by device)."""
        P, g = self.problem, len(ring)
        units = {"sequence": P.tokens, "tensor": P.heads}.get(kind, P.batch)
        part = [share / units for share in shares]
        T = radio = 0.0
        busy = [0.0] * g
        kept_peak: list[tuple[int, float]] = []
        states = float(sum(P.state_bytes)) - P.tied_state_bytes
        for way in range(2):
            for y in range(P.layers):
                flops = (self.ahead, self.home)[way][y]
                took = [part[k] * P.batch * flops / float(P.flops_per_s[ring[k]]) for k in range(g)]
                busy = [one + more for one, more in zip(busy, took, strict=True)]
                if kind in ("sequence", "tensor"):
                    T += max(took)
                if kind == "tensor" and P.boundary_bytes > 0:
                    seconds, spent, _ = self.all_reduce(ring, P.batch * P.boundary_bytes)
                    T, radio = T + 2 * seconds, radio + 2 * spent
                if kind == "sequence" and g > 1 and P.key_value_bytes[y] > 0:
                    chunk = [part[k] * P.batch * float(P.key_value_bytes[y]) for k in range(g)]
                    owner = list(range(g))  # whose chunk lies at position k
                    for _ in range(g - 1):
                        step = [(ring[k], ring[(k + 1) % g], chunk[owner[k]]) for k in range(g)]
                        occupancy, latency, _media = self.phase(step)
                        T += (1 + way) * (occupancy + latency)
                        radio += (1 + way) * self.joules(step)
                        owner = [owner[k - 1] for k in range(g)]
        if kind in ("single", "data"):
            T = max(busy)
        if kind in ("data", "sequence"):
            seconds, spent, _ = self.all_reduce(ring, float(sum(P.gradient_bytes)) + P.tied_bytes)
            T, radio = T + seconds, radio + spent
        for k, i in enumerate(ring):
            act, both = float(sum(P.activation_bytes)), float(sum(P.replicated_activation_bytes))
            if kind == "tensor":
                need = part[k] * states + P.batch * (both + part[k] * (act - both))
            else:
                need = states + part[k] * P.batch * act
            kept_peak.append((i, need + float(P.overhead_bytes[i])))
        E = radio + sum(float(P.busy_power_w[i]) * busy[k] + float(P.idle_power_w[i]) * (T - busy[k])
                        for k, i in enumerate(ring))
        return T, E, kept_peak

    # ---- pipelines --------------------------------------------------------------------------------------------------

    def hand_over(self, senders: Numbers, sent: Numbers, receivers: Numbers, taken: Numbers) -> list[Message]:
        """Sample by sample: who has it, who needs it."""
        owner = [i for i, share in zip(senders, sent, strict=True) for _ in range(share)]
        needs = [j for j, share in zip(receivers, taken, strict=True) for _ in range(share)]
        count: dict[tuple[int, int], int] = {}
        for pair in zip(owner, needs, strict=True):
            count[pair] = count.get(pair, 0) + 1
        return [(i, j, n * self.problem.boundary_bytes) for (i, j), n in count.items()]

    def pipeline(self, kind: str, stages: tuple[Numbers, ...], layers: Numbers, shares: tuple[Numbers, ...]) -> Cost:
        """(T, E, memory by device) by a queue of events."""
        P, S, M = self.problem, len(stages), self.problem.micro_batches
        K = [min(M, 2 * (S - p) - 1 if kind == "hybrid" else S - p) for p in range(S)]
        starts = [sum(layers[:p]) for p in range(S + 1)]
        ahead = [sum(self.ahead[starts[p]:starts[p + 1]]) for p in range(S)]
        home = [sum(self.home[starts[p]:starts[p + 1]]) for p in range(S)]
        slow = [max(n / float(P.flops_per_s[i]) for i, n in zip(stages[p], shares[p], strict=True)) for p in range(S)]
        duration = {("f", p): slow[p] * ahead[p] for p in range(S)} | {("b", p): slow[p] * home[p] for p in range(S)}
        send: dict[Way, tuple[list[Message], Phase]] = {}
        for p in range(S - 1):
            over = self.hand_over(stages[p], shares[p], stages[p + 1], shares[p + 1])
            send["f", p] = over, self.phase(over)
            back = [(j, i, size) for i, j, size in over]
            send["b", p + 1] = back, self.phase(back)
        radio = M * sum(self.joules(messages) for messages, _ in send.values())
        sizes = [sum(P.gradient_bytes[starts[p]:starts[p + 1]].tolist()) + (P.tied_bytes if S == 1 else 0)
                 for p in range(S)]
        rings: list[tuple[int | None, Numbers, float]] = [
            (p, stages[p], sizes[p]) for p in range(S - 1, -1, -1) if len(stages[p]) > 1]
        if S > 1:
            rings.append((None, (*stages[0], *stages[-1]), P.tied_bytes))
        last = [(p, *self.all_reduce(ring, size)) for p, ring, size in rings if size > 0]
        radio += sum(spent for _, _, spent, _ in last)
        # who sends first: whoever is ready first in a world in which hand-overs take a part of a stage's mean time
        price = {key: value[1] for key, value in send.items()}
        many = [medium for _, _, media in price.values() for medium in media]
        mean = (sum(duration["f", p] for p in range(S)) + sum(duration["b", p] for p in range(S))) / S
        T, done, started = math.inf, dict[Pass, float](), dict[Pass, float]()
        ticks = {key: round(value / mean * 1e6) for key, value in duration.items()}
        for part in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4) if len(many) > len(set(many)) else (0.0,):
            turn = simulate(S, M, K, ticks, {key: (round(part * 1e6), 0, value[2]) for key, value in price.items()},
                            None)[3]
            ends, free, starting, _ = simulate(S, M, K, duration, price, turn)
            ready = [ends["b", p, M - 1] for p in range(S)]
            latest = max(ready)
            for stage, seconds, _, media in last:
                after = ready[stage] if stage is not None else max(ready[0], ready[-1])
                end = max([after, *(free.get(one, 0.0) for one in media)]) + seconds
                for one in media:
                    free[one] = end
                if stage is not None:
                    ready[stage] = end
                latest = max(latest, end)
            if latest < T:
                T, done, started = latest, ends, starting
        E, memory = radio, list[tuple[int, float]]()
        for p in range(S):
            act = sum(P.activation_bytes[starts[p]:starts[p + 1]].tolist())
            state = sum(P.state_bytes[starts[p]:starts[p + 1]].tolist()) - (P.tied_state_bytes if S == 1 else 0.0)
            # micro-batches that lie on the stage after any of its forwards has begun
            most = max(sum(started["f", p, o] <= started["f", p, m] and done["b", p, o] > started["f", p, m]
                           for o in range(M)) for m in range(M)) if min(duration.values()) > 0 else K[p]
            for i, n in zip(stages[p], shares[p], strict=True):
                busy = M * n * (ahead[p] + home[p]) / float(P.flops_per_s[i])
                E += float(P.busy_power_w[i]) * busy + float(P.idle_power_w[i]) * (T - busy)
                memory.append((i, state + most * n * act + float(P.overhead_bytes[i])))
        return T, E, memory

    # ---- all plans --------------------------------------------------------------------------------------------------

    def cost(self, plan: Candidate) -> Cost:
        """(T, E, memory by device)."""
        kind, stages, layers, shares = plan
        if kind in ("pipeline", "hybrid"):
            return self.pipeline(kind, stages, layers, shares)
        return self.one_stage(kind, stages[0], shares[0])

    def value(self, plan: Candidate) -> float:
        """Objective of a plan; inf if it breaks a limit."""
        P = self.problem
        T, E, memory = self.cost(plan)
        if any(need > float(P.memory_bytes[i]) * (1 + 1e-11) for i, need in memory):
            return math.inf
        if P.deadline_s is not None and P.deadline_s * (1 + 1e-11) < T:
            return math.inf
        return P.per_second * T + P.per_joule * E

    def plans(self) -> Iterator[Candidate]:
        """(kind, stages, layers, shares) of every plan of the allowed parallelisms."""
        P = self.problem
        everybody = range(P.devices)
        for kind in P.parallelisms:
            if kind == "single":
                yield from ((kind, ((i,),), (P.layers,), ((P.batch,),)) for i in everybody)
            elif kind in ("data", "sequence", "tensor"):
                units = {"sequence": P.tokens, "tensor": P.heads}.get(kind, P.batch)
                for g in range(1, P.devices + 1):
                    for ring in itertools.permutations(everybody, g):
                        if ring[0] == min(ring):  # turns of a ring are the same
                            for shares in parts(units, g):
                                yield kind, (ring,), (P.layers,), (shares,)
            else:
                micro = P.batch // P.micro_batches
                for k in range(1, P.devices + 1):
                    for order in itertools.permutations(everybody, k):
                        for sizes in parts_of_any_number(k):
                            if kind == "pipeline" and max(sizes) > 1:
                                continue
                            cuts = [0, *itertools.accumulate(sizes)]
                            stages = tuple(order[a:b] for a, b in itertools.pairwise(cuts))
                            for layers in parts(P.layers, len(stages)):
                                for each in itertools.product(*(parts(micro, len(stage)) for stage in stages)):
                                    yield kind, stages, layers, each

    def best(self) -> tuple[float, Candidate | None]:
        """(objective, plan), (inf, None) if no plan keeps all limits."""
        best: tuple[float, Candidate | None] = (math.inf, None)
        for plan in self.plans():
            value = self.value(plan)
            if value < best[0]:
                best = (value, plan)
        return best


def parts(total: int, count: int) -> list[Numbers]:
    """All ways to write a number as an ordered sum of `count` numbers >= 1."""
    return [tuple(b - a for a, b in itertools.pairwise((0, *cut, total)))
            for cut in itertools.combinations(range(1, total), count - 1)] if count <= total else []


def parts_of_any_number(total: int) -> list[Numbers]:
    return [one for count in range(1, total + 1) for one in parts(total, count)]


Simulated = tuple[dict[Pass, float], dict[int, float], dict[Pass, float], dict[int, list[Pass]]]


def simulate(S: int, M: int, K: Sequence[int], duration: Mapping[Way, float], price: Mapping[Way, Phase],
             turn: Mapping[int, Sequence[Pass]] | None) -> Simulated:
    """Pipeline by a heap of events: (ends of passes, when media are free, starts of passes, order on every medium).

    Stages take their passes in the 1F1B order with K in flight, media their transfers in the order of `turn`, or first
    come, first served if that is None.
    """
    todo = {p: [("f", m) for m in range(K[p])] for p in range(S)}
    for p in range(S):
        for m in range(M):
            todo[p].append(("b", m))
            if K[p] + m < M:
                todo[p].append(("f", K[p] + m))
    order = None if turn is None else {medium: list(passes) for medium, passes in turn.items()}
    served: dict[int, list[Pass]] = {}
    working: set[int] = set()
    held: dict[int, Pass] = {}
    here = {("f", 0, m) for m in range(M)}  # what stages can work on
    ends: dict[Pass, float] = {}
    starts: dict[Pass, float] = {}
    free: dict[int, float] = {}
    waiting: dict[Pass, float] = {}
    heap: list[tuple[float, int, str, Pass]] = []
    number = itertools.count()
    now = 0.0

    def settle() -> None:
        moved = True
        while moved:
            moved = False
            for p in range(S):
                if todo[p] and p not in working and (todo[p][0][0], p, todo[p][0][1]) in here:
                    way, m = todo[p].pop(0)
                    working.add(p)
                    starts[way, p, m] = now
                    heapq.heappush(heap, (now + duration[way, p], next(number), "pass", (way, p, m)))
                    moved = True
            for one in sorted(waiting, key=lambda one: (waiting[one], one[1], one[0] == "b", one[2])):
                way, p, _ = one
                occupancy, latency, media = price[way, p]
                if all(medium not in held and (order is None or order[medium][0] == one) for medium in media):
                    waiting.pop(one)
                    for medium in media:
                        held[medium] = one
                        served.setdefault(medium, []).append(one)
                        if order is not None:
                            order[medium].pop(0)
                    heapq.heappush(heap, (now + occupancy, next(number), "sent", one))
                    heapq.heappush(heap, (now + occupancy + latency, next(number), "there", one))
                    moved = True

    settle()
    while heap:
        now = heap[0][0]
        while heap and heap[0][0] == now:
            _, _, what, (way, p, m) = heapq.heappop(heap)
            if what == "pass":
                working.discard(p)
                ends[way, p, m] = now
                if (way, p) in price:
                    waiting[way, p, m] = now
                if way == "f" and p == S - 1:
                    here.add(("b", p, m))
            elif what == "sent":
                for medium in price[way, p][2]:
                    held.pop(medium)
                    free[medium] = now
            else:
                here.add((way, p + 1 if way == "f" else p - 1, m))
        settle()
    if len(ends) != 2 * S * M:
        raise AssertionError("the pipeline came to a standstill")
    return ends, free, starts, served
