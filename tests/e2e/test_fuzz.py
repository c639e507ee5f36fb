"""Random requests to every described route: whatever comes, the answer is a refusal or a result, never a fault of ours.

The requests follow from a seed (HALTLESS_SEED), which a failure prints.  --long: 100 000 of them.
"""
import gzip
import http.client
import json
import os
import random
import urllib.parse
import uuid
import zlib

import msgpack
import pytest
import requests

from haltless import SLOW, Pusher, Tenant, reading

pytestmark = [pytest.mark.short, pytest.mark.once]

SHORT, LONG = 2000, 100_000
FINE = {503, 507}       # of what begins with a 5
NUMBERS = ["0", "-0", "1", "-1", "1e999", "-1e999", "1e-999", "9" * 400, "0." + "1" * 400, "1E+2", "01", "1.", ".5", "NaN",
           "Infinity", "-Infinity", "0x10", "2147483648", "18446744073709551616", "1.7976931348623157e308"]
TEXTS = ["", "x", "x" * 256, "x" * 5000, "\\u0000", "a\\u0000b", "\\ud800", "\\udc00\\ud800", "\\ud83d\\ude00", "\\u12",
         "\\x", "ü", "日本", "null", "../../etc/passwd", "' OR 1=1 --", "{id}", "%s%n", "2026-02-30T25:61:61Z",
         "2026-04-04T10:30:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+23:59", "M", "temperature", "celsius",
         "Europe/Berlin", "5m", "1mo", "999999999d", "avg", "linear", "admin", "a@b.example", "\t", "\\\""]
RAW = [b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"\x00", b"{\x00}", b"[" * 100_000, b'{"a":' * 50_000, b"\xc0\x80",
       b'"\xed\xa0\x80"', b"{" * 20, b"[]" * 20, b"\x80" * 1000, b" " * 100_000, b"nul", b"\x93\x93\x93", b"\xdf\xff\xff\xff\xff",
       b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x81\xa8readings\xdd\x00\x01\x00\x00"]
TYPES = ["application/json", "application/x-ndjson", "application/msgpack", "application/json; charset=utf-16", "text/plain",
         "", "application/jsonl", "multipart/form-data; boundary=x", "x" * 300]
ACCEPTS = ["*/*", "text/csv", "application/x-ndjson", "application/msgpack", "application/problem+json", ",,,;q=;", "x" * 500]


class Maker:
    """Makes one random request after the other for the operations of a description."""

    def __init__(self, rng, doc, ids, headers):
        self.rng, self.doc, self.ids, self.headers = rng, doc, ids, headers
        self.operations = [(m.upper(), p, op) for p, item in doc["paths"].items() for m, op in item.items()
                           if p not in ("/api/v1/auth/logout", "/metrics")]
        self.operations += [o for o in self.operations if o[1].endswith(("/ingest", "/readings", "/query"))] * 3

    def text(self):
        r = self.rng
        return r.choice(TEXTS) if r.random() < 0.8 else "".join(chr(r.randrange(32, 0x2fff)) for _ in range(r.randrange(40)))

    def value(self, depth=0):
        """The text of a JSON value, now and then of none."""
        r = self.rng
        kind = r.randrange(10)
        if kind < 3:
            return '"' + self.text() + '"'
        if kind < 5:
            return r.choice(NUMBERS)
        if kind == 5:
            return r.choice(["null", "true", "false"])
        if kind == 6 or depth > 3:
            return '"' + r.choice(self.ids) + '"'
        if kind == 7:
            return "[" + ",".join(self.value(depth + 1) for _ in range(r.randrange(4))) + "]"
        return self.object([self.text() for _ in range(r.randrange(4))], depth + 1)

    def object(self, names, depth=0, good=None):
        r = self.rng
        members = []
        for name in names:
            for _ in range(2 if r.random() < 0.03 else 1):          # a member twice
                known = (good or {}).get(name)
                value = json.dumps(known) if known is not None and r.random() < 0.7 else self.value(depth)
                members.append(f'"{name}":{value}')
        r.shuffle(members)
        return "{" + ",".join(members) + "}"

    def good(self, name, schema):
        """Something that the schema may take."""
        r = self.rng
        if "enum" in schema:
            return r.choice(schema["enum"])
        types = schema.get("type", "string")
        kind = types if isinstance(types, str) else types[0]
        if schema.get("format") == "date-time":
            return r.choice(["2026-04-04T10:30:00Z", "2026-01-01T00:00:00+05:30", "2026-12-31T23:59:59.999999Z"])
        if schema.get("format") == "uuid":
            return r.choice(self.ids)
        if schema.get("format") == "email":
            return f"{r.randrange(10**9)}@example.com"
        if kind in ("integer", "number"):
            return r.randrange(int(schema.get("minimum", 0)), int(min(schema.get("maximum", 1000), 10**6)) + 1)
        if kind == "boolean":
            return r.random() < 0.5
        if kind == "array":
            return [self.good(name, schema.get("items", {}))]
        return {"password": "correct horse 1", "interval": r.choice(["5m", "1h", "1d", "1mo", "7s"]), "timezone": "Asia/Tokyo",
                "metric_name": "temperature", "protocol": "json"}.get(name, f"n{r.randrange(1000)}")

    def body(self, op):
        r = self.rng
        schema = op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = self.doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        properties = schema.get("properties", {})
        if "readings" in properties:
            rows = [self.object(["machine_identifier", "timestamp", "metric_name", "value", "unit", "raw_tag"],
                                good=reading("M", value=r.random(), raw_tag="t")) for _ in range(r.randrange(6))]
            text = "\n".join(rows) if r.random() < 0.3 else '{"readings":[' + ",".join(rows) + "]}"
        else:
            required = set(schema.get("required", []))
            names = [n for n in properties if n in required or r.random() < 0.4]
            text = self.object(names, good={n: self.good(n, properties[n]) for n in names})
        body = text.encode("utf-8", "replace")
        if r.random() < 0.1:
            return r.choice(RAW)
        if r.random() < 0.1:                                        # a byte less, or another
            at = r.randrange(len(body) + 1)
            return body[:at] + (b"" if r.random() < 0.5 else bytes([r.randrange(256)]) + body[at + 1:])
        return body.decode().encode("utf-16") if r.random() < 0.02 else body

    def squeezed(self, body, headers):
        r = self.rng
        kind = r.randrange(60)
        if kind == 0:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        elif kind == 1:
            headers["Content-Encoding"] = r.choice(["gzip", "zstd", "br", "gzip, gzip", "identity"])
        elif kind == 2:
            body, headers["Content-Encoding"] = gzip.compress(body)[:-r.randrange(1, 9)], "gzip"
        elif kind == 3:
            body, headers["Content-Encoding"] = zlib.compress(body), "gzip"
        elif kind == 4:
            try:
                body, headers["Content-Type"] = msgpack.packb(json.loads(body)), "application/msgpack"
            except (ValueError, OverflowError, RecursionError):
                pass
        return body

    def query(self, op):
        r = self.rng
        pairs = []
        for p in op.get("parameters", []):
            if p["in"] == "query" and r.random() < 0.4:
                good = self.good(p["name"], p["schema"])
                value = good if r.random() < 0.6 else self.text()
                pairs += [(p["name"], value)] * (2 if r.random() < 0.05 else 1)
        text = urllib.parse.urlencode([(k, v[0] if isinstance(v, list) else v) for k, v in pairs], errors="replace")
        if r.random() < 0.05:
            text += r.choice(["&", "&&=", "%", "%zz", "&a=%00", "&" * 500, "=x", "&metric=%ff%fe", "&x=" + "y" * 3000])
        return text

    def request(self):
        r = self.rng
        method, path, op = r.choice(self.operations)
        if r.random() < 0.03:
            method = r.choice(["GET", "PUT", "DELETE", "PATCH", "POST", "OPTIONS", "HEAD", "BREW"])
        id = r.choice(self.ids) if r.random() < 0.7 else urllib.parse.quote(self.text(), safe="", errors="replace")
        path = path.replace("{id}", id or "-")
        query = self.query(op)
        headers = {"Content-Type": r.choice(TYPES) if r.random() < 0.2 else TYPES[0], "Accept": r.choice(ACCEPTS)}
        headers.update(self.headers[4] if path.endswith("/ingest") and r.random() < 0.6 else r.choice(self.headers))
        body = self.squeezed(self.body(op), headers) if "requestBody" in op or r.random() < 0.02 else None
        return method, path + ("?" + query if query else ""), body, headers


def judge(method, target, status, headers, body):
    assert status < 500 or status in FINE, (method, target, status, body[:300])
    if status == 422 and method != "HEAD":
        items = json.loads(body).get("errors") if "problem" in headers["Content-Type"] else json.loads(body)["detail"]
        assert items and all(i["loc"] and i["msg"] and i["type"] for i in items), (method, target, body[:300])
    elif status >= 400 and method != "HEAD":
        assert json.loads(body)["detail"], (method, target, body[:300])


@pytest.fixture
def ids(server, tenant, pusher):
    out = [tenant.machine("M")["id"], tenant.machine("N")["id"], str(uuid.uuid4()), "", "no-uuid"]
    assert pusher.push([reading("M", value=i, timestamp=f"2026-04-04T10:{i:02}:00Z") for i in range(60)]).ok
    out.append(tenant.post("/machine-groups", {"name": "G"}).json()["id"])
    out.append(tenant.key()["id"])
    out.append(Tenant(server).machine("T")["id"])
    return out


def test_random_requests_meet_refusals_or_results(server, tenant, pusher, ids, long_run):
    seed = int(os.environ.get("HALTLESS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"HALTLESS_SEED={seed}")
    doc = requests.get(server.url + "/openapi.json", timeout=20 * SLOW).json()
    key = tenant.key(scopes=["ingest", "read:machines", "read:sensors", "read:alerts", "read:fleet"])["key"]
    who = [tenant.headers()] * 4 + [{"X-API-Key": pusher.key}, {"X-API-Key": key}, {}, {"Authorization": "Bearer x.y.z"}]
    make = Maker(random.Random(seed), doc, ids, who)
    before = server.metric_sum("haltless_restarts_total")
    connection, statuses = None, {}
    for _ in range(LONG if long_run else SHORT):
        method, target, body, headers = make.request()
        for again in (False, True):
            connection = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=60 * SLOW)
            try:
                connection.request(method, target, body, headers)
                answer = connection.getresponse()
                got = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionError):     # it was closed behind the answer before
                assert not again, (method, target, body and body[:300])
                connection.close()
                connection = None
        judge(method, target, answer.status, answer.headers, got)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status == 401 and headers.get("Authorization") == tenant.headers()["Authorization"]:
            tenant = Tenant.login(tenant, tenant.email)             # it changed its own password, say
            who[:4] = [tenant.headers()] * 4
    assert {200, 201, 207, 400, 401, 403, 404, 422} <= statuses.keys(), statuses
    assert server.metric_sum("haltless_restarts_total") == before, "an actor died"
    last = Pusher(server, Tenant(server).key()["key"])
    assert last.push([reading("nobody")]).status_code == 207
