"""Channels, the outbox and escalation, over real web and mail servers."""
import base64
import hashlib
import hmac
import json
import time

import pytest
import requests

from haltless import SLOW, Pusher, Tenant, iso, reading, wait_until
from receiver import MailServer, Receiver
from test_alerts import START, alerts, rule

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


@pytest.fixture
def place(own_server):
    """A server that may deliver to this machine, a tenant with a machine M and a rule, and who pushes."""
    def make(*flags):
        server = own_server(flags=["--notify-allow-private", "true", "--notify-timeout-s", "2", *flags])
        tenant = Tenant(server)
        tenant.ids = {"M": tenant.machine("M")["id"]}
        return server, tenant, Pusher(server, tenant.key()["key"])
    return make


def channel(tenant, url, **more):
    body = {"name": "hook", "type": "webhook", "config": {"url": url}, **more}
    answer = tenant.post("/notification-channels", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def deliveries(tenant, ch, **match):
    items = tenant.get(f"/notification-channels/{ch['id']}/deliveries", params={"page_size": 100}).json()["items"]
    return [d for d in items if all(d[k] == v for k, v in match.items())]


def push(pusher, second, value, machine="M"):
    pusher.push([reading(machine, value=value, timestamp=iso(START + second))])


def secret_of(ch):
    text = ch["signing_secret"].removeprefix("whsec_")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.short
def test_an_alert_reaches_a_web_hook_signed_with_what_the_api_promises(place, receiver):
    server, tenant, pusher = place()
    ch = channel(tenant, receiver.url("ok"), config={"url": receiver.url("ok"), "headers": {"X-Team": "line 3"}})
    r = rule(tenant)
    push(pusher, 0, 95)
    headers, body, _ = wait_until(lambda: receiver.got("ok"))[0]
    told = json.loads(body)
    assert told["event"] == "alert.triggered" and {"timestamp", "tenant_id"} <= told.keys()
    a = alerts(tenant)["items"][0]
    assert told["alert"] == {k: a[k] for k in ("id", "machine_id", "machine_name", "severity", "message", "metric_name",
                                               "metric_value", "threshold_value", "rule_id", "created_at")}
    assert headers["X-Team"] == "line 3" and headers["Content-Type"] == "application/json"
    stamp, v1 = (part.split("=", 1)[1] for part in headers["X-Haltless-Signature"].split(","))
    assert abs(int(stamp) - time.time()) < 60 * SLOW
    assert hmac.new(secret_of(ch), stamp.encode() + b"." + body, hashlib.sha256).hexdigest() == v1
    push(pusher, 1, 50)
    wait_until(lambda: len(receiver.got("ok")) == 2)
    resolved = json.loads(receiver.got("ok")[1][1])
    assert resolved["event"] == "alert.resolved" and resolved["alert"]["resolved_at"] and resolved["alert"]["rule_id"] == r["id"]
    log = wait_until(lambda: len(deliveries(tenant, ch, status="delivered")) == 2 and deliveries(tenant, ch))
    assert [d["event"] for d in log] == ["alert.resolved", "alert.triggered"]
    assert log[1]["id"] == headers["X-Haltless-Delivery"] and log[1]["attempts"] == 1 and log[1]["response_status"] == 200
    assert "signing_secret" not in tenant.get(f"/notification-channels/{ch['id']}").json()


def test_each_kind_of_bad_target_is_retried_logged_and_served_when_it_recovers(place, receiver):
    """One rule, a channel each; none delays another; the id stays the same over all tries."""
    server, tenant, pusher = place()
    kinds = {"error": "Answered 500.", "hang": "No answer in time.", "close": None,
             "redirect": "Answered 302; redirects are not followed.", "drip": "No answer in time.", "flood": "Answered 500."}
    good = channel(tenant, receiver.url("ok"))
    said_200 = {kind: channel(tenant, receiver.url(kind)) for kind in ("endless", "trickle", "heads")}
    bad = {kind: channel(tenant, receiver.url(kind)) for kind in kinds}
    rule(tenant)
    push(pusher, 0, 95)
    wait_until(lambda: deliveries(tenant, good, status="delivered"), 1.5)
    for kind, ch in said_200.items():               # whatever the body does behind it
        d = wait_until(lambda: deliveries(tenant, ch, status="delivered"), 20)
        assert len(d) == 1 and d[0]["attempts"] == 1 and len(receiver.got(kind)) == 1, (kind, d)
    for kind, text in kinds.items():
        d = wait_until(lambda: deliveries(tenant, bad[kind], status="pending") and
                       deliveries(tenant, bad[kind])[0]["attempts"] >= 1 and deliveries(tenant, bad[kind])[0], 20)
        assert d["error"] == text or (text is None and d["error"]), (kind, d)
    for kind in kinds:
        receiver.mend(kind)
    for kind in kinds:
        wait_until(lambda: deliveries(tenant, bad[kind], status="delivered"), 30)
        ids = {headers["X-Haltless-Delivery"] for headers, _, _ in receiver.got(kind)}
        log = deliveries(tenant, bad[kind])
        assert len(log) == 1 and ids == {log[0]["id"]} and log[0]["attempts"] == len(receiver.got(kind)) >= 2, (kind, log)
        assert len({body for _, body, _ in receiver.got(kind)}) == 1
    assert receiver.got("ok-redirected") == []


def test_what_was_not_delivered_outlives_kill_9(place, receiver):
    server, tenant, pusher = place()
    ch = channel(tenant, receiver.url("error"))
    rule(tenant)
    push(pusher, 0, 95)
    wait_until(lambda: receiver.got("error"))
    server.kill()
    receiver.mend("error")
    before = len(receiver.got("error"))
    server.start()
    wait_until(lambda: deliveries(tenant, ch, status="delivered"), 30)
    assert len(receiver.got("error")) > before
    assert len({h["X-Haltless-Delivery"] for h, _, _ in receiver.got("error")}) == 1
    assert len(deliveries(tenant, ch)) == 1 and alerts(tenant)["total"] == 1


def test_a_private_target_is_refused_unless_allowed(own_server, receiver):
    tenant = Tenant(own_server())
    port = receiver.url("").split(":")[2].strip("/")
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"):
        ch = channel(tenant, f"http://{host}:{port}/ok")
        answer = tenant.post(f"/notification-channels/{ch['id']}/test")
        assert answer.status_code == 200 and answer.json()["success"] is False, host
        assert answer.json()["detail"] == "The address is private, loopback or link-local: refused.", (host, answer.text)
    assert receiver.got("ok") == []


@pytest.mark.short
def test_a_test_says_how_it_went(place, receiver):
    server, tenant, _ = place()
    ok, bad = channel(tenant, receiver.url("ok")), channel(tenant, receiver.url("error"))
    gone = channel(tenant, "http://127.0.0.1:1/")
    assert tenant.post(f"/notification-channels/{ok['id']}/test").json() == {"success": True}
    assert json.loads(receiver.got("ok")[0][1])["event"] == "test"
    assert tenant.post(f"/notification-channels/{bad['id']}/test").json() == {"success": False, "detail": "Answered 500."}
    assert tenant.post(f"/notification-channels/{gone['id']}/test").json()["success"] is False
    assert tenant.user("viewer").post(f"/notification-channels/{ok['id']}/test").status_code == 403
    assert Tenant(server).post(f"/notification-channels/{ok['id']}/test").status_code == 404


def test_slack_and_teams_get_their_own_form(place, receiver):
    server, tenant, pusher = place()
    for kind in ("slack", "teams"):
        channel(tenant, "", type=kind, config={"webhook_url": receiver.url("ok-" + kind)})
    rule(tenant, message="<{value}> & more")
    push(pusher, 0, 95)
    slack = json.loads(wait_until(lambda: receiver.got("ok-slack"))[0][1])
    teams = json.loads(wait_until(lambda: receiver.got("ok-teams"))[0][1])
    assert slack == {"text": "[critical] Machine M: &lt;95&gt; &amp; more"}
    assert teams["@type"] == "MessageCard" and teams["text"] == "[critical] Machine M: <95> & more"


def test_email_goes_out_over_starttls(place, tmp_path):
    mail = MailServer(str(tmp_path))
    try:
        server, tenant, pusher = place("--smtp-url", mail.url, "--smtp-from", "haltless@example.com", "--smtp-user", "u",
                                       "--smtp-password", "p", "--smtp-ca-file", mail.cert)
        channel(tenant, "", type="email", config={"email": "ops@example.com"})
        refused = channel(tenant, "", type="email", config={"email": "nobody@example.com"})
        tenant.patch(f"/machines/{tenant.ids['M']}", {"name": "Fräse Nº 1"})
        rule(tenant)
        push(pusher, 0, 95)
        wait_until(lambda: mail.messages)
        m = mail.messages[0]
        assert m["secure"] and m["auth"] == b"\0u\0p" and "<ops@example.com>" in m["to"]
        told = mail.parsed(0)
        assert told["Subject"] == "[critical] Fräse Nº 1: temperature 95 celsius is above 90"
        assert told.get_content().strip() == told["Subject"] and told["From"] == "haltless@example.com"
        d = wait_until(lambda: [d for d in deliveries(tenant, refused, status="pending") if d["attempts"]])[0]
        assert d["response_status"] == 550
    finally:
        mail.close()


def test_without_a_mail_server_it_says_so(place):
    _, tenant, _ = place()
    ch = channel(tenant, "", type="email", config={"email": "ops@example.com"})
    answer = tenant.post(f"/notification-channels/{ch['id']}/test").json()
    assert answer == {"success": False, "detail": "The server has no smtp.url and smtp.from configured."}


def test_a_storm_is_told_as_one_message(place, receiver):
    server, tenant, pusher = place("--notify-storm-alerts", "3")
    ch = channel(tenant, receiver.url("ok"))
    rule(tenant)
    for i in range(10):
        tenant.machine(f"S{i}")
    pusher.push([reading(f"S{i}", value=95, timestamp=iso(START)) for i in range(10)])
    wait_until(lambda: alerts(tenant)["total"] == 10)
    wait_until(lambda: len(receiver.got("ok")) == 3)
    storm = wait_until(lambda: deliveries(tenant, ch, event="alert.storm"))
    assert len(storm) == 1 and storm[0]["status"] == "pending" and storm[0]["next_attempt_at"]
    assert len(deliveries(tenant, ch)) == 4


def test_rules_name_their_channels(place, receiver):
    server, tenant, pusher = place()
    one, two = channel(tenant, receiver.url("ok-one")), channel(tenant, receiver.url("ok-two"))
    off = channel(tenant, receiver.url("ok-off"), is_active=False)
    r = rule(tenant, channel_ids=[two["id"], off["id"]])
    assert r["channel_ids"] == [two["id"], off["id"]]
    push(pusher, 0, 95)
    wait_until(lambda: receiver.got("ok-two"))
    assert tenant.delete(f"/notification-channels/{off['id']}").status_code == 204
    assert tenant.get(f"/alert-rules/{r['id']}").json()["channel_ids"] == [two["id"]]
    assert not receiver.got("ok-one") and not receiver.got("ok-off")
    body = {"name": "n", "metric_name": "t", "operator": "gt", "threshold": 1, "severity": "info"}
    assert tenant.post("/alert-rules", {**body, "channel_ids": [NOBODY]}).status_code == 404
    other = Tenant(server)
    assert other.post("/alert-rules", {**body, "channel_ids": [one["id"]]}).status_code == 404


@pytest.mark.short
def test_channels_are_made_read_changed_and_deleted(server, tenant):
    ch = channel(tenant, "https://example.com/x")
    path = f"/notification-channels/{ch['id']}"
    assert {"id", "name", "type", "config", "is_active", "created_at", "updated_at", "signing_secret"} <= ch.keys()
    put = {"name": "ops", "type": "slack", "config": {"webhook_url": "https://example.com/y"}, "is_active": False}
    changed = tenant.call("PUT", path, json=put).json()
    assert {k: changed[k] for k in put} == put and "signing_secret" not in changed
    rotated = tenant.call("PUT", path, json={**put, "rotate_secret": True}).json()
    assert rotated["signing_secret"] not in (None, ch["signing_secret"])
    assert tenant.get("/notification-channels").json()["total"] == 1
    assert tenant.user("viewer").get(path).status_code == 200 and tenant.user("viewer").delete(path).status_code == 403
    assert Tenant(server).get(path).status_code == 404 and Tenant(server).get(path + "/deliveries").status_code == 404
    assert tenant.delete(path).status_code == 204 and tenant.get(path).status_code == 404


@pytest.mark.parametrize("change", [
    {"type": "pager"}, {"config": {}}, {"config": {"url": "ftp://example.com/"}}, {"config": {"url": "http://"}},
    {"config": {"url": "https://example.com/a b"}}, {"config": {"url": "https://e.com/", "headers": {"Host": "x"}}},
    {"config": {"url": "https://e.com/", "headers": {"X-A": "b\r\nX-C: d"}}}, {"config": {"url": "https://e.com/", "headers": {"X-Haltless-Delivery": "1"}}},
    {"type": "email", "config": {"email": "a@b\r\nRCPT TO:<c@d>"}}, {"type": "email", "config": {"email": "a@b,c@d"}},
    {"name": ""}, {"config": "x"}, {"is_active": "yes"}])
def test_bad_channels_are_refused(tenant, change):
    body = {"name": "hook", "type": "webhook", "config": {"url": "https://example.com/"}, **change}
    answer = tenant.post("/notification-channels", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.short
def test_escalation_policies_are_made_read_changed_and_deleted(server, tenant):
    ch = channel(tenant, "https://example.com/x")
    body = {"name": "boss", "severity": "critical", "wait_minutes": 15, "channel_id": ch["id"]}
    made = tenant.post("/escalation-policies", body)
    assert made.status_code == 201 and {k: made.json()[k] for k in body} == body and made.json()["is_active"] is True
    path = f"/escalation-policies/{made.json()['id']}"
    assert tenant.call("PUT", path, json={**body, "wait_minutes": 30, "is_active": False}).json()["wait_minutes"] == 30
    assert tenant.get(path).json()["is_active"] is False
    assert tenant.user("operator").post("/escalation-policies", body).status_code == 403
    for bad in ({"wait_minutes": 0}, {"wait_minutes": 1441}, {"severity": "meh"}, {"name": ""}):
        assert tenant.post("/escalation-policies", {**body, **bad}).status_code == 422
    assert tenant.post("/escalation-policies", {**body, "channel_id": NOBODY}).status_code == 404
    assert tenant.delete(f"/notification-channels/{ch['id']}").status_code == 400
    for _ in range(49):
        assert tenant.post("/escalation-policies", body).status_code == 201
    assert tenant.post("/escalation-policies", body).status_code == 400
    assert Tenant(server).get(path).status_code == 404
    assert tenant.delete(path).status_code == 204 and tenant.get(path).status_code == 404
