/* meter.c - see meter.h. */
#include "tools/meter.h"

#include <stdio.h>
#include <unistd.h>

static double
seconds_since(const struct timespec *from)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) + (double)(now.tv_nsec - from->tv_nsec) / 1e9;
}

void
meter_start(meter *p, const char *what, double share)
{
    *p = (meter){ .what = what, .shown = isatty(STDERR_FILENO) == 1, .last_s = -1, .share_at_start = share };
    clock_gettime(CLOCK_MONOTONIC, &p->begun);
}

static void
print_left(double seconds)
{
    long s = (long)(seconds + 0.5);

    if (s >= 3600)
        fprintf(stderr, "  %ld:%02ld:%02ld left", s / 3600, s / 60 % 60, s % 60);
    else
        fprintf(stderr, "  %ld:%02ld left", s / 60, s % 60);
}

static void
print_line(const meter *p, uint64_t count, double share, double took_s)
{
    double earned = share - (p->share_at_start > 0 ? p->share_at_start : 0);

    fprintf(stderr, "\r%llu %s", (unsigned long long)count, p->what);
    if (share >= 0)
        fprintf(stderr, "  %.0f %%", share * 100);
    if (took_s > 0)
        fprintf(stderr, "  %.0f/s", (double)count / took_s);
    if (earned > 0 && share < 1)
        print_left(took_s * (1 - share) / earned);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void
meter_show(meter *p, uint64_t count, double share)
{
    double took_s = seconds_since(&p->begun);

    if (!p->shown || took_s - p->last_s < 0.25)
        return;
    p->last_s = took_s;
    print_line(p, count, share, took_s);
}

void
meter_end(meter *p, uint64_t count, double share)
{
    if (!p->shown)
        return;
    print_line(p, count, share, seconds_since(&p->begun));
    fputc('\n', stderr);
}
