#include "tests/unit/check.h"

#include "proto/readings.h"

static void
check_text(enum reading_error code, const char *want)
{
    char   out[128];
    size_t len = reading_error_text(code, VIEW_LIT("value"), out, sizeof out);

    CHECK_VIEW(view_of(out, len), want);
}

static void
every_error_has_its_documented_text(void **state)
{
    (void)state;
    check_text(READING_OK, "");
    check_text(READING_NOT_OBJECT, "Reading must be an object");
    check_text(READING_DUPLICATE, "Duplicate member: value");
    check_text(READING_MACHINE_MISSING, "Machine identifier is required");
    check_text(READING_MACHINE_TYPE, "Machine identifier must be a string");
    check_text(READING_UNKNOWN_MACHINE, "Machine not found");
    check_text(READING_TIME_MISSING, "Timestamp is required");
    check_text(READING_TIME_TYPE, "Timestamp must be a string");
    check_text(READING_TIME_FORMAT, "Timestamp is not RFC 3339");
    check_text(READING_TIME_FUTURE, "Timestamp is more than 5 minutes in the future");
    check_text(READING_TIME_OLD, "Timestamp is older than 3650 days");
    check_text(READING_METRIC_MISSING, "Metric name is required");
    check_text(READING_METRIC_TYPE, "Metric name must be a string");
    check_text(READING_METRIC_LEN, "Metric name must have 1 to 255 characters");
    check_text(READING_VALUE_MISSING, "Value is required");
    check_text(READING_VALUE_FINITE, "Value must be finite");
    check_text(READING_VALUE_TYPE, "Value must be a number");
    check_text(READING_UNIT_MISSING, "Unit is required");
    check_text(READING_UNIT_TYPE, "Unit must be a string");
    check_text(READING_UNIT_LEN, "Unit must have at most 64 characters");
    check_text(READING_TAG_TYPE, "Raw tag must be a string");
    check_text(READING_TAG_LEN, "Raw tag must have at most 255 characters");
}

static void
a_text_is_cut_at_the_room_there_is(void **state)
{
    char out[64];

    (void)state;
    for (size_t room = 0; room < 40; room++) {
        memset(out, '#', sizeof out);
        size_t len = reading_error_text(READING_DUPLICATE, VIEW_LIT("metric_name"), out, room);

        CHECK_EQ(len, room < 29 ? room : 29);
        CHECK(memcmp(out, "Duplicate member: metric_name", len) == 0);
        CHECK_EQ(out[len], '#');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_error_has_its_documented_text),
        TEST(a_text_is_cut_at_the_room_there_is),
    };

    return cmocka_run_group_tests_name("proto/readings", tests, NULL, NULL);
}
