"""Routes, media and prices of messages and collectives, by hand."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from edgealloc import DataError, Topology
from edgealloc.formulations.pool_training.network import Network


def test_two_wifi_hops_share_the_channel() -> None:
    """a and b talk through an access point on one channel: a byte takes the airtime of both hops; c is on a cable."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_edge("a", "ap", rate_bits_per_s=8e6, latency_s=0.001, medium="wifi")
    graph.add_edge("b", "ap", rate_bits_per_s=4e6, latency_s=0.002, medium="wifi")
    graph.add_edge("c", "ap", rate_bits_per_s=8e8)
    network = Network(Topology.of_graph(graph, ["a", "b", "c"]), 3)
    assert network.media == 3  # the channel and two directions of the cable
    # 1 byte: 1 us on the first hop and 2 us on the second
    assert network.seconds_per_byte[0, 1] == pytest.approx(3e-6)
    assert network.latency_s[0, 1] == pytest.approx(0.003)
    assert network.seconds_per_byte[0, 2] == pytest.approx(1e-6)
    # both at once: a to c 1 s of airtime, b to c 2 s, and 0.02 s on the cable
    assert network.phase([(0, 2, 1e6), (1, 2, 1e6)]) == pytest.approx((3.0, 0.002))


def test_all_reduce_on_a_mesh_and_on_a_channel() -> None:
    """2 (g-1) steps of N/g bytes: side by side on links of their own, one after another on a channel."""
    mesh, channel = Network(Topology.mesh(4, 8e6, 0.01), 4), Network(Topology.shared(4, 8e6, 0.01), 4)
    assert mesh.all_reduce((0, 1, 2, 3), 4e6) == pytest.approx(6 * (1.0 + 0.01))
    assert channel.all_reduce((0, 1, 2, 3), 4e6) == pytest.approx(6 * (4.0 + 0.01))
    assert mesh.all_reduce((2,), 4e6) == 0.0
    assert mesh.all_reduce((0, 1), 0.0) == 0.0


def test_ring_on_a_line_loads_the_way_back() -> None:
    """On a line 0 - 1 - 2 the ring's last edge runs back over both links; no direction carries two messages."""
    network = Network(Topology.line(3, 8e6), 3)
    assert network.all_reduce((0, 1, 2), 3e6) == pytest.approx(4.0)
    # in the order 0, 2, 1 the link from 1 to 2 is free of nothing: 0 -> 2 and 2 -> 1, 1 -> 0 share no direction
    assert network.all_reduce((0, 2, 1), 3e6) == pytest.approx(4.0)
    star = Network(Topology.star(3, [8e6, 8e6, 4e6], 0.001), 3)
    assert star.seconds_per_byte[0, 2] == pytest.approx(2e-6)
    assert star.latency_s[0, 2] == pytest.approx(0.002)


def test_all_gather_passes_every_part_to_everybody() -> None:
    """Parts of 1, 2 and 3 MB on links of 1 MB/s: each step takes as long as its largest part."""
    network = Network(Topology.mesh(3, 8e6), 3)
    assert network.all_gather((0, 1, 2), [1e6, 2e6, 3e6]) == pytest.approx((6.0, 0.0))


def test_routes_follow_the_metric_and_not_the_rate() -> None:
    """A slow direct link is taken unless its metric says otherwise; a faster one elsewhere changes no route."""
    links = {("a", "b"): 1e6, ("a", "r"): 1e9, ("r", "b"): 1e9}
    graph: nx.Graph[str] = nx.Graph()
    for (tail, head), rate in links.items():
        graph.add_edge(tail, head, rate_bits_per_s=rate)
    direct = Network(Topology.of_graph(graph, ["a", "b"]), 2)
    assert len(direct.route(0, 1)) == 1
    graph.edges["a", "b"]["metric"] = 5.0
    around = Network(Topology.of_graph(graph, ["a", "b"]), 2)
    assert len(around.route(0, 1)) == 2
    faster = Network(around.topology.scaled(10.0), 2)
    assert faster.route(0, 1) == around.route(0, 1)
    np.testing.assert_allclose(faster.seconds_per_byte, around.with_rates(around.topology.rate_bits_per_s * 10.0)
                               .seconds_per_byte)


def test_graph_and_back() -> None:
    """A topology survives the way through NetworkX, media and all."""
    first = Topology.shared(("x", "y", "z"), 1e8, 1e-3, 1e-9)
    second = Topology.of_graph(first.graph(), first.nodes)
    assert second.nodes == first.nodes
    assert second.media == 1
    for name in ("ends", "rate_bits_per_s", "latency_s", "joules_per_byte"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_losing_a_node_takes_its_links() -> None:
    """Without its middle, a line has two ends and no link."""
    left = Topology.line(3, 1e6).without([1])
    assert left.nodes == ("device-0", "device-2")
    assert left.links == 0
    assert Network(left, 2).unreachable == ((0, 1), (1, 0))


def test_faults_of_a_topology_come_together() -> None:
    """Every fault is named with its place and value."""
    with pytest.raises(DataError) as error:
        Topology(("a", "a"), [(0, 1), (0, 1), (0, 0), (0, 7)], [1.0, -1.0, 1.0, 1.0], latency_s=-1.0)
    text = str(error.value)
    for part in ("'a' is the name of node 0", "topology.ends[1]", "to itself", "(0, 7)", "is -1 bit/s", "is -1 s"):
        assert part in text, part


def test_faults_of_a_graph() -> None:
    """Edges without a rate, devices that are no nodes, multigraphs and things that are no graph."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_edge("tv", "router", bandwidth=3)
    with pytest.raises(DataError, match="has no rate_bits_per_s \\(it has 'bandwidth'\\)"):
        Topology.of_graph(graph)
    with pytest.raises(DataError, match=r"'tw' is no node of the topology; .*'tv'"):
        Topology.of_graph(graph, ["tw"])
    with pytest.raises(DataError, match="multigraph"):
        Topology.of_graph(nx.MultiGraph())
    with pytest.raises(DataError, match="networkx graph"):
        Topology.of_graph([1, 2])  # type: ignore[arg-type]
