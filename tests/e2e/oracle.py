"""The definitions of reading back, written down once more and naively: the oracle of the differential tests."""
import math
from fractions import Fraction

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MONDAY = 4 * 86400  # 1970-01-05


def bucket_of(t_us, interval):
    """Start (in µs) of the UTC bucket that holds t_us."""
    n, unit = int("".join(c for c in interval if c.isdigit())), "".join(c for c in interval if c.isalpha())
    if unit == "mo":
        import datetime
        d = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=t_us)
        d = d.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int((d - datetime.datetime(1970, 1, 1)).total_seconds()) * 1_000_000
    if unit == "w":
        width = n * 7 * 86400 * 1_000_000
        return (t_us - MONDAY * 1_000_000) // width * width + MONDAY * 1_000_000
    width = n * SECONDS[unit] * 1_000_000
    return t_us // width * width


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
    scale = max(float(sum(abs(v) for v in values)), abs(want))
    return abs(got - want) <= 4 * math.ulp(scale) + 1e-12 * abs(want)
