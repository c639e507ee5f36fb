"""Bucket starts of every zone against Python's zoneinfo: `zone_starts.py PROGRAM`.

Days of 2015 to 2035 and of 2099 to 2101 (beyond the files' tables: their rules), weeks, 3 days and months of some
zones.  A local midnight is the first instant whose local time is that midnight or later.
"""
import datetime as dt
import re
import subprocess
import sys
import zoneinfo

DAY = 86400
EPOCH = dt.datetime(1970, 1, 1)
UNITS = {"d": 4, "w": 5, "mo": 6}


def names():
    """What tzdata.zi or, where a distribution leaves that out, zone1970.tab lists; and zones with a history."""
    found = {"Europe/London", "Etc/GMT+5", "Etc/GMT-14", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"}
    with open("/usr/share/zoneinfo/zone1970.tab", encoding="utf-8") as f:
        found |= {line.split("\t")[2].strip() for line in f if line[0] != "#"}
    try:
        with open("/usr/share/zoneinfo/tzdata.zi", encoding="utf-8") as f:
            found |= {m[1] for m in re.finditer(r"^Z (\S+)", f.read(), re.M) if m[1] != "Factory"}
    except FileNotFoundError:
        pass
    return sorted(found)


def offset(zone, t):
    return int(dt.datetime.fromtimestamp(t, zone).utcoffset().total_seconds())


def changes(zone, a, b):
    """[(second, offset before, offset behind)], looked for in steps of a day."""
    out, t, was = [], a, offset(zone, a)
    while t < b:
        step = min(t + DAY, b)
        now = offset(zone, step)
        if now != was:
            low, high = t, step
            while high - low > 1:
                mid = (low + high) // 2
                low, high = (mid, high) if offset(zone, mid) == was else (low, mid)
            out.append((high, was, now))
        t, was = step, now
    return out


def midnights(zone, a, b, local_days):
    """{day: its first second} for local days well inside [a, b)."""
    around = changes(zone, a, b)
    pieces = ([(a, around[0][0], around[0][1])] if around else [(a, b, offset(zone, a))]) + [
        (t, around[i + 1][0] if i + 1 < len(around) else b, now) for i, (t, _, now) in enumerate(around)]
    at, out = 0, {}
    for day in local_days:
        while at > 0 and pieces[at][0] > day * DAY - 2 * DAY:
            at -= 1
        while True:
            begin, end, off = pieces[at]
            first = max(begin, day * DAY - off)
            if first < end:
                break
            at += 1
        out[day] = first
    return out


def starts(days, unit, n, table):
    if unit == "mo":
        numbers = [d for d in days if (EPOCH + dt.timedelta(days=d)).day == 1]
    else:
        width, base = (n, 0) if unit == "d" else (7 * n, 4)
        numbers = [d for d in days if (d - base) % width == 0]
    out = []
    for d in numbers:
        if not out or table[d] > out[-1]:
            out.append(table[d])
    return out


def main(program):
    asks, wants = [], []
    for i, name in enumerate(names()):
        zone = zoneinfo.ZoneInfo(name)
        for first, last in ((2015, 2035), (2099, 2101)) if i % 4 == 0 else ((2015, 2035),):
            days = range((dt.datetime(first, 1, 1) - EPOCH).days, (dt.datetime(last + 1, 1, 1) - EPOCH).days)
            table = midnights(zone, days[0] * DAY - 5 * DAY, days[-1] * DAY + 5 * DAY, days)
            for unit, n in (("d", 1), ("d", 3), ("w", 1), ("w", 2), ("mo", 1)) if i % 8 == 0 else (("d", 1),):
                want = starts(days, unit, n, table)
                asks.append(f"{name} {UNITS[unit]} {n} {want[0]}000000 {want[-1] + 1}000000")
                wants.append(" ".join(f"{w}000000" for w in want))
    done = subprocess.run([program], input="\n".join(asks) + "\n", capture_output=True, text=True, timeout=100, check=True)
    got = [line.strip() for line in done.stdout.splitlines()]
    wrong = [ask for ask, g, w in zip(asks, got, wants) if g != w]
    for ask in wrong[:10]:
        print("differs:", ask)
    print(f"{len(asks)} tables of {len(names())} zones, {len(wrong)} differ")
    return 1 if wrong or len(got) != len(asks) or len(asks) < 300 else 0


sys.exit(main(sys.argv[1]))
