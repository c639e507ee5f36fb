"""Alerts against a reference model: readings, edits, people and kill -9 of everybody between a journal and the registry, in
random order; the sequence of opened and closed alerts is the model's, each once."""
import datetime
import os
import random
import signal
import threading
import time

import pytest
import requests

from alert_model import Model, Rule
from haltless import SLOW, Pusher, Tenant, iso, reading, wait_until

START = 1775260800
MACHINES = ["M0", "M1", "M2"]
METRICS = ["temperature", "pressure"]
VICTIMS = ["alert", "ingest", "registry"]


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Drive:
    """The server and the model, side by side."""

    def __init__(self, server, seed):
        self.server, self.random, self.model = server, random.Random(seed), Model()
        self.tenant = Tenant(server)
        self.key = self.tenant.key()["key"]
        self.pusher = Pusher(server, self.key)
        self.machines = {m: self.tenant.machine(m)["id"] for m in MACHINES}
        self.now = dict.fromkeys(MACHINES, START)
        self.kills = self.edits = 0
        self.story = []
        self.names = 0

    # ---- a server that dies now and then ----
    def tell(self, what):
        """Until it is answered: what is told twice is told once."""
        def answer():
            try:
                a = what()
            except requests.RequestException:
                self.pusher = Pusher(self.server, self.key)
                return None
            return (a,) if a.status_code not in (500, 502, 503, 504, 507) else None     # a 4xx is false by itself
        return wait_until(answer, 60)[0]

    def kill(self):
        self.kills += 1
        self.story.append("kill")
        if self.server.topology.startswith("processes") or self.server.topology == "zmq":
            if self.random.random() < 0.85:
                pids = wait_until(self.pids, 30)
                who = self.random.choice([w for w in pids if w[0] in VICTIMS])
                try:
                    os.kill(pids[who], signal.SIGKILL)
                except ProcessLookupError:
                    pass
                return
        self.server.kill()
        self.server.start()

    def pids(self):
        try:
            return self.server.actor_pids()
        except (requests.RequestException, KeyError):
            return None

    # ---- what may happen ----
    def push(self):
        machine = self.random.choice(MACHINES)
        rows = []
        for _ in range(self.random.randint(1, 6)):
            self.now[machine] += self.random.randint(1, 4)
            late = self.random.random() < 0.08
            at = self.now[machine] - (self.random.randint(5, 60) if late else 0)
            rows.append((self.random.choice(METRICS), at, float(self.random.randint(0, 100))))
        body = [reading(machine, metric=m, value=v, timestamp=iso(t)) for m, t, v in rows]
        answer = self.tell(lambda: self.pusher.push(body))
        assert answer.status_code == 207 and answer.json()["accepted_count"] == len(rows), answer.text
        self.story.append(f"{machine} {rows}")
        for metric, at, value in rows:
            self.model.reading(machine, metric, at, value)

    def make_rule(self):
        self.even()
        kind = self.random.choice(["threshold", "threshold", "composite", "rate_of_change"])
        members = {"metric_name": self.random.choice(METRICS), "operator": self.random.choice(["gt", "lt"]),
                   "duration_seconds": self.random.choice([0, 0, 5]), "cooldown_seconds": self.random.choice([0, 0, 9])}
        members.update(self.bounds(members["operator"]))
        if kind == "composite":
            members = {"conditions": [{"metric_name": m, "operator": o, "threshold": self.random.randint(20, 80)}
                                      for m, o in zip(METRICS, self.random.choices(["gt", "lt"], k=2))],
                       "logic": self.random.choice(["AND", "OR"]), "duration_seconds": members["duration_seconds"]}
        elif kind == "rate_of_change":
            members.update(type=kind, window_seconds=8, threshold=5 if members["operator"] == "gt" else -5,
                           clear_threshold=None)
        machine = self.random.choice([None, None, *MACHINES])
        self.names += 1
        name = f"rule {self.names}"
        body = {"name": name, "severity": "warning", **members,
                **({"machine_id": self.machines[machine]} if machine else {})}

        def once():                    # the answer may have been lost
            there = [r for r in self.tenant.get("/alert-rules", params={"page_size": 100}).json()["items"] if r["name"] == name]
            return there[0] if there else None
        made = None
        while made is None:
            answer = self.tell(lambda: self.tenant.post("/alert-rules", body))
            assert answer.status_code in (201, 409), answer.text
            made = answer.json() if answer.status_code == 201 else once()
        listed = self.tell(lambda: self.tenant.get("/alert-rules", params={"page_size": 100})).json()["items"]
        for twin in listed:            # made twice, because the first answer was lost
            if twin["name"] == name and twin["id"] != made["id"]:
                assert self.tell(lambda: self.tenant.delete(f"/alert-rules/{twin['id']}")).status_code in (204, 404)
        self.story.append(f"{made['id']} made {members} for {machine}")
        self.model.rules[made["id"]] = Rule(id=made["id"], machine=machine, **members)

    def bounds(self, op):
        threshold = self.random.randint(30, 70)
        clear = self.random.choice([None, threshold - 10 if op == "gt" else threshold + 10])
        return {"threshold": threshold, "clear_threshold": clear}

    def edit(self):
        if not self.model.rules:
            return
        rule = self.random.choice(list(self.model.rules.values()))
        plain = not rule.conditions and rule.type == "threshold"
        what = self.random.choice(["bounds", "bounds", "duration", "cooldown", "metric", "active", "delete"])
        if what in ("bounds", "metric") and not plain:
            what = "duration"
        change = {"bounds": lambda: self.bounds(rule.operator),
                  "duration": lambda: {"duration_seconds": self.random.choice([0, 4, 8])},
                  "cooldown": lambda: {"cooldown_seconds": self.random.choice([0, 7])},
                  "metric": lambda: {"metric_name": self.random.choice(METRICS)},
                  "active": lambda: {"is_active": not rule.active},
                  "delete": dict}[what]()
        self.edits += 1
        if what in ("metric", "active", "delete"):
            self.even()                # they close alerts: what is open then has to be known
        if what == "delete":
            self.story.append(f"{rule.id} deleted")
            answer = self.tell(lambda: self.tenant.delete(f"/alert-rules/{rule.id}"))
            assert answer.status_code in (204, 404), answer.text
            self.model.drop(rule)
            del self.model.rules[rule.id]
            return
        self.story.append(f"{rule.id} {change}")
        answer = self.tell(lambda: self.tenant.patch(f"/alert-rules/{rule.id}", change))
        assert answer.status_code == 200, answer.text
        if "is_active" in change:
            change = {"active": change["is_active"]}
        self.model.edit(rule, **change)

    def person(self):
        self.even()
        standing = [a for a in self.model.alerts if a.end == "open"]
        if not standing:
            return
        alert = self.random.choice(standing)
        what = self.random.choice(["acknowledge", "snooze", "resolve"])
        path = f"/alerts/{self.ids[alert.rule.id, alert.machine][-1]}/{what}"
        body = {"snooze_until": iso(int(time.time()) + 3600)} if what == "snooze" else None
        answer = self.tell(lambda: self.tenant.post(path, body))
        assert answer.status_code in ((200, 400, 409) if what == "resolve" else (200,)), answer.text
        self.story.append(f"{what} {alert.rule.id} {alert.machine}")
        if what == "resolve":
            self.model.resolve(alert)

    def restart(self):
        self.story.append("restart")
        assert self.server.stop() == 0
        self.server.start()

    # ---- are they equal? ----
    def alerts(self):
        """As Model.told(); and self.ids, likewise."""
        out, self.ids, page, names = {}, {}, 1, {v: k for k, v in self.machines.items()}
        items = []
        while True:
            answer = self.tell(lambda: self.tenant.get("/alerts", params={"page": page, "page_size": 100}))
            assert answer.status_code == 200, answer.text
            items += answer.json()["items"]
            if len(items) >= answer.json()["total"]:
                break
            page += 1
        for a in reversed(items):      # the newest comes first
            pair = a["rule_id"], names[a["machine_id"]]
            end = "open" if a["resolved_at"] is None else "person" if a["resolved_by"] else "closed"
            out.setdefault(pair, []).append((a["metric_value"], seconds(a["reading_at"]), end))
            self.ids.setdefault(pair, []).append(a["id"])
        return out

    def expected(self):
        return {pair: [(v, t, e if e in ("open", "person") else "closed") for v, t, e in alerts]
                for pair, alerts in self.model.told().items()}

    def even(self):
        try:
            wait_until(lambda: self.alerts() == self.expected(), 30, every=0.05)
        except AssertionError:
            have, want = self.alerts(), self.expected()
            different = {p: (have.get(p), want.get(p)) for p in have.keys() | want.keys() if have.get(p) != want.get(p)}
            raise AssertionError(f"(rule, machine): (the server's, the model's) {different}\n" +
                                 "\n".join(self.story) + f"\n{self.server.log()}") from None


ACTS = [(70, Drive.push), (8, Drive.edit), (5, Drive.person), (3, Drive.make_rule), (12, Drive.kill), (0.7, Drive.restart)]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_sequence_of_alerts_is_the_models(own_server, long_run, seed):
    drive = Drive(own_server(flags=["--standby=true"]), seed)
    for _ in range(3):
        drive.make_rule()
    weights, acts = zip(*ACTS)
    for _ in range(20000 if long_run else 160):
        drive.random.choices(acts, weights)[0](drive)
    drive.even()
    opened = sum(map(len, drive.model.told().values()))
    assert opened > 10 and drive.kills > 5 and drive.edits > 3, (opened, drive.kills, drive.edits)


class Crossings(threading.Thread):
    """Pushes readings that cross the bound up and down for ever, each above it with a value of its own."""

    def __init__(self, server, key, machine):
        super().__init__(daemon=True)
        self.server, self.key, self.machine = server, key, machine
        self.sent = []
        self.ending = threading.Event()

    def run(self):
        pusher, at = Pusher(self.server, self.key), START
        while not self.ending.is_set():
            rows = []
            for _ in range(3):
                at += 2
                rows += [(at - 1, float(1000 + at)), (at, 0.0)]
            body = [reading(self.machine, value=v, timestamp=iso(t)) for t, v in rows]
            while True:                # until it is there: what is there twice is the same reading
                try:
                    if pusher.push(body, timeout=10).status_code == 207:
                        break
                except requests.RequestException:
                    pusher = Pusher(self.server, self.key)
                time.sleep(0.01)
            self.sent += [v for _, v in rows if v > 0]
            time.sleep(0.03)

    def end(self):
        self.ending.set()
        self.join(60 * SLOW)
        assert not self.is_alive()


def test_under_load_each_crossing_is_one_alert_whoever_is_killed(own_server, long_run):
    """Nobody waits for anybody here: what is judged lags behind what is pushed, and dies on the way."""
    drive = Drive(own_server(), 7)
    answer = drive.tenant.post("/alert-rules", {"name": "high", "metric_name": "temperature", "operator": "gt",
                                                "threshold": 500, "severity": "info"})
    assert answer.status_code == 201, answer.text
    loads = [Crossings(drive.server, drive.key, m) for m in MACHINES]
    for load in loads:
        load.start()
    for _ in range(2000 if long_run else 25):
        time.sleep(drive.random.random() * 0.3 * SLOW)
        drive.kill()
    for load in loads:
        load.end()

    def told():
        return {m: [v for v, _, _ in alerts] for (_, m), alerts in drive.alerts().items()}

    sent = {load.machine: load.sent for load in loads}
    try:
        wait_until(lambda: told() == sent, 60, every=0.5)
    except AssertionError:
        have = told()
        wrong = {m: (sorted(set(sent[m]) - set(have.get(m, [])))[:5], sorted(v for v in have.get(m, []) if have[m].count(v) > 1)[:5])
                 for m in MACHINES}
        raise AssertionError(f"machine: (crossings without an alert, with more than one) {wrong}\n{drive.server.log()}") from None
    assert all(a[-1][2] == "closed" for a in drive.alerts().values())
    assert sum(map(len, sent.values())) > 30
