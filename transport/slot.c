/* slot.c - the parked word and the epoch of an actor; the picture is in slot.h. */
#include "transport/slot.h"
#include "transport/pages.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOT_ABI = 1 };
#define SLOT_MAGIC UINT64_C(0x746f6c736c74616c) /* "latlslot" */

typedef struct slot_page {
    uint64_t magic;
    uint64_t abi;
    addr     who;
    alignas(128) _Atomic uint64_t parked;
    alignas(128) _Atomic uint64_t epoch;
} slot_page;

struct slot {
    slot_page *page;
};

static void
file_name(char path[PAGES_PATH_MAX], const char *dir, addr who)
{
    (void)snprintf(path, PAGES_PATH_MAX, "%s/slot.%s.%u", dir, kind_name(addr_kind(who)),
                   addr_part(who));
}

int
slot_create(const char *dir, addr who)
{
    slot_page page = { .magic = SLOT_MAGIC, .abi = SLOT_ABI, .who = who };
    char      path[PAGES_PATH_MAX];
    int       fd = -1;
    int       rc;

    file_name(path, dir, who);
    rc = pages_make(path, PAGE_LEN, PAGE_LEN, &fd);
    if (rc < 0)
        return err(rc, "slot");
    if (pwrite(fd, &page, sizeof page, 0) != (ssize_t)sizeof page)
        rc = err(E_IO, "write");
    rc = pages_land(path, &fd, rc);
    return rc < 0 ? err(rc, "slot %s", path) : E_OK;
}

int
slot_open(slot **out, const char *dir, addr who, bool owner)
{
    slot    *s = calloc(1, sizeof *s);
    char     path[PAGES_PATH_MAX];
    uint64_t len = 0;
    int      fd = -1;
    int      rc;

    *out = NULL;
    file_name(path, dir, who);
    if (s == NULL)
        return err(E_NOMEM, "slot %s", path);
    rc = pages_open(path, owner, &fd, &len);
    if (rc == E_OK && len != PAGE_LEN)
        rc = err(E_BAD, "length %llu", (unsigned long long)len);
    if (rc == E_OK && (s->page = pages_map(fd, 0, PAGE_LEN, owner)) == NULL)
        rc = err(E_NOMEM, "map");
    if (rc == E_OK && s->page != NULL &&
        (s->page->magic != SLOT_MAGIC || s->page->abi != SLOT_ABI || s->page->who != who))
        rc = err(E_BAD, "not a slot of this version");
    if (fd >= 0)
        (void)close(fd);
    if (rc < 0) {
        slot_close(&s);
        return err(rc, "slot %s", path);
    }
    if (owner)
        slot_unpark(s);
    *out = s;
    return E_OK;
}

void
slot_close(slot **sp)
{
    slot *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    pages_unmap(s->page, PAGE_LEN);
    free(s);
}

uint64_t
slot_parked(const slot *s)
{
    return atomic_load(&s->page->parked);
}

uint64_t
slot_asks(const slot *s, uint64_t rung)
{
    uint64_t parked = slot_parked(s);

    return (parked & 1) == 0 || parked == rung ? 0 : parked;
}

void
slot_park(slot *s)
{
    uint64_t parked = atomic_load_explicit(&s->page->parked, memory_order_relaxed);

    atomic_store(&s->page->parked, parked | 1);
}

void
slot_unpark(slot *s)
{
    uint64_t parked = atomic_load_explicit(&s->page->parked, memory_order_relaxed);

    if ((parked & 1) != 0)
        atomic_store(&s->page->parked, parked + 1);
}

const volatile void *
slot_word(const slot *s)
{
    return &s->page->parked;
}

uint64_t
slot_epoch(const slot *s)
{
    return atomic_load(&s->page->epoch);
}

void
slot_new_epoch(slot *s, uint64_t epoch)
{
    atomic_store(&s->page->epoch, epoch);
}
