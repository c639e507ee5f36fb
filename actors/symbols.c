/* symbols.c - see symbols.h.
 *
 *   ELF header ─▶ section headers ─▶ SHT_SYMTAB ─sh_link▶ its strings
 *
 * The file is the one that runs, but no word of it is believed: every range is held against its length.
 */
#include "actors/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    const uint8_t *file;
    uint64_t       len;
    uint64_t       bias;
    uint64_t       symbols; /* offset in the file */
    uint64_t       count;
    uint64_t       strings;
    uint64_t       strings_len;
} table;

static bool
is_inside(uint64_t at, uint64_t len)
{
    return at <= table.len && len <= table.len - at;
}

/* The section header of that number.  False: there is none. */
static bool
section_at(const ElfW(Ehdr) *head, uint64_t i, ElfW(Shdr) *out)
{
    uint64_t at = head->e_shoff + i * sizeof *out;

    if (i >= head->e_shnum || head->e_shentsize != sizeof *out || head->e_shoff > table.len ||
        !is_inside(at, sizeof *out))
        return false;
    memcpy(out, table.file + at, sizeof *out);
    return true;
}

static void
find_tables(void)
{
    ElfW(Ehdr) head;
    ElfW(Shdr) symbols;
    ElfW(Shdr) strings;

    if (!is_inside(0, sizeof head))
        return;
    memcpy(&head, table.file, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return;
    for (uint64_t i = 0; section_at(&head, i, &symbols); i++) {
        if (symbols.sh_type != SHT_SYMTAB || !section_at(&head, symbols.sh_link, &strings) ||
            !is_inside(symbols.sh_offset, symbols.sh_size) ||
            !is_inside(strings.sh_offset, strings.sh_size))
            continue;
        table.symbols = symbols.sh_offset;
        table.count = symbols.sh_size / sizeof(ElfW(Sym));
        table.strings = strings.sh_offset;
        table.strings_len = strings.sh_size;
        return;
    }
}

void
symbols_open(uint64_t bias)
{
    int         fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat st;
    void       *map = MAP_FAILED;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED)
        return;
    table.file = map;
    table.len = (uint64_t)st.st_size;
    table.bias = bias;
    find_tables();
}

/* Ends with its zero inside the strings? */
static const char *
string_at(uint64_t at)
{
    const char *s = (const char *)table.file + table.strings + at;

    if (at >= table.strings_len || memchr(s, '\0', table.strings_len - at) == NULL)
        return NULL;
    return s;
}

const char *
symbols_name(const void *at, uint64_t *offset)
{
    uint64_t   where = (uint64_t)(uintptr_t)at - table.bias;
    ElfW(Sym)  s;

    for (uint64_t i = 0; i < table.count; i++) {
        memcpy(&s, table.file + table.symbols + i * sizeof s, sizeof s);
        if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || s.st_shndx == SHN_UNDEF || where < s.st_value ||
            where - s.st_value >= s.st_size)
            continue;
        *offset = where - s.st_value;
        return string_at(s.st_name);
    }
    return NULL;
}
