"""What alerts there should be: a small reference model of rules and alerts, after README and DESIGN, not after the code."""
import operator

OPS = {"gt": operator.gt, "lt": operator.lt}


class Rule:
    """Threshold, composite or rate of change; with every edit another version."""

    def __init__(self, **members):
        self.version, self.live_from, self.active = 1, 0, True
        self.conditions, self.type, self.operator = None, "threshold", "gt"
        self.duration_seconds = self.cooldown_seconds = 0
        self.clear_threshold = None
        self.machine = None
        self.__dict__.update(members)

    def watches(self, machine, metric):
        return self.active and self.machine in (None, machine) and metric in self.metrics()

    def metrics(self):
        return {c["metric_name"] for c in self.conditions} if self.conditions else {self.metric_name}


class State:
    def __init__(self):
        self.version = 0
        self.open = self.holding = False
        self.newest = self.since = self.closed = self.peak = None
        self.samples = []            # rate: (time, value), oldest first
        self.known = {}              # composite: metric -> (time, value)


class Alert:
    def __init__(self, rule, machine, value, at, peak):
        self.rule, self.machine, self.value, self.at, self.peak = rule, machine, value, at, peak
        self.end = "open"            # then "cleared", "edited" or "person"
        self.held = False

    def told(self):
        return (self.value, self.at, self.end)


class Model:
    def __init__(self):
        self.rules, self.states, self.alerts, self.newest = {}, {}, [], {}

    # ---- what people do ----
    def edit(self, rule, **members):
        rule.version += 1
        before, was_active = (rule.metrics(), rule.conditions, rule.machine), rule.active
        rule.__dict__.update(members)
        if (was_active and not rule.active) or before != (rule.metrics(), rule.conditions, rule.machine):
            self.drop(rule)
            rule.live_from = rule.version
        if rule.active and not was_active:
            rule.live_from = rule.version

    def drop(self, rule):
        """Its alerts are of no rule any longer."""
        for a in self.alerts:
            if a.rule is rule:
                a.end = "edited" if a.end == "open" else a.end
                a.held = False

    def resolve(self, alert):
        alert.end, alert.held = "person", True

    # ---- readings ----
    def reading(self, machine, metric, at, value):
        """One that is older than the newest of its series is passed over."""
        if at < self.newest.setdefault((machine, metric), at):
            return
        self.newest[machine, metric] = at
        for rule in self.rules.values():
            if rule.watches(machine, metric):
                self.judge(rule, machine, metric, at, value)

    def standing(self, rule, machine):
        return next((a for a in self.alerts if a.rule is rule and a.machine == machine and (a.end == "open" or a.held)), None)

    def judge(self, rule, machine, metric, at, value):
        s = self.states.get((rule.id, machine))
        if s is None or 0 < s.version < rule.live_from:
            s = self.states[rule.id, machine] = State()
        edited = s.version not in (0, rule.version)
        s.version = rule.version
        if edited:
            s.holding, s.samples, s.known = False, [], {}
        now = s.newest = at if s.newest is None else max(s.newest, at)
        meaning = getattr(self, "of_" + rule.type)(rule, s, metric, now, value)
        if meaning is None:
            return
        breaks, lasts, shown = meaning
        if s.open and edited and breaks:
            self.opens(rule, machine, shown, at, s.peak)
        elif s.open and not lasts:
            s.open = s.holding = False
            s.closed = now
            self.closes(rule, machine, s.peak)
        elif s.open:
            s.peak = self.farther(rule, s.peak, shown)
        elif not breaks:
            s.holding = False
        else:
            s.peak = self.farther(rule, s.peak, shown) if s.holding else shown
            if not s.holding:
                s.holding, s.since = True, now
            cools = s.closed is not None and now - s.closed < rule.cooldown_seconds
            if now - s.since >= rule.duration_seconds and not cools:
                s.open = True
                self.opens(rule, machine, shown, at, s.peak)

    def of_threshold(self, rule, s, metric, now, value):
        if rule.conditions:
            s.known[metric] = (now, value)
            holds = [c["metric_name"] in s.known and OPS[c["operator"]](s.known[c["metric_name"]][1], c["threshold"])
                     for c in rule.conditions]
            holds = any(holds) if rule.logic == "OR" else all(holds)
            first = rule.conditions[0]["metric_name"]
            return holds, holds, s.known[first][1] if first in s.known else value
        return self.compared(rule, value)

    def compared(self, rule, value):
        clear = rule.threshold if rule.clear_threshold is None else rule.clear_threshold
        return OPS[rule.operator](value, rule.threshold), OPS[rule.operator](value, clear), value

    def of_rate_of_change(self, rule, s, metric, now, value):
        then = next((p for p in reversed(s.samples) if now - p[0] >= rule.window_seconds), None)
        meaning = None
        if then is not None and now - then[0] <= 2 * rule.window_seconds:
            meaning = self.compared(rule, (value - then[1]) / float(now - then[0]))
        if not s.samples or now - s.samples[-1][0] >= rule.window_seconds / 4:
            s.samples = (s.samples + [(now, value)])[-8:]
        return meaning

    @staticmethod
    def farther(rule, peak, value):
        return max(peak, value) if rule.operator == "gt" else min(peak, value)

    # ---- alerts ----
    def opens(self, rule, machine, value, at, peak):
        if self.standing(rule, machine) is None:
            self.alerts.append(Alert(rule, machine, value, at, peak))

    def closes(self, rule, machine, peak):
        a = self.standing(rule, machine)
        if a is None:
            return
        if a.end == "open":
            a.end, a.peak = "cleared", peak
        a.held = False

    def told(self):
        """{(rule, machine): [(value, time of the reading, end)]}, in order."""
        out = {}
        for a in self.alerts:
            out.setdefault((a.rule.id, a.machine), []).append(a.told())
        return out
