"""Fixtures.  --topology chooses how actors are placed; --long runs the long form of campaigns."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import haltless  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--topology", default="threads", choices=sorted(haltless.TOPOLOGIES))
    parser.addoption("--long", action="store_true", help="campaigns (crash, fuzz) in full length")


def pytest_configure(config):
    config.addinivalue_line("markers", "short: also run under the sanitizers")
    config.addinivalue_line("markers", "once: does not depend on the topology; run under threads only")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--topology") != "threads":
        skip = pytest.mark.skip(reason="does not depend on the topology")
        for item in items:
            if item.get_closest_marker("once"):    # keywords hold names of directories too
                item.add_marker(skip)


@pytest.fixture(scope="session")
def topology(request):
    return request.config.getoption("--topology")


@pytest.fixture(scope="session")
def long_run(request):
    return request.config.getoption("--long")


@pytest.fixture(scope="session")
def server(topology):
    """One server for every test that does not restart or break it; open routes unlimited."""
    with haltless.Server(topology, flags=["--limits-rate-open", "0"]) as s:
        yield s


@pytest.fixture
def tenant(server):
    return haltless.Tenant(server)


@pytest.fixture
def pusher(server, tenant):
    return haltless.Pusher(server, tenant.key()["key"])


@pytest.fixture
def own_server(topology):
    """A maker of servers of the test's own, all closed at its end."""
    made = []

    def make(**kw):
        flags = ["--limits-rate-open", "0", *kw.pop("flags", [])]
        s = haltless.Server(kw.pop("topology", topology), flags=flags, **kw)
        made.append(s)
        return s

    yield make
    faults = []
    for s in made:
        try:
            s.close()
        except AssertionError as e:         # the others are closed all the same
            faults.append(e)
    if faults:
        raise faults[0]
