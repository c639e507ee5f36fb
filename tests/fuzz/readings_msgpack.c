/* readings_msgpack.c - the MessagePack decoder keeps its promises, and a body it takes is whole. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/readings_check.h"

#include <msgpack.h>

#define STR_VALUE "\xa5value"
#define GOOD                                                                                       \
    "\x85\xb2machine_identifier\xa7" "CNC-001" "\xa9timestamp\xb4" "2026-02-27T10:30:00Z"          \
    "\xabmetric_name\xabtemperature" STR_VALUE "\xcb\x40\x52\x20\x00\x00\x00\x00\x00"              \
    "\xa4unit\xa7" "celsius"
#define ODD                                                                                        \
    "\x87\xa4unit\xa3\xc2\xb0" "C" "\xa1x\x92\x81\x01\xc0\xc4\x02\x00\x00" STR_VALUE "\xd0\x80"    \
    "\xabmetric_name\xd9\x01m\xa9timestamp\xd7\xff\x00\x00\x00\x00\x69\xa1\x72\x28"                \
    "\xb2machine_identifier\xda\x00\x01" "A\xa7raw_tag\xc0"

const view fuzz_seeds[] = {
    VIEW_LIT("\x81\xa8readings\x91" GOOD),
    VIEW_LIT("\x81\xa8readings\xdc\x00\x03" GOOD ODD "\x05"),
    VIEW_LIT("\x83\x01\x93\x01\x02\x03\xa8readings\xdd\x00\x00\x00\x02" ODD GOOD "\xa1z\xc7\x03\x05" "abc"),
    VIEW_LIT("\x81\xa8readings\x80"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xb2machine_identifier"), VIEW_LIT("\xa9timestamp"), VIEW_LIT("\xabmetric_name"),
    VIEW_LIT(STR_VALUE), VIEW_LIT("\xa4unit"), VIEW_LIT("\xa7raw_tag"), VIEW_LIT("\xa8readings"),
    VIEW_LIT("\xc0"), VIEW_LIT("\x90"), VIEW_LIT("\x80"), VIEW_LIT("\x91"), VIEW_LIT("\x81"),
    VIEW_LIT("\xdd\xff\xff\xff\xff"), VIEW_LIT("\xdf\x00\x00\x00\x01"), VIEW_LIT("\xdb\x00\x00\x00\x04"),
    VIEW_LIT("\xca\x7f\x80\x00\x00"), VIEW_LIT("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\xc7\x0c\xff"), VIEW_LIT("\xd6\xff"), VIEW_LIT("\xc1"), VIEW_LIT(GOOD), VIEW_LIT(ODD),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static void
check_whole(view body)
{
    msgpack_unpacked      u;
    size_t                at = 0;
    msgpack_unpack_return got;

    msgpack_unpacked_init(&u);
    got = msgpack_unpack_next(&u, (const char *)body.at, body.len, &at);
    /* msgpack-c gives up on deep nesting; otherwise it sees one value, which is the whole body. */
    ASSERT(got == MSGPACK_UNPACK_NOMEM_ERROR || got == MSGPACK_UNPACK_SUCCESS ||
           got == MSGPACK_UNPACK_EXTRA_BYTES);
    ASSERT(got == MSGPACK_UNPACK_NOMEM_ERROR || at == body.len);
    msgpack_unpacked_destroy(&u);
}

typedef struct outcome {
    enum readings_next end;
    size_t             count;
    size_t             offset;
    uint64_t           sum; /* of everything that was found */
} outcome;

static outcome
decode(view body, uint32_t window)
{
    static readings_decoder d;
    reading                 r;
    outcome                 o = { 0 };

    readings_msgpack_start(&d, body);
    d.window = window;
    while ((o.end = readings_msgpack_next(&d, &r)) > READINGS_END) {
        if (o.end == READINGS_PAUSE)
            continue;
        check_reading(&r, body, &d);
        o.sum = check_mix(o.sum, &r);
        ASSERT(++o.count <= body.len);
    }
    o.offset = readings_offset(&d);
    ASSERT(o.offset <= body.len);
    ASSERT(readings_msgpack_next(&d, &r) == o.end);
    ASSERT((o.end == READINGS_SCHEMA) <= (readings_schema_type(&d) != NULL));
    return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint32_t windows[] = { 1, 2, 3, 5, 8, 16, 31, 64, 100, 200 };
    view                  body = view_of(data, len);
    outcome               first = decode(body, READINGS_WINDOW);

    for (size_t i = 0; i < COUNT_OF(windows); i++) { /* stops between any two values change nothing */
        outcome other = decode(body, windows[i]);

        ASSERT(other.end == first.end && other.count == first.count && other.sum == first.sum);
        ASSERT(other.offset == first.offset || first.end == READINGS_SYNTAX);
    }
    if (first.end != READINGS_SYNTAX)
        check_whole(body);
    return 0;
}
