/* journal.c - replay over damaged segments: bounded, and every block it delivers is whole.
 *
 * The input is a list of edits of a good segment of six blocks, 8 bytes each:
 *
 *   {what u8, block u8, at u16, value u32}     what: set a byte or a word of the block's head, its payload or anywhere,
 *                                              cut the file, copy a block elsewhere; +128: give it a good checksum again
 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/log.h"
#include "storage/fs.h"
#include "storage/journal.h"

const view fuzz_seeds[] = {
    VIEW_LIT("\x00\x01\x00\x00\x01\x00\x00\x00\x80\x02\x08\x00\xff\xff\xff\x7f"),
    VIEW_LIT("\x81\x03\x18\x00\x00\x01\x00\x00\x82\x01\x1c\x00\xff\x03\x00\x00\x03\x00\x00\x30\x00"
             "\x00\x00\x00"),
    VIEW_LIT("\x04\x01\x06\x00\x00\x00\x00\x00\x84\x02\x09\x00\x00\x00\x00\x00\x81\x05\x48\x00\x02"
             "\x00\x00\x00"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\x80\x01\x08\x00"),
    VIEW_LIT("\xff\xff\xff\xff"),
    VIEW_LIT("\x81\x02\x48\x00\x01\x00\x00\x00"),
    VIEW_LIT("\x81\x02\x50\x00\x01\x00\x00\x00"),
    VIEW_LIT("\x83\x00\x00\x10\x00\x00\x00\x00"),
    VIEW_LIT("\x04"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

enum {
    BLOCKS = 6,
    BLOCK_PAGES = 2,
    PAGE = 4096,
    IMAGE = 2 * BLOCKS * BLOCK_PAGES * PAGE,
    PAYLOAD = 6000
};

static char     dir[FS_PATH_MAX], segment[FS_PATH_MAX];
static uint8_t  image[IMAGE];
static uint64_t last_lsn;
static uint32_t delivered;

static int
on_block(void *ctx, const journal_block *b)
{
    uint64_t sum = 0;

    (void)ctx;
    ASSERT(b->payload.len <= IMAGE && b->mark_count <= JOURNAL_MARKS_MAX && b->first_lsn > 0);
    for (size_t i = 0; i < b->payload.len; i++)
        sum += b->payload.at[i];
    for (uint32_t i = 0; i < b->mark_count; i++) {
        journal_mark m;
        memcpy(&m, &b->marks[i], sizeof m);
        sum += m.pos;
    }
    last_lsn = b->first_lsn + sum % 2;
    delivered++;
    return 0;
}

static void
open_and_close(journal **j, enum journal_durability durability)
{
    journal_config config = { .budget_bytes = 1 << 20,
                              .segment_bytes = IMAGE,
                              .durability = durability };
    journal_report report;

    delivered = 0;
    ASSERT(journal_open(j, dir, &config, 0, on_block, NULL, &report) == 0);
    ASSERT(report.blocks == delivered);
}

static void
tidy(void)
{
    char path[FS_PATH_MAX];

    if (fs_path(path, "%s/journal", dir) == 0)
        fs_remove_dir(path);
    fs_remove_dir(dir);
}

/* Six blocks, and the segment they are in kept as the image. */
static void
make_image(void)
{
    static const uuid generation = { { 1 } };
    journal          *j;
    int               fd;

    strcpy(dir, "fuzz-journal.XXXXXX");
    ASSERT(mkdtemp(dir) != NULL);
    atexit(tidy);
    log_setup(LOG_ERROR - 1, LOG_LOGFMT);
    open_and_close(&j, JOURNAL_OS);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        journal_begin(j);
        memset(journal_append(j, PAYLOAD), (int)i, PAYLOAD);
        journal_mark_applied(j, 1, i);
        journal_end(j, 1 + 10 * i, 10, &generation, 0);
        ASSERT(journal_write(j) == 0);
        journal_drop(j);
    }
    journal_close(&j);
    ASSERT(fs_path(segment, "%s/journal/00000002.seg", dir) == 0);
    unlink(segment);
    ASSERT(fs_path(segment, "%s/journal/00000001.seg", dir) == 0);
    fd = open(segment, O_RDONLY);
    ASSERT(fd >= 0 && read(fd, image, IMAGE) == IMAGE);
    close(fd);
}

static void
reseal(uint8_t *block, size_t room)
{
    uint32_t length = load_u32(block + 8);
    uint32_t crc = 0;

    if (length < 128 || length > room)
        return;
    memcpy(block + 12, &crc, 4);
    crc = crc32c(0, block, length);
    memcpy(block + 12, &crc, 4);
}

static void
edit(uint8_t *at, size_t *len, const uint8_t e[8])
{
    size_t   block = (size_t)(e[1] % BLOCKS) * BLOCK_PAGES * PAGE;
    size_t   offset = (size_t)e[2] | (size_t)e[3] << 8;
    uint32_t value = load_u32(e + 4);

    switch (e[0] % 8) {
    case 0:
        memcpy(at + block + offset % 125, &value, 4);
        break;
    case 1:
        at[block + offset % 128] = (uint8_t)value;
        break;
    case 2:
        memcpy(at + block + 128 + offset % (PAYLOAD - 4), &value, 4);
        break;
    case 3:
        *len = offset;
        break;
    case 4:
        block = offset % (2 * BLOCKS - 1) * BLOCK_PAGES * PAGE;
        memmove(at + block, at + (size_t)(e[1] % BLOCKS) * BLOCK_PAGES * PAGE, BLOCK_PAGES * PAGE);
        break;
    default:
        at[(offset * 7 + value) % IMAGE] ^= (uint8_t)(1 + value % 255);
    }
    if (e[0] >= 128)
        reseal(at + block, IMAGE - block);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t edited[IMAGE];
    size_t         size = IMAGE;
    journal       *j;
    int            fd;

    if (dir[0] == '\0')
        make_image();
    memcpy(edited, image, IMAGE);
    for (; len >= 8; data += 8, len -= 8)
        edit(edited, &size, data);
    fd = open(segment, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT(fd >= 0 && write(fd, edited, size) == (ssize_t)size);
    close(fd);
    open_and_close(&j, JOURNAL_MEMORY);
    ASSERT(delivered <= 2 * BLOCKS * BLOCK_PAGES);
    journal_close(&j);
    err_clear();
    return 0;
}
