"""The definitions of reading back, written down once more and naively: the oracle of the differential tests."""
import datetime
import functools
import math
import zoneinfo
from fractions import Fraction

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MONDAY = 4 * 86400  # 1970-01-05


def parse(interval):
    return int("".join(c for c in interval if c.isdigit())), "".join(c for c in interval if c.isalpha())


def bucket_of(t_us, interval, zone="UTC"):
    """Start (in µs) of the bucket that holds t_us."""
    n, unit = parse(interval)
    if zone != "UTC" and unit in ("d", "w", "mo"):
        return local_bucket_of(t_us, n, unit, zone)
    if unit == "mo":
        d = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=t_us)
        d = d.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int((d - datetime.datetime(1970, 1, 1)).total_seconds()) * 1_000_000
    if unit == "w":
        width = n * 7 * 86400 * 1_000_000
        return (t_us - MONDAY * 1_000_000) // width * width + MONDAY * 1_000_000
    width = n * SECONDS[unit] * 1_000_000
    return t_us // width * width


@functools.lru_cache(None)
def day_start(date, zone):
    """The first second whose local time is the date's midnight or later; clocks of our days change at quarters."""
    z = zoneinfo.ZoneInfo(zone)
    midnight = datetime.datetime(date.year, date.month, date.day)
    t = int((midnight - datetime.datetime(1970, 1, 1)).total_seconds()) - 27 * 3600
    while datetime.datetime.fromtimestamp(t, z).replace(tzinfo=None) < midnight:
        t += 900
    return t


def bucket_date(date, n, unit):
    """The day that the bucket of a local date begins with."""
    if unit == "mo":
        return date.replace(day=1)
    base = datetime.date(1970, 1, 1 if unit == "d" else 5)
    width = n * (1 if unit == "d" else 7)
    return base + datetime.timedelta(days=(date - base).days // width * width)


def local_bucket_of(t_us, n, unit, zone):
    """Of the days around, the last one that has begun says which bucket it is."""
    t = t_us // 1_000_000
    near = datetime.datetime.fromtimestamp(t, zoneinfo.ZoneInfo(zone)).date()
    days = [near + datetime.timedelta(days=i) for i in (-1, 0, 1)]
    day = max(d for d in days if day_start(d, zone) <= t)
    return day_start(bucket_date(day, n, unit), zone) * 1_000_000


def bucket_after(t_us, interval, zone="UTC"):
    """Start of the bucket behind the one that holds t_us."""
    n, unit = parse(interval)
    if unit in SECONDS and (zone == "UTC" or unit != "d"):
        return bucket_of(t_us, interval, zone) + n * SECONDS[unit] * 1_000_000
    low, high = t_us, t_us + (n * 9 if unit == "w" else n + 2 if unit == "d" else 33) * 86400 * 1_000_000
    here = bucket_of(t_us, interval, zone)
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (mid, high) if bucket_of(mid, interval, zone) == here else (low, mid)
    return high


def time_weighted(rows, start, end, gap_us, before=None):
    """Of [start, end): each value holds until the next reading, at most gap_us; before: the reading before start."""
    held, total = Fraction(0), 0
    rows = ([before] if before else []) + rows
    for i, (t, v) in enumerate(rows):
        until = min(rows[i + 1][0] if i + 1 < len(rows) else end, t + gap_us, end)
        if until > max(t, start):
            held += Fraction(v) * (until - max(t, start))
            total += until - max(t, start)
    return float(held / total) if total else None


def fill(points, interval, zone, how):
    """[(start, value)] with readings, in order -> [(start, value, was it empty)]."""
    out = []
    for (a, va), (b, vb) in zip(points, points[1:]):
        out.append((a, va, False))
        u = bucket_after(a, interval, zone)
        while u < b:
            known = how == "previous" and va is not None or how == "linear" and None not in (va, vb)
            out.append((u, va if known and how == "previous" else va + (vb - va) * ((u - a) / (b - a)) if known else None, True))
            u = bucket_after(u, interval, zone)
    return out + [(t, v, False) for t, v in points[-1:]]


def percentile(values, q):
    """R's type 7."""
    v = sorted(values)
    h = (len(v) - 1) * q
    lo = math.floor(h)
    return v[lo] if lo == h else v[lo] + (h - lo) * (v[lo + 1] - v[lo])


def exact(values):
    return sum((Fraction(v) for v in values), Fraction(0))


def rate(rows):
    if len(rows) < 2:
        return None
    increases = sum((Fraction(b) - Fraction(a) if b >= a else Fraction(b)
                     for (_, a), (_, b) in zip(rows, rows[1:])), Fraction(0))
    seconds = Fraction(rows[-1][0] - rows[0][0], 1_000_000)
    return float(increases / seconds) if seconds else None


def aggregate(rows, how):
    """rows: [(t_us, value)] of one bucket, sorted by time, one a time."""
    values = [v for _, v in rows]
    n = len(values)
    if how == "count":
        return n
    if how in ("min", "max"):
        return min(values) if how == "min" else max(values)
    if how in ("first", "last"):
        return values[0] if how == "first" else values[-1]
    if how == "delta":
        return values[-1] - values[0]
    if how == "sum":
        return float(exact(values))
    if how == "avg":
        return float(exact(values) / n)
    if how == "stddev":
        mean = exact(values) / n
        return math.sqrt(float(sum(((Fraction(v) - mean) ** 2 for v in values), Fraction(0)) / n))
    if how == "rate":
        return rate(rows)
    if how.startswith("p"):
        return percentile(values, int(how[1:]) / 100)
    raise ValueError(how)


EXACT = ("count", "min", "max", "first", "last", "delta", "p50", "p90", "p95", "p99")


def close(got, want, values):
    """Within 4 ulp of the sum of magnitudes."""
    if want is None or got is None:
        return got is None and want is None
    scale = max(float(sum((abs(Fraction(v)) for v in values), Fraction(0))), abs(want))
    return abs(Fraction(got) - Fraction(want)) <= 4 * Fraction(math.ulp(scale))
