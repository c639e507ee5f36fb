#include "tools/picture.h"

#include "proto/err.h"
#include "storage/image.h"
#include "tools/watch.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOW_EVERY_NS (200ull * 1000000)

static const char mark[] = ".image-";

/* Of commands that are no more. */
static void
remove_old(const char *data_dir)
{
    DIR           *d = opendir(data_dir);
    struct dirent *e;
    char           path[PATH_MAX];

    while (d != NULL && (e = readdir(d)) != NULL) {
        long pid = strncmp(e->d_name, mark, sizeof mark - 1) == 0 ? strtol(e->d_name + sizeof mark - 1, NULL, 10) : 0;

        if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH &&
            snprintf(path, sizeof path, "%s/%s", data_dir, e->d_name) < (int)sizeof path)
            image_remove(path);
    }
    if (d != NULL)
        closedir(d);
}

int
picture_take(picture *p, const char *data_dir)
{
    int rc = E_OK;

    p->path[0] = '\0';
    remove_old(data_dir);
    if (snprintf(p->path, sizeof p->path, "%s/%s%ld", data_dir, mark, (long)getpid()) >= (int)sizeof p->path)
        rc = err(E_LIMIT, "the name of the data directory is too long");
    if (rc == E_OK)
        rc = image_take(data_dir, p->path);
    if (rc < 0)
        picture_drop(p);
    return rc;
}

void
picture_drop(picture *p)
{
    if (p->path[0] != '\0')
        image_remove(p->path);
    p->path[0] = '\0';
}

uint32_t
picture_parts(const char *data_dir, uint16_t *out, uint32_t room)
{
    uint32_t n = 0;
    char     path[PATH_MAX];

    for (uint32_t i = 0; i < UINT16_MAX && n < room; i++)
        if (snprintf(path, sizeof path, "%s/part.%u", data_dir, i) < (int)sizeof path && access(path, F_OK) == 0)
            out[n++] = (uint16_t)i;
        else if (i > 4096)
            break;
    return n;
}

void
progress_show(progress *p, uint64_t done, uint64_t of)
{
    uint64_t now = watch_now_ns();

    if (p->quiet || !isatty(STDERR_FILENO) || (p->begun && now - p->shown_ns < SHOW_EVERY_NS && done < of))
        return;
    p->begun = true;
    p->shown_ns = now;
    fprintf(stderr, "\r%-24s %3u %%", p->what, of == 0 ? 100u : (unsigned)(done * 100 / of));
    fflush(stderr);
}

void
progress_end(progress *p)
{
    if (p->begun)
        fputc('\n', stderr);
    p->begun = false;
}
