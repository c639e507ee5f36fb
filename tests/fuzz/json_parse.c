/* json_parse.c - what is taken as JSON survives MessagePack and JSON again; the bounds hold. */
#include "tests/fuzz/fuzz.h"

#include "proto/json.h"
#include "proto/pack.h"

const view fuzz_seeds[] = {
    VIEW_LIT("{\"email\":\"a@b.c\",\"n\":[1,-2.5e3,true,false,null],\"o\":{\"x\":{}},\"s\":"
             "\"\\u00e9\\ud83d\\ude00\\n\"}"),
    VIEW_LIT(" [ ] "),
    VIEW_LIT("[[[[[[[[[[0]]]]]]]]]]"),
    VIEW_LIT("\"\xc3\xa9\xf0\x9f\x98\x80\""),
    VIEW_LIT("-0.0e-0"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("{"),
    VIEW_LIT("}"),
    VIEW_LIT("["),
    VIEW_LIT("]"),
    VIEW_LIT(","),
    VIEW_LIT(":"),
    VIEW_LIT("\""),
    VIEW_LIT("\\"),
    VIEW_LIT("\\u"),
    VIEW_LIT("\\ud800"),
    VIEW_LIT("\\udc00"),
    VIEW_LIT("\\u0000"),
    VIEW_LIT("1e999"),
    VIEW_LIT("-"),
    VIEW_LIT("."),
    VIEW_LIT("null"),
    VIEW_LIT("true"),
    VIEW_LIT("NaN"),
    VIEW_LIT("\xef\xbb\xbf"),
    VIEW_LIT("\xed\xa0\x80"),
    VIEW_LIT("[[[[[[[["),
    VIEW_LIT("\xff"),
    VIEW_LIT("123456789012345678901234567890123456789012345678901234567890"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

/* Infinite numbers (1e999) have no JSON form: they come back as null. */
static void
check_comes_back(const cJSON *tree)
{
    pack     p;
    json_out j = { 0 };
    cJSON   *again;

    pack_init(&p);
    pack_json(&p, tree);
    ASSERT(pack_is_sound(pack_view(&p)));
    ASSERT(json_from_pack(&j, pack_view(&p)) && !j.failed);
    again = json_parse(view_of(j.at, j.len));
    ASSERT(again != NULL);
    ASSERT(cJSON_IsNumber(tree) || (again->type & 0xff) == (tree->type & 0xff));
    cJSON_Delete(again);
    json_out_free(&j);
    pack_fini(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    cJSON   *tree = json_parse(view_of(data, len));
    json_out j = { 0 };

    if (tree != NULL)
        check_comes_back(tree);
    cJSON_Delete(tree);
    json_string(&j, view_of(data, len)); /* any bytes make a string that can be read */
    ASSERT(!j.failed);
    tree = json_parse(view_of(j.at, j.len));
    ASSERT(cJSON_IsString(tree) || memchr(data, 0, len) != NULL);
    cJSON_Delete(tree);
    json_out_free(&j);
    return 0;
}
