"""Random and structure-aware mutated bodies: never a crash, never a wrong 5xx, and most are really judged."""
import http.client
import json
import random

import pytest

from haltless import SLOW, Tenant, iso

pytestmark = pytest.mark.short

SCALARS = ["1", "-0", "1e999", "NaN", "-Infinity", "1.5e-7", "null", "true", '""', '"x"', "[]", "{}", "[[1]]",
           '{"a":{"b":[1,2]}}', "0.1", "01", "+1", "1.", '"\\ud83d\\ude00"', '"\\ud83d"', '"\\u0000"', "tru", '"' + "y" * 300 + '"',
           "123456789012345678901234567890", '"2026-04-04T10:30:00Z"', '"2026-13-04T10:30:00Z"']


def member(rng, name, good):
    return f'"{name}":{good if rng.random() < .85 else rng.choice(SCALARS)}'


def one_reading(rng):
    fields = [member(rng, "machine_identifier", rng.choice(['"M"', '"nobody"', '"\\u004d"'])),
              member(rng, "timestamp", f'"{iso(1775260800 + rng.randrange(10**6) / 1000)}"'),
              member(rng, "metric_name", f'"m{rng.randrange(50)}"'),
              member(rng, "value", repr(rng.uniform(-1e3, 1e3))),
              member(rng, "unit", rng.choice(['"u"', '"°C"', '""']))]
    if rng.random() < .2:
        fields.append(member(rng, "raw_tag", '"t"'))
    if rng.random() < .1:
        fields.append(member(rng, "extra", rng.choice(SCALARS)))
    if rng.random() < .05:
        fields.append(rng.choice(fields))
    if rng.random() < .1:
        fields.pop(rng.randrange(len(fields)))
    rng.shuffle(fields)
    return "{" + rng.choice([",", " , ", ",\n"]).join(fields) + "}"


def body(rng):
    items = [one_reading(rng) if rng.random() < .97 else rng.choice(SCALARS) for _ in range(rng.randrange(1, 6))]
    text = '{"readings":[' + ",".join(items) + "]}"
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if rng.random() < .25:                                   # and some with bytes of their own
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            what = rng.random()
            if what < .4:
                data[at] = rng.randrange(256)
            elif what < .7:
                del data[at:at + rng.randrange(1, 8)]
            else:
                data[at:at] = data[rng.randrange(len(data)):][:rng.randrange(1, 16)]
    return bytes(data)


def test_mutated_bodies(server, long_run):
    tenant = Tenant(server)
    tenant.machine("M")
    key = tenant.key()["key"]
    rng = random.Random(4)
    count = 100_000 if long_run else 10_000
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30 * SLOW)
    seen = {}
    for i in range(count):
        data = body(rng)
        kind = "application/json" if i % 10 else "application/msgpack"
        connection.request("POST", "/api/v1/ingest", data, {"X-API-Key": key, "Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        seen[answer.status] = seen.get(answer.status, 0) + 1
        assert answer.status in (207, 400, 422), (answer.status, text, data)
        if answer.status == 207:
            out = json.loads(text)
            assert out["accepted_count"] + out["rejected_count"] >= 1
            assert len(out["errors"]) == out["rejected_count"]
    assert seen.get(207, 0) >= 0.3 * count, seen
    assert tenant.get("/auth/me").status_code == 200
