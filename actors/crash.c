/* crash.c - see crash.h.  The handler calls nothing that is not async-signal-safe: numbers are written by hand,
 * the unwinder is loaded at the start, a stack that has overflown is not used. */
#include "actors/crash.h"
#include "actors/symbols.h"

#include "proto/instant.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 768, FRAMES = 64, BUILD_ID_MAX = 20, STACK_LEN = 64 * 1024 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { INSTALLED = false };
#else
enum { INSTALLED = true };
#endif

static const struct {
    int         number;
    const char *name;
} deadly[] = { { SIGSEGV, "SEGV" }, { SIGABRT, "ABRT" }, { SIGBUS, "BUS" },
               { SIGFPE, "FPE" },   { SIGILL, "ILL" } };

static char        build_id[2 * BUILD_ID_MAX + 1];
static const char *commit_text = "";

static _Thread_local const char *actor_name;
static _Thread_local seat       *actor_seat;
static _Thread_local bool        actor_helper;
static _Thread_local void       *actor_stack;

/* ---- the line ---- */

typedef struct text {
    char   at[LINE_MAX_LEN];
    size_t len;
} text;

static void
put(text *t, const char *s)
{
    while (*s != '\0' && t->len < sizeof t->at - 1)
        t->at[t->len++] = *s++;
}

static void
put_uint(text *t, uint64_t n)
{
    char  digits[24];
    char *p = digits + sizeof digits - 1;

    *p = '\0';
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    put(t, p);
}

static void
put_time(text *t)
{
    char            when[INSTANT_TEXT_MAX + 1];
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    when[instant_format((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000000 * 1000, when)] = '\0';
    put(t, when);
}

static const char *
signal_name(int number)
{
    for (size_t i = 0; i < COUNT_OF(deadly); i++)
        if (deadly[i].number == number)
            return deadly[i].name;
    return "?";
}

static void
put_message(text *t, const seat *s)
{
    addr from = atomic_load(&s->at_from);

    if (atomic_load(&s->at_type) == 0)
        return;
    put(t, " from=");
    put(t, kind_name(addr_kind(from)));
    put(t, ".");
    put_uint(t, addr_part(from));
    put(t, " lane=");
    put_uint(t, atomic_load(&s->at_lane));
    put(t, " type=");
    put_uint(t, atomic_load(&s->at_type));
    put(t, " pos=");
    put_uint(t, atomic_load(&s->at_pos));
}

static void
put_line(text *t, int number)
{
    put(t, "ts=");
    put_time(t);
    put(t, " level=error event=crash signal=");
    put(t, signal_name(number));
    put(t, " actor=");
    put(t, actor_name == NULL ? "none" : actor_name);
    if (actor_seat != NULL)
        put_message(t, actor_seat);
    put(t, " pid=");
    put_uint(t, (uint64_t)getpid());
    put(t, " build=");
    put(t, build_id);
    put(t, " commit=");
    put(t, commit_text);
    t->at[t->len++] = '\n';
}

static void
mark_seat(seat *s, int number)
{
    uint32_t epoch = atomic_load(&s->epoch);
    bool     careful = atomic_load(&s->careful) == epoch && atomic_load(&s->soothed) != epoch;

    if (actor_helper && !careful)
        atomic_store(&s->at_exact, 0);
    atomic_store(&s->crash_signal, number);
    atomic_store(&s->crashed, epoch);
}

/* "  #3 on_readings+69 at ./haltless(+0x4d2f5)[0x55...]": the name for people, the place for addr2line. */
static void
put_frame(uint64_t number, void *at)
{
    uint64_t    offset;
    text        t = { .len = 0 };
    const char *name = symbols_name(at, &offset);

    put(&t, "  #");
    put_uint(&t, number);
    put(&t, " ");
    if (name != NULL) {
        put(&t, name);
        put(&t, "+");
        put_uint(&t, offset);
        put(&t, " at ");
    }
    (void)!write(STDERR_FILENO, t.at, t.len);
    backtrace_symbols_fd(&at, 1, STDERR_FILENO);
}

static void
put_frames(void)
{
    void *frame[FRAMES];
    int   n = backtrace(frame, FRAMES);

    for (int i = 0; i < n; i++)
        put_frame((uint64_t)i, frame[i]);
}

/* The default is in force again: what is raised here is delivered on return, and ends the process. */
static void
on_crash(int number)
{
    text t = { .len = 0 };

    if (actor_seat != NULL)
        mark_seat(actor_seat, number);
    put_line(&t, number);
    (void)!write(STDERR_FILENO, t.at, t.len);
    put_frames();
    (void)raise(number);
}

/* ---- at the start ---- */

static void
put_build_id(const uint8_t *id, uint32_t len)
{
    static const char hex[] = "0123456789abcdef";

    for (uint32_t i = 0; i < len; i++) {
        build_id[2 * i] = hex[id[i] >> 4];
        build_id[2 * i + 1] = hex[id[i] & 15];
    }
}

static int
find_build_id(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    symbols_open(info->dlpi_addr);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uint64_t at = 0;

        while (p->p_type == PT_NOTE && at + sizeof(ElfW(Nhdr)) < p->p_memsz) {
            const uint8_t *raw = (const uint8_t *)(uintptr_t)(info->dlpi_addr + p->p_vaddr) + at;
            ElfW(Nhdr) note;

            memcpy(&note, raw, sizeof note);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz <= BUILD_ID_MAX)
                put_build_id(raw + sizeof note + 4, note.n_descsz);
            at += sizeof note + round_up(note.n_namesz, 4) + round_up(note.n_descsz, 4);
        }
    }
    return 1; /* the program is the first */
}

void
crash_install(const char *commit)
{
    struct sigaction crash = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND };
    void            *frame[FRAMES];

    if (!INSTALLED)
        return;
    commit_text = commit == NULL ? "" : commit;
    (void)dl_iterate_phdr(find_build_id, NULL);
    (void)backtrace(frame, FRAMES); /* loads the unwinder, which allocates */
    (void)sigemptyset(&crash.sa_mask);
    for (size_t i = 0; i < COUNT_OF(deadly); i++)
        (void)sigaction(deadly[i].number, &crash, NULL);
}

void
crash_enter(const char *actor, seat *s)
{
    stack_t stack = { .ss_size = STACK_LEN };

    actor_name = actor;
    actor_seat = s;
    if (!INSTALLED || actor_stack != NULL)
        return;
    actor_stack = stack.ss_sp = malloc(STACK_LEN);
    if (actor_stack != NULL)
        (void)sigaltstack(&stack, NULL);
}

void
crash_enter_helper(const char *actor, seat *s)
{
    crash_enter(actor, s);
    actor_helper = true;
}

void
crash_leave(void)
{
    stack_t none = { .ss_flags = SS_DISABLE };

    actor_name = NULL;
    actor_seat = NULL;
    actor_helper = false;
    if (actor_stack == NULL)
        return;
    (void)sigaltstack(&none, NULL);
    free(actor_stack);
    actor_stack = NULL;
}

const char *
crash_build(void)
{
    if (build_id[0] == '\0')
        (void)dl_iterate_phdr(find_build_id, NULL);
    return build_id;
}
