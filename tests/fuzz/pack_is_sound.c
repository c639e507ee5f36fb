/* pack_is_sound.c - what is sound unpacks, and what unpacks whole is sound (but for depth). */
#include "tests/fuzz/fuzz.h"

#include "proto/err.h"
#include "proto/json.h"
#include "proto/pack.h"

const view fuzz_seeds[] = {
    VIEW_LIT("\x83\xa1"
             "a\x01\xa1"
             "b\x93\xc0\xc2\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xa1"
             "c\xd9\x03xyz"),
    VIEW_LIT(
        "\xdc\x00\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\xde\x00\x01\xc4\x02xx\xc7\x01\x05x"),
    VIEW_LIT("\x91\x91\x91\x91\x91\x91\x90"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xc0"),
    VIEW_LIT("\xc1"),
    VIEW_LIT("\xdd\x10\x00\x00\x00"),
    VIEW_LIT("\xdf\xff\xff\xff\xff"),
    VIEW_LIT("\xdb\xff\xff\xff\xff"),
    VIEW_LIT("\xc6\xff\xff\xff\xff"),
    VIEW_LIT("\x91\x91\x91\x91\x91\x91\x91\x91"),
    VIEW_LIT("\x81\xa0"),
    VIEW_LIT("\xd8"),
    VIEW_LIT("\xc9\xff\xff\xff\xff"),
    VIEW_LIT("\xa3"
             "abc"),
    VIEW_LIT("\xdc\x00\x01"),
    VIEW_LIT("\xde\x00\x01"),
    VIEW_LIT("\xca\x7f\x80\x00\x00"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    view     in = view_of(data, len);
    pack_doc d;
    json_out j = { 0 };
    int64_t  ignored;
    view     text;

    if (pack_is_sound(in)) {
        ASSERT(pack_open(&d, in) == E_OK);
        (void)pack_get_int(pack_root(&d), "a", &ignored);
        (void)pack_get_str(pack_root(&d), "c", &text);
        pack_doc_close(&d);
    } else {
        ASSERT(pack_open(&d, in) < 0);
    }
    if (json_from_pack(&j, in) && !j.failed) {
        cJSON *tree = json_parse(view_of(j.at, j.len));

        ASSERT(tree != NULL || memmem(j.at, j.len, "\\u0000", 6) != NULL);
        cJSON_Delete(tree);
    }
    json_out_free(&j);
    return 0;
}
