/* Kinds and messages of one's own. */
#include "proto/own.h"
#include "tests/unit/check.h"

static void
what_is_made_known_has_a_name_and_bounds(void **state)
{
    char name[MSG_NAME_MAX];

    (void)state;
    CHECK(strcmp(kind_name(KIND_OWN), "?") == 0 && msg_row_of(MSG_OWN) == NULL);
    CHECK(own_kind(KIND_OWN, "pump") && own_message(MSG_OWN, "turn", 4, 8, 16));
    CHECK(strcmp(kind_name(KIND_OWN), "pump") == 0 && strcmp(kind_name(KIND_OWN + 1), "?") == 0);
    CHECK(msg_row_of(MSG_OWN)->body_min == 4 && msg_row_of(MSG_OWN)->body_max == 8);
    CHECK_EQ(msg_row_of(MSG_OWN)->reply_max, 16);
    CHECK(strcmp(msg_name(MSG_OWN, name), "turn") == 0 && strcmp(msg_name(MSG_READINGS, name), "readings") == 0);
    CHECK(strcmp(msg_name(MSG_MAX - 1, name), "?") == 0);
}

static void
numbers_of_the_system_and_what_is_no_name_are_refused(void **state)
{
    (void)state;
    CHECK(!own_kind(KIND_FRONT, "pump") && !own_kind(KIND_MAX, "pump"));
    CHECK(!own_message(MSG_READINGS, "turn", 0, 0, 0) && !own_message(MSG_MAX, "turn", 0, 0, 0));
    CHECK(!own_message(MSG_OWN + 1, "turn", 9, 8, 0));
    CHECK(!own_kind(KIND_OWN + 1, "") && !own_kind(KIND_OWN + 1, "../pump") && !own_kind(KIND_OWN + 1, "Pump"));
    CHECK(!own_kind(KIND_OWN + 1, "a_name_of_16_chr") && own_kind(KIND_OWN + 1, "a_name_of_15_ch"));
}

static void
names_of_another_process_are_taken_but_not_believed(void **state)
{
    own_names n = *own_names_now();

    (void)state;
    memset(n.kind[2], 'x', OWN_NAME_MAX); /* no end */
    memcpy(n.kind[3], "fan", 4);
    memcpy(n.message[1], "a/b", 4);
    own_names_take(&n);
    CHECK(strcmp(kind_name(KIND_OWN + 2), "?") == 0 && strcmp(kind_name(KIND_OWN + 3), "fan") == 0);
    CHECK(msg_row_of(MSG_OWN + 1) == NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_made_known_has_a_name_and_bounds),
        TEST(numbers_of_the_system_and_what_is_no_name_are_refused),
        TEST(names_of_another_process_are_taken_but_not_believed),
    };

    return cmocka_run_group_tests_name("proto/own", tests, NULL, NULL);
}
