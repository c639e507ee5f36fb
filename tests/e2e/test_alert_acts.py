"""What people do to alerts: acknowledge many, snooze, resolve, comment; also over a restart."""
import time
from datetime import datetime, timedelta, timezone

import pytest

from haltless import SLOW, Pusher, Tenant, iso, reading, wait_until
from test_alerts import START, alerts, rule

pytestmark = pytest.mark.short
NOBODY = "00000000-0000-4000-8000-000000000000"


def ahead(**more):
    return (datetime.now(timezone.utc) + timedelta(**more)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def push(pusher, second, value, machine="M"):
    pusher.push([reading(machine, value=value, timestamp=iso(START + second))])


def open_alert(tenant, pusher, machine="M", second=0):
    push(pusher, second, 95, machine)
    return wait_until(lambda: alerts(tenant, status="open", machine_id=tenant.ids[machine])["items"])[0]


def restart(server):
    server.stop()
    server.start()


@pytest.fixture
def hot(tenant):
    """A tenant with a rule and a machine M."""
    tenant.ids = {"M": tenant.machine("M")["id"]}
    rule(tenant)
    return tenant


def status_of(tenant, machine="M"):
    return tenant.get(f"/machines/{tenant.ids[machine]}").json()["status"]


@pytest.fixture
def own(own_server):
    """As hot, on a server that may be restarted; and who pushes to it."""
    server = own_server()
    tenant = Tenant(server)
    tenant.ids = {"M": tenant.machine("M")["id"]}
    rule(tenant)
    return server, tenant, Pusher(server, tenant.key()["key"])


def test_a_resolved_alert_is_raised_again_only_after_its_condition_cleared(own):
    server, hot, pusher = own
    a = open_alert(hot, pusher)
    assert hot.user("viewer").post(f"/alerts/{a['id']}/resolve").status_code == 403
    done = hot.user("operator").post(f"/alerts/{a['id']}/resolve")
    assert done.status_code == 200 and done.json()["resolved_at"] and done.json()["resolved_by"]
    assert hot.post(f"/alerts/{a['id']}/resolve").json() == done.json()
    wait_until(lambda: status_of(hot) == "healthy")
    push(pusher, 1, 99)
    restart(server)
    push(pusher, 2, 99)
    time.sleep(1 * SLOW)
    assert alerts(hot)["total"] == 1, "still the same trouble"
    push(pusher, 3, 50)
    push(pusher, 4, 96)
    wait_until(lambda: alerts(hot)["total"] == 2)
    assert alerts(hot, status="open")["items"][0]["metric_value"] == 96


def test_a_snoozed_alert_leaves_the_status_alone_until_it_wakes(hot, pusher):
    a = open_alert(hot, pusher)
    wait_until(lambda: status_of(hot) == "critical")
    until = ahead(seconds=2 * SLOW)
    answer = hot.user("viewer").post(f"/alerts/{a['id']}/snooze", {"snooze_until": until})
    assert answer.status_code == 200 and answer.json()["snoozed_until"][:19] == until[:19]
    assert status_of(hot) == "healthy"
    assert hot.get("/fleet/status").json()["machines"][0]["alert_count"] == 1, "it is open all the same"
    wait_until(lambda: status_of(hot) == "critical", 10)
    assert hot.post(f"/alerts/{a['id']}/snooze", {"snooze_until": ahead(hours=1)}).status_code == 200
    assert status_of(hot) == "healthy"
    assert hot.post(f"/alerts/{a['id']}/snooze", {"snooze_until": None}).json()["snoozed_until"] is None
    assert status_of(hot) == "critical"


@pytest.mark.parametrize("body", [{}, {"snooze_until": "soon"}, {"snooze_until": "2020-01-01T00:00:00Z"},
                                  {"snooze_until": 5}, {"snooze_until": "2999-01-01T00:00:00Z"}])
def test_a_snooze_names_a_time_ahead(hot, pusher, body):
    a = open_alert(hot, pusher)
    answer = hot.post(f"/alerts/{a['id']}/snooze", body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "snooze_until"]


def test_a_resolved_alert_is_not_snoozed(hot, pusher):
    a = open_alert(hot, pusher)
    hot.post(f"/alerts/{a['id']}/resolve")
    answer = hot.post(f"/alerts/{a['id']}/snooze", {"snooze_until": ahead(hours=1)})
    assert (answer.status_code, answer.json()) == (400, {"detail": "The alert is resolved."})


def test_many_are_acknowledged_at_once_or_none(server, hot, pusher):
    ids = []
    for name in ("A", "B", "C"):
        hot.ids[name] = hot.machine(name)["id"]
        ids.append(open_alert(hot, pusher, name)["id"])
    hot.post(f"/alerts/{ids[0]}/acknowledge")
    stranger = Tenant(server)
    assert stranger.post("/alerts/bulk/acknowledge", {"alert_ids": ids}).status_code == 404
    assert hot.post("/alerts/bulk/acknowledge", {"alert_ids": ids + [NOBODY]}).status_code == 404
    assert hot.get("/alerts/stats").json()["unacknowledged_count"] == 2
    answer = hot.user("viewer").post("/alerts/bulk/acknowledge", {"alert_ids": ids})
    assert (answer.status_code, answer.json()) == (200, {"acknowledged_count": 2, "already_acknowledged_count": 1})
    for bad in ([], ["x"], "x", [NOBODY] * 1001):
        assert hot.post("/alerts/bulk/acknowledge", {"alert_ids": bad}).status_code == 422
    assert hot.post("/alerts/bulk/acknowledge", {"alert_ids": [ids[0]] * 1000}).json() == {
        "acknowledged_count": 0, "already_acknowledged_count": 1000}


def test_comments_are_kept_in_order(own):
    server, hot, pusher = own
    a = open_alert(hot, pusher)
    path = f"/alerts/{a['id']}/comments"
    for i in range(3):
        made = hot.user("viewer").post(path, {"body": f"note {i} é"})
        assert made.status_code == 201 and {"id", "user_id", "user_name", "body", "created_at"} <= made.json().keys()
    restart(server)
    page = hot.get(path, params={"page_size": 2}).json()
    assert [c["body"] for c in page["items"]] == ["note 0 é", "note 1 é"] and page["total"] == 3
    assert [c["body"] for c in hot.get(path, params={"page_size": 2, "page": 2}).json()["items"]] == ["note 2 é"]
    for bad in ({}, {"body": ""}, {"body": " "}, {"body": "x" * 2001}, {"body": 1}):
        assert hot.post(path, bad).status_code == 422
    assert Tenant(server).get(path).status_code == 404 and Tenant(server).post(path, {"body": "x"}).status_code == 404
    assert hot.get(f"/alerts/{NOBODY}/comments").status_code == 404
