"""Registration, log-in, tokens, users, keys: who may do what."""
import base64
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from haltless import BINARY, SLOW, Pusher, Tenant, iso, reading, wait_until

pytestmark = pytest.mark.short


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_register_log_in_me(server):
    t = Tenant(server)
    c = claims(t.token)
    assert {"sub", "tenant_id", "tenant_tier", "role", "exp", "jti", "iat", "iss"} <= c.keys()
    assert c["role"] == "admin" and c["tenant_tier"] == "enterprise"
    answer = requests.post(server.api + "/auth/login", json={"email": t.email.upper(), "password": t.password})
    assert answer.status_code == 200
    assert {"access_token", "token_type", "mfa_required"} <= answer.json().keys()
    assert answer.json()["token_type"] == "bearer" and answer.json()["mfa_required"] is False
    cookie = answer.headers["Set-Cookie"]
    assert "refresh_token=" in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "Path=/api/v1/auth" in cookie and "Secure" not in cookie
    me = t.get("/auth/me").json()
    assert {"id", "email", "full_name", "tenant_id", "role", "is_active", "mfa_enabled", "onboarding_completed",
            "subscription_status", "subscription_tier"} <= me.keys()
    assert me["email"] == t.email and me["role"] == "admin" and me["subscription_status"] == "active"
    assert me["id"] == c["sub"] and me["tenant_id"] == c["tenant_id"]


def test_a_taken_address_is_409(server, tenant):
    answer = requests.post(server.api + "/auth/register", json={
        "email": tenant.email.title(), "password": "another 1 word", "full_name": "X", "tenant_name": "Y"})
    assert (answer.status_code, answer.json()) == (409, {"detail": "A user with this email already exists."})


def test_wrong_password_and_unknown_address_look_alike(server, tenant):
    for email in (tenant.email, "nobody@example.com"):
        answer = requests.post(server.api + "/auth/login", json={"email": email, "password": "wrong 1234"})
        assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid email or password."})


@pytest.mark.parametrize("field,value,kind", [
    ("email", None, "missing"), ("email", 7, "string_type"), ("email", "no at sign", "value_error"),
    ("password", "short1", "value_error"), ("password", "no digits here", "value_error"),
    ("password", "12345678", "value_error"), ("full_name", None, "missing"), ("tenant_name", None, "missing"),
    ("password", "a1" * 513, "value_error")])
def test_register_names_the_field_that_is_wrong(server, field, value, kind):
    body = {"email": "v@example.com", "password": "long enough 1", "full_name": "V", "tenant_name": "W"}
    if value is None:
        del body[field]
    else:
        body[field] = value
    answer = requests.post(server.api + "/auth/register", json=body)
    assert answer.status_code == 422, answer.text
    assert [(i["loc"], i["type"]) for i in answer.json()["detail"]] == [(["body", field], kind)]


def test_tokens_that_are_not_ours(server, tenant):
    head, body, sign = tenant.token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for bad in ("x", "a.b.c", f"{head}.{body}.", f"{none}.{body}.", f"{none}.{body}.{sign}",
                f"{head}.{body}.{'A' * len(sign)}", tenant.token + "x", "." * 3):
        answer = requests.get(server.api + "/auth/me", headers={"Authorization": "Bearer " + bad})
        assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid authentication token."}), bad
    answer = requests.get(server.api + "/auth/me")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Authentication is required."})


def test_an_expired_token_says_so(own_server):
    server = own_server(flags=["--auth-access-token-s", "60"])
    t = Tenant(server)
    assert t.get("/auth/me").status_code == 200
    # The clock cannot be moved from here: a token of this server's secret whose time is over.
    import hashlib
    import hmac
    with open(server.data + "/secrets", "rb") as f:
        stored = f.read()
    head, body, _ = t.token.split(".")
    plain = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    past = plain.replace(str(claims(t.token)["exp"]), str(int(time.time()) - 10))
    assert past != plain
    old = base64.urlsafe_b64encode(past.encode()).decode().rstrip("=")
    for offset in range(len(stored) - 31):          # the signing secret lies somewhere in the file
        sign = hmac.new(stored[offset:offset + 32], f"{head}.{body}".encode(), hashlib.sha256).digest()
        if base64.urlsafe_b64encode(sign).decode().rstrip("=") == t.token.split(".")[2]:
            secret = stored[offset:offset + 32]
            break
    else:
        pytest.fail("the signing secret is not in the secrets file")
    sign = base64.urlsafe_b64encode(hmac.new(secret, f"{head}.{old}".encode(), hashlib.sha256).digest())
    answer = requests.get(server.api + "/auth/me",
                          headers={"Authorization": f"Bearer {head}.{old}.{sign.decode().rstrip('=')}"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Authentication token has expired."})


def test_refresh_rotates_and_reuse_ends_the_family(server):
    t = Tenant(server)
    first = t.http.cookies.get("refresh_token")
    answer = t.http.post(server.api + "/auth/refresh")
    assert answer.status_code == 200 and answer.json()["access_token"] != t.token
    second = t.http.cookies.get("refresh_token")
    assert second and second != first
    bare = requests.post(server.api + "/auth/refresh")
    assert bare.json() == {"detail": "Authentication is required."}
    assert bare.status_code == 401
    # Two tabs: within 10 s the used one gets the same answer.
    again = requests.post(server.api + "/auth/refresh", cookies={"refresh_token": first})
    assert again.status_code == 200 and again.cookies.get("refresh_token") == second


def test_log_out_blocks_the_token_across_restarts(own_server):
    server = own_server()
    t = Tenant(server)
    assert t.post("/auth/logout").status_code == 204
    assert t.get("/auth/me").status_code == 401
    assert t.http.post(server.api + "/auth/refresh").status_code == 401
    server.stop()
    server.start()
    answer = t.get("/auth/me")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid authentication token."})


def test_api_keys(server, tenant):
    key = tenant.key(scopes="edge_agent")
    assert key["scopes"] == ["ingest", "agent"] and key["key_prefix"] == key["key"][:8]
    only = tenant.key(scopes=["read_only"])["scopes"]
    assert set(only) == {"read:machines", "read:sensors", "read:alerts", "read:fleet"}
    listed = tenant.get("/settings/api-keys").json()
    assert listed["total"] == 2 and listed["page"] == 1 and listed["page_size"] == 20
    assert all("key" not in item and "plaintext_key" not in item and "last_used_at" in item
               for item in listed["items"])
    assert tenant.post("/settings/api-keys", {"name": "x", "scopes": ["everything"]}).status_code == 422
    assert tenant.post("/settings/api-keys", {}).json()["detail"][0]["type"] == "missing"
    assert tenant.delete(f"/settings/api-keys/{key['id']}").status_code == 204
    stranger = Tenant(server)
    other = stranger.key()
    assert tenant.delete(f"/settings/api-keys/{other['id']}").status_code == 404


def test_an_expired_key_is_refused(server, tenant):
    tenant.machine("M")
    key = tenant.key(expires_at=iso(int(time.time()) + 2))
    p = Pusher(server, key["key"])
    assert p.push([reading("M")]).status_code == 207
    time.sleep(2.1)
    answer = p.push([reading("M")])
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key."})


def test_read_scopes_open_their_routes_and_no_others(server, tenant):
    machine = tenant.machine("M")
    key = {"X-API-Key": tenant.key(scopes=["read:sensors"])["key"]}
    latest = f"{server.api}/machines/{machine['id']}/readings/latest"
    assert requests.get(latest, headers=key).status_code == 200
    answer = requests.get(server.api + "/machines", headers=key)
    assert (answer.status_code, answer.json()) == (
        403, {"detail": "API key does not have the required scope: read:machines"})
    answer = requests.post(server.api + "/machines", headers=key, json={})
    assert answer.status_code == 403


def test_roles(server, tenant):
    machine = tenant.machine("M")
    viewer, operator = tenant.user("viewer"), tenant.user("operator")
    refused = (403, {"detail": "Your role does not allow this."})
    body = {"name": "N", "machine_identifier": "N", "protocol": "json"}
    assert viewer.get("/machines").status_code == 200
    assert viewer.get(f"/machines/{machine['id']}").status_code == 200
    answer = viewer.post("/machines", body)
    assert (answer.status_code, answer.json()) == refused
    assert operator.post("/machines", body).status_code == 201
    for who in (viewer, operator):
        answer = who.get("/users")
        assert (answer.status_code, answer.json()) == refused
        answer = who.post("/settings/api-keys", {"name": "k"})
        assert (answer.status_code, answer.json()) == refused
        assert who.get("/settings/api-keys").status_code == 200
    # A role that is taken away is gone at once, whatever the token says.
    uid = next(u["id"] for u in tenant.get("/users").json()["items"] if u["email"] == operator.email)
    assert tenant.patch(f"/users/{uid}", {"role": "viewer"}).status_code == 200
    assert operator.delete(f"/machines/{machine['id']}").status_code == 403
    assert tenant.patch(f"/users/{uid}", {"is_active": False}).status_code == 200
    answer = operator.get("/machines")
    assert answer.status_code == 401 and answer.json() == {"detail": "User account is inactive."}


def test_the_last_admin_stays(tenant):
    me = tenant.get("/auth/me").json()
    assert tenant.patch(f"/users/{me['id']}", {"role": "viewer"}).status_code == 400
    assert tenant.patch(f"/users/{me['id']}", {"is_active": False}).status_code == 400
    assert tenant.delete(f"/users/{me['id']}").status_code == 400
    second = tenant.user("admin")
    assert tenant.patch(f"/users/{me['id']}", {"role": "viewer"}).status_code == 200
    assert second.get("/users").json()["total"] == 2


def test_users_of_other_tenants_do_not_exist(server, tenant):
    stranger = Tenant(server)
    uid = stranger.get("/auth/me").json()["id"]
    for answer in (tenant.get(f"/users/{uid}"), tenant.patch(f"/users/{uid}", {"role": "viewer"}),
                   tenant.delete(f"/users/{uid}")):
        assert answer.status_code == 404


def test_profile_and_password(server, tenant):
    assert tenant.patch("/settings/profile", {"full_name": "Ada L."}).status_code == 200
    assert tenant.get("/auth/me").json()["full_name"] == "Ada L."
    wrong = tenant.post("/settings/change-password", {"current_password": "not 1 it", "new_password": "brand new 1"})
    assert wrong.status_code in (400, 401, 403)
    good = tenant.post("/settings/change-password",
                       {"current_password": tenant.password, "new_password": "brand new 1"})
    assert good.status_code in (200, 204), good.text
    login = requests.post(server.api + "/auth/login", json={"email": tenant.email, "password": "brand new 1"})
    assert login.status_code == 200


def test_open_routes_are_limited_by_address(own_server):
    server = own_server(flags=["--limits-rate-open", "20"])
    answers = [requests.post(server.api + "/auth/refresh") for _ in range(40)]
    limited = [a for a in answers if a.status_code == 429]
    assert limited, [a.status_code for a in answers]
    a = limited[0]
    assert a.json()["detail"].startswith("Rate limit exceeded: ")
    assert int(a.headers["Retry-After"]) >= 1 and "X-RateLimit-Reset" in a.headers


def test_failed_log_ins_are_slowed_down_and_the_owner_is_not_shut_out(own_server):
    server = own_server(flags=["--limits-rate-open", "20"])
    t = Tenant(server)

    def login(password):
        return requests.post(server.api + "/auth/login", json={"email": t.email, "password": password})

    answers = [login("wrong 1234") for _ in range(8)]
    assert [a.status_code for a in answers] == [401] * 5 + [429] * 3
    assert answers[-1].json() == {"detail": "Rate limit exceeded: 5 failed log-ins per minute."}
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


class From(requests.adapters.HTTPAdapter):
    """Connections from another address of the loopback."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **kw):
        super().init_poolmanager(*args, source_address=(self.address, 0), **kw)


def test_failures_count_for_the_address_and_for_the_account(own_server):
    server = own_server(flags=["--limits-rate-open", "20"])
    t, other = Tenant(server), Tenant(server)

    def login(address, email, password):
        with requests.Session() as http:
            http.mount("http://", From(address))
            return http.post(server.api + "/auth/login", json={"email": email, "password": password}).status_code

    assert [login("127.0.0.2", t.email, "wrong 1234") for _ in range(6)] == [401] * 5 + [429]
    assert login("127.0.0.2", other.email, other.password) == 429, "the address's budget is spent"
    assert [login("127.0.0.3", t.email, "wrong 1234") for _ in range(2)] == [401, 429], "the account's, too"
    assert login("127.0.0.3", other.email, other.password) == 200
    assert login("127.0.0.4", t.email, t.password) == 200, "its owner is not shut out"
    assert [login(f"127.0.1.{i}", t.email, "wrong 1234") for i in range(1, 30)].count(401) <= 20, "nor is there a way round"


def test_a_limit_is_one_for_all_fronts_and_is_said(own_server):
    server = own_server(flags=["--front-count", "3", "--limits-rate-enterprise", "30"])
    t = Tenant(server)
    statuses, remaining = [], []
    for _ in range(45):             # a connection each: the kernel spreads them over the fronts
        a = requests.get(server.api + "/auth/me", headers=t.headers())
        statuses.append(a.status_code)
        remaining.append(int(a.headers["X-RateLimit-Remaining"]))
        assert a.headers["X-RateLimit-Limit"] == "30"
    passed = statuses.count(200)
    assert 30 <= passed <= 36, statuses     # a few come back while we ask
    assert statuses.count(429) == 45 - passed and remaining[0] == 29
    assert a.json()["detail"] == "Rate limit exceeded: 30 requests per minute."
    assert int(a.headers["X-RateLimit-Reset"]) > time.time() and int(a.headers["Retry-After"]) >= 1


def test_ingest_has_a_budget_in_readings(own_server):
    server = own_server(flags=["--limits-readings-per-s", "1000", "--limits-rate-enterprise", "5"])
    t = Tenant(server)
    t.machine("M")
    p = Pusher(server, t.key()["key"])
    first = p.push([reading("M")] * 1000)
    assert first.status_code == 207
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("1000", "0")
    second = p.push([reading("M")] * 1000)
    assert (second.status_code, second.json()) == (429, {"detail": "Rate limit exceeded: 1000 readings per second."})
    assert int(second.headers["Retry-After"]) == 1
    time.sleep(1.1)
    for _ in range(10):             # requests are not what is counted here
        assert p.push([reading("M")]).status_code == 207


def test_when_a_key_was_used_is_seen(server, tenant):
    tenant.machine("M")
    key, idle = tenant.key(), tenant.key()

    def used():
        return {k["id"]: k["last_used_at"] for k in tenant.get("/settings/api-keys").json()["items"]}

    assert used() == {key["id"]: None, idle["id"]: None}
    before = iso(time.time() - 1)
    assert Pusher(server, key["key"]).push([reading("M")]).status_code == 207
    wait_until(lambda: used()[key["id"]])
    assert before <= used()[key["id"]] <= iso(time.time() + 1) and used()[idle["id"]] is None


def test_registration_can_be_closed(own_server):
    body = {"email": "a@example.com", "password": "long enough 1", "full_name": "A", "tenant_name": "T"}
    first = own_server(flags=["--auth-registration", "first"])
    assert requests.post(first.api + "/auth/register", json=body).status_code == 201
    assert requests.post(first.api + "/auth/register", json={**body, "email": "b@example.com"}).status_code == 403
    closed = own_server(flags=["--auth-registration", "closed"])
    assert requests.post(closed.api + "/auth/register", json=body).status_code == 403


def test_a_new_signing_secret_logs_nobody_out(own_server):
    server = own_server(flags=["--auth-access-token-s", "60"])
    t = Tenant(server)
    key = t.key(scopes=["read:machines"])["key"]

    def rotate(*flags):
        out = subprocess.run([BINARY, "secrets", "rotate", "--data", server.data, *flags], capture_output=True,
                             text=True, timeout=30)
        assert out.returncode == 0, out.stderr

    def refresh():
        answer = t.http.post(server.api + "/auth/refresh")
        assert answer.status_code == 200
        return answer.json()["access_token"]

    before = refresh()
    rotate()
    renewed = []
    for _ in range(20):             # while everybody takes it up
        renewed.append(refresh())
        for token in (t.token, before, renewed[-1]):
            assert requests.get(server.api + "/auth/me", headers={"Authorization": "Bearer " + token}).ok
        time.sleep(0.1)
    assert requests.get(server.api + "/machines", headers={"X-API-Key": key}).ok
    rotate("--at-once")             # the secret was stolen: what it signed is void, nobody logs in again
    wait_until(lambda: t.get("/auth/me").status_code == 401)
    wait_until(lambda: requests.get(server.api + "/auth/me", headers={"Authorization": "Bearer " + refresh()}).ok)
    server.stop()
    server.start()
    assert requests.get(server.api + "/auth/me", headers={"Authorization": "Bearer " + refresh()}).ok


def test_a_forgotten_password_is_set_from_the_shell(own_server):
    server = own_server()
    t = Tenant(server)

    def passwd(password, email=t.email):
        return subprocess.run([BINARY, "user", "passwd", "--data", server.data, "--email", email], capture_output=True,
                              text=True, timeout=30, env={**os.environ, "HALTLESS_PASSWORD": password})

    def login(password):
        return requests.post(server.api + "/auth/login", json={"email": t.email, "password": password}).status_code

    out = passwd("from the shell 1")
    assert out.returncode == 0 and t.email in out.stdout, out.stderr
    assert (login("from the shell 1"), login(t.password)) == (200, 401)
    assert t.get("/auth/me").status_code == 401, "every session ended"
    assert t.http.post(server.api + "/auth/refresh").status_code == 401
    assert passwd("short").returncode == 1
    out = passwd("from the shell 1", "nobody@example.com")
    assert out.returncode == 1 and "User not found." in out.stderr
    server.stop()
    assert passwd("without a server 1").returncode == 0
    server.start()
    assert login("without a server 1") == 200


def test_a_tenants_tier_and_subscription_are_the_operators_to_set(own_server):
    server = own_server()
    t = Tenant(server)
    t.machine("M")
    pusher = Pusher(server, t.key()["key"])
    id = t.get("/auth/me").json()["tenant_id"]

    def tenant(*args):
        return subprocess.run([BINARY, "tenant", *args, "--data", server.data], capture_output=True, text=True, timeout=30)

    def subscription(person):
        me = person.get("/auth/me").json()
        return me["subscription_tier"], me["subscription_status"]

    assert "X-RateLimit-Limit" not in t.get("/machines").headers and subscription(t) == ("enterprise", "active")
    assert tenant("set", "--tier", "free").returncode == 0         # there is one
    wait_until(lambda: t.get("/auth/me").headers.get("X-RateLimit-Limit") == "60")
    assert claims(t.login(t.email).token)["tenant_tier"] == "free" and subscription(t) == ("free", "active")

    out = tenant("set", "--tenant", id, "--status", "inactive")
    assert out.returncode == 0 and "inactive" in out.stdout, out.stderr
    wait_until(lambda: t.get("/machines").status_code == 402)
    for answer in (t.get("/auth/me"), t.post("/machines", {}), pusher.push([reading("M")])):
        assert (answer.status_code, answer.json()) == (402, {"detail": "The subscription of this tenant is not active."})
    assert requests.get(server.api + "/machines").status_code == 401

    other = Tenant(server)
    assert other.get("/machines").status_code == 200
    listed = [json.loads(line) for line in tenant("list", "--json").stdout.splitlines()]
    assert [(x["id"], x["tier"], x["status"], x["users"], x["machines"]) for x in listed] == [
        (id, "free", "inactive", 1, 1), (other.get("/auth/me").json()["tenant_id"], "enterprise", "active", 1, 0)]
    assert f"{id}  free        inactive" in tenant("list").stdout
    for args, said in ((("set", "--tier", "pro"), "Tenant not found."), (("set", "--tenant", id, "--tier", "gold"), "tier must be"),
                       (("set", "--tenant", id, "--status", "late"), "status must be")):
        out = tenant(*args)
        assert out.returncode == 1 and said in out.stderr, (args, out.stderr)
    for args in (("set",), ("list", "--tier", "pro"), ("drop",), ("set", "--tenant", "x", "--tier", "pro")):
        assert tenant(*args).returncode == 2, args

    server.stop()
    assert tenant("set", "--tenant", id, "--status", "active", "--tier", "pro").returncode == 0
    server.start()
    assert subscription(t) == ("pro", "active") and pusher.push([reading("M")]).json()["accepted_count"] == 1


@pytest.mark.once
def test_tenants_are_listed_page_by_page(own_server):
    """A page of a hundred whose names do not fit one answer of the registry, and another."""
    server = own_server()

    def register(i):
        return requests.post(server.api + "/auth/register", timeout=20 * SLOW, json={
            "email": f"t{i}@example.com", "password": "correct horse 1", "full_name": "T", "tenant_name": "\U0001F600" * 255})

    with ThreadPoolExecutor(4) as pool:
        assert {a.status_code for a in pool.map(register, range(105))} == {201}
    out = subprocess.run([BINARY, "tenant", "list", "--data", server.data], capture_output=True, text=True, timeout=30)
    assert len({line.split()[0] for line in out.stdout.splitlines()}) == 1 + 105


def test_what_one_tenant_may_have_is_capped(own_server):
    server = own_server(flags=["--limits-machines-per-tenant", "2", "--limits-users-per-tenant", "2",
                               "--limits-keys-per-tenant", "2", "--limits-rules-per-tenant", "1",
                               "--limits-channels-per-tenant", "2"])
    t = Tenant(server)
    rule = {"metric_name": "m", "operator": "gt", "threshold": 1, "severity": "info"}
    makers = {
        "machines": lambda i: t.post("/machines", {"name": "M", "machine_identifier": str(i), "protocol": "json"}),
        "users": lambda i: t.post("/users", {"email": f"{i}@example.com", "full_name": "U", "password": t.password}),
        "API keys": lambda i: t.post("/settings/api-keys", {"name": "k"}),
        "alert rules": lambda i: t.post("/alert-rules", rule),
        "notification channels": lambda i: t.post("/notification-channels", {
            "name": "c", "type": "webhook", "config": {"url": "https://hooks.example.com/x"}}),
    }
    for things, make in makers.items():
        answers = [make(i) for i in range(3)]
        cap = {"alert rules": 1}.get(things, 2)
        assert answers[-1].status_code == 400, (things, answers[-1].text)
        assert answers[-1].json() == {"detail": f"A tenant has at most {cap} {things} on this server."}
    listed = t.get("/machines").json()["items"]
    assert t.delete(f"/machines/{listed[0]['id']}").status_code == 204 and makers["machines"]("again").status_code == 201
    Tenant(server).machine("of another")        # has its own


def test_queries_of_a_tenant_at_once_are_capped(own_server):
    server = own_server(flags=["--limits-queries-per-tenant", "1", "--front-count", "1"])
    t = Tenant(server)
    t.machine("M")
    assert Pusher(server, t.key()["key"]).push([reading("M", metric=f"m{i}") for i in range(1000)]).ok

    def ask(_):
        return requests.post(server.api + "/readings/query", headers=t.headers(), json={
            "start": "2020-01-01T00:00:00Z", "end": "2026-12-01T00:00:00Z", "interval": "1d"}, timeout=60 * SLOW)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(60)))
    assert {a.status_code for a in answers} == {200, 429}, [a.status_code for a in answers]
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.json() == {"detail": "Rate limit exceeded: 1 queries at once."} and refused.headers["Retry-After"] == "1"
    assert ask(0).status_code == 200
