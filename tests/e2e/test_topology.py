"""Threads or processes, rings or ZeroMQ: that the topology asked for is the one that runs."""
import pytest

from haltless import TOPOLOGIES, Server, Tenant, Pusher, reading

pytestmark = pytest.mark.short


def work(server):
    """Every kind of edge is used once."""
    t = Tenant(server)
    machine = t.machine("M")
    t.post("/alert-rules", {"name": "n", "metric_name": "temperature", "operator": "gt", "threshold": 0,
                            "severity": "info"})
    p = Pusher(server, t.key()["key"])
    assert p.push([reading("M", value=v) for v in (1, 2)]).status_code == 207
    page = t.get(f"/machines/{machine['id']}/readings?metric=temperature&start=2026-04-04T00:00:00Z").json()
    assert page["data"][0]["value"] == 2


def test_pids_are_as_the_topology_says(server, topology):
    pids = server.actor_pids()
    kinds = {kind for kind, _ in pids}
    assert kinds == {"front", "ingest", "query", "alert", "registry", "worker", "notifier"}
    distinct = set(pids.values())
    assert server.process.pid not in distinct           # the supervisor hosts nobody
    if TOPOLOGIES[topology][:1] == ["--processes"]:
        assert len(distinct) == len(pids), pids
    else:
        assert len(distinct) == 1, pids


def test_bytes_travel_by_the_carrier_that_was_chosen(own_server, topology):
    server = own_server()
    work(server)
    ring, zmq = server.metric_sum("haltless_ring_bytes_total"), server.metric_sum("haltless_zmq_bytes_total")
    if topology.startswith("zmq"):
        assert ring == 0 and zmq > 1000
    else:
        assert zmq == 0 and ring > 1000


@pytest.mark.once
def test_one_edge_may_differ_from_the_others(own_server):
    server = own_server(topology="processes", flags=["--ingest-carrier", "zmq"])
    work(server)
    by_actor = {labels["actor"]: v for labels, v in server.metrics()["haltless_zmq_bytes_total"] if v}
    assert "ingest" in by_actor and "registry" not in by_actor
    assert server.metric_sum("haltless_ring_bytes_total", actor="registry") > 0


@pytest.mark.once
def test_a_front_as_a_process_and_the_rest_as_one(own_server):
    server = own_server(topology="threads", flags=["--front-mode", "process", "--front-count", "2"])
    work(server)
    pids = server.actor_pids()
    assert len({pids["front", 0], pids["front", 1], pids["ingest", 0]}) == 3
    assert pids["ingest", 0] == pids["query", 0] == pids["registry", 0]


@pytest.mark.once
def test_what_is_made_on_one_front_is_so_on_every_front(own_server):
    """Many connections over four fronts: a key works on each as soon as its 201 is there."""
    server = own_server(topology="processes", flags=["--front-count", "4"])
    t = Tenant(server)
    for i in range(12):
        t.machine(f"M{i}")
        key = t.key()
        for _ in range(6):                               # a new connection each: any front may take it
            assert Pusher(server, key["key"]).push([reading(f"M{i}")]).json()["accepted_count"] == 1
        t.delete(f"/settings/api-keys/{key['id']}")
        for _ in range(6):
            assert Pusher(server, key["key"]).push([reading(f"M{i}")]).status_code == 401
