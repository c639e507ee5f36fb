#include "proto/pack.h"
#include "proto/crypto.h"
#include "proto/json.h"
#include "tests/unit/check.h"

#define SOUND(bytes) pack_is_sound(VIEW_LIT(bytes))

static void
what_was_packed_is_read_back(void **state)
{
    pack     p;
    pack_doc d;
    uuid     id, id_back;
    view     s;
    int64_t  i;
    double   f;
    bool     b;

    (void)state;
    crypto_uuid4(&id);
    pack_init(&p);
    pack_map(&p, 7);
    pack_name_str(&p, "s", VIEW_LIT("text"));
    pack_name_int(&p, "i", INT64_MIN);
    pack_name_double(&p, "f", 0.1);
    pack_name_bool(&p, "b", true);
    pack_name_uuid(&p, "u", &id);
    pack_name_nil(&p, "n");
    pack_name_time(&p, "t", 0);
    CHECK_OK(pack_open(&d, pack_view(&p)));
    CHECK(pack_get_str(pack_root(&d), "s", &s));
    CHECK_VIEW(s, "text");
    CHECK(pack_get_int(pack_root(&d), "i", &i) && i == INT64_MIN);
    CHECK(pack_get_double(pack_root(&d), "f", &f) && f == 0.1);
    CHECK(pack_get_double(pack_root(&d), "i", &f) && f == (double)INT64_MIN);
    CHECK(pack_get_bool(pack_root(&d), "b", &b) && b);
    CHECK(pack_get_uuid(pack_root(&d), "u", &id_back) && uuid_eq(&id, &id_back));
    CHECK(pack_get_str(pack_root(&d), "t", &s));
    CHECK_VIEW(s, "1970-01-01T00:00:00Z");
    pack_doc_close(&d);
    pack_fini(&p);
}

static void
nil_is_there_but_counts_as_missing(void **state)
{
    pack     p;
    pack_doc d;
    view     s;

    (void)state;
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_nil(&p, "n");
    pack_name_time(&p, "t", INT64_MIN);
    CHECK_OK(pack_open(&d, pack_view(&p)));
    CHECK(pack_has(pack_root(&d), "n") && pack_has(pack_root(&d), "t"));
    CHECK(pack_get(pack_root(&d), "n") == NULL && !pack_get_str(pack_root(&d), "n", &s));
    CHECK(!pack_has(pack_root(&d), "other"));
    pack_doc_close(&d);
    pack_fini(&p);
}

static void
a_header_that_promises_more_than_there_is_is_refused(void **state)
{
    (void)state;
    CHECK(!SOUND(""));
    CHECK(!SOUND("\xdd\x10\x00\x00\x00")); /* array of 268 million: would reserve 8 GB */
    CHECK(!SOUND("\xdf\xff\xff\xff\xff"));
    CHECK(!SOUND("\xdc\x00\x02\x01"));
    CHECK(!SOUND("\xdb\xff\xff\xff\xff"
                 "abc"));
    CHECK(!SOUND("\xc6\xff\xff\xff\xff"));
    CHECK(!SOUND("\xc9\xff\xff\xff\xff\x01"));
    CHECK(!SOUND("\xd9"));
    CHECK(!SOUND("\xcb\x00\x00\x00"));
    CHECK(!SOUND("\x82\x01\x02\x03"));
    CHECK(!SOUND("\xc1")); /* never used */
}

static void
bytes_behind_the_value_are_refused(void **state)
{
    (void)state;
    CHECK(SOUND("\xc0"));
    CHECK(!SOUND("\xc0\xc0"));
    CHECK(SOUND("\x90"));
    CHECK(!SOUND("\x90\x01"));
}

static void
every_kind_of_header_is_sound_when_whole(void **state)
{
    (void)state;
    CHECK(SOUND("\x7f") && SOUND("\xe0") && SOUND("\xc2") && SOUND("\xc3"));
    CHECK(SOUND("\xcc\x01") && SOUND("\xcd\x01\x02") && SOUND("\xce\x01\x02\x03\x04"));
    CHECK(SOUND("\xcf\1\2\3\4\5\6\7\10") && SOUND("\xd3\1\2\3\4\5\6\7\10") &&
          SOUND("\xcb\1\2\3\4\5\6\7\10"));
    CHECK(SOUND("\xca\1\2\3\4") && SOUND("\xd0\1") && SOUND("\xd1\1\2") && SOUND("\xd2\1\2\3\4"));
    CHECK(SOUND("\xa1x") && SOUND("\xd9\x01x") && SOUND("\xda\x00\x01x") &&
          SOUND("\xdb\x00\x00\x00\x01x"));
    CHECK(SOUND("\xc4\x01x") && SOUND("\xc5\x00\x01x") && SOUND("\xc6\x00\x00\x00\x01x"));
    CHECK(SOUND("\xd4\x01x") && SOUND("\xd5\x01xx") && SOUND("\xd6\x01xxxx") &&
          SOUND("\xc7\x01\x05x"));
    CHECK(SOUND("\x92\x01\x02") && SOUND("\xdc\x00\x01\x01") && SOUND("\xdd\x00\x00\x00\x01\x01"));
    CHECK(SOUND("\x81\x01\x02") && SOUND("\xde\x00\x01\x01\x02") &&
          SOUND("\xdf\x00\x00\x00\x01\x01\x02"));
}

static void
nesting_ends_at_32(void **state)
{
    uint8_t  deep[64];
    pack_doc d;

    (void)state;
    memset(deep, 0x91, sizeof deep);
    deep[32] = 0xc0;
    CHECK(pack_is_sound(view_of(deep, 33)));
    CHECK_OK(pack_open(&d, view_of(deep, 33)));
    pack_doc_close(&d);
    deep[32] = 0x91;
    deep[33] = 0xc0;
    CHECK(!pack_is_sound(view_of(deep, 34)));
}

static void
a_json_tree_becomes_the_same_json_again(void **state)
{
    static const char text[] =
        "{\"a\":[1,-2,0.5,true,false,null,\"x\\n\"],\"b\":{},\"c\":[],\"d\":9007199254740991}";
    cJSON   *tree = json_parse(view_str(text));
    pack     p;
    json_out j = { 0 };

    (void)state;
    CHECK(tree != NULL);
    pack_init(&p);
    pack_json(&p, tree);
    CHECK(json_from_pack(&j, pack_view(&p)));
    CHECK_VIEW(view_of(j.at, j.len), text);
    json_out_free(&j);
    pack_fini(&p);
    cJSON_Delete(tree);
}

static void
what_json_cannot_say_is_refused(void **state)
{
    json_out j = { 0 };

    (void)state;
    CHECK(!json_from_pack(&j, VIEW_LIT("\xc4\x01x")));    /* bin */
    CHECK(!json_from_pack(&j, VIEW_LIT("\x81\x01\x02"))); /* a number as name */
    CHECK(!json_from_pack(&j, VIEW_LIT("\x92\x01")));
    json_out_free(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_packed_is_read_back),
        TEST(nil_is_there_but_counts_as_missing),
        TEST(a_header_that_promises_more_than_there_is_is_refused),
        TEST(bytes_behind_the_value_are_refused),
        TEST(every_kind_of_header_is_sound_when_whole),
        TEST(nesting_ends_at_32),
        TEST(a_json_tree_becomes_the_same_json_again),
        TEST(what_json_cannot_say_is_refused),
    };

    return crypto_start() < 0 || cmocka_run_group_tests_name("proto/pack", tests, NULL, NULL);
}
