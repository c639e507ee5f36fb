/* The rule of a machine's status, edge by edge. */
#include "tests/unit/check.h"

#include "actors/status.h"

#define NOW INT64_C(1700000000000000)

static board_machine
machine(uint32_t critical, uint32_t warning)
{
    return (board_machine){ .offline_after_s = 300, .open_critical = critical, .open_warning = warning };
}

static void
a_machine_that_never_reported_is_offline(void **state)
{
    board_machine m = machine(1, 1);
    board_arrival never = { 0 };

    (void)state;
    CHECK_EQ(machine_status_of(&m, NULL, NOW), STATUS_OFFLINE);
    CHECK_EQ(machine_status_of(&m, &never, NOW), STATUS_OFFLINE);
}

static void
silence_of_offline_after_seconds_is_offline(void **state)
{
    board_machine m = machine(0, 0);
    board_arrival in_time = { .arrived_us = NOW - 299999999, .newest_us = 1 };
    board_arrival late = { .arrived_us = NOW - 300000000, .newest_us = NOW };

    (void)state;
    CHECK_EQ(machine_status_of(&m, &in_time, NOW), STATUS_HEALTHY);
    CHECK_EQ(machine_status_of(&m, &late, NOW), STATUS_OFFLINE);
}

static void
the_worst_open_alert_is_the_status(void **state)
{
    board_arrival now = { .arrived_us = NOW };
    board_machine both = machine(1, 2);
    board_machine warning = machine(0, 2);

    (void)state;
    CHECK_EQ(machine_status_of(&both, &now, NOW), STATUS_CRITICAL);
    CHECK_EQ(machine_status_of(&warning, &now, NOW), STATUS_WARNING);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_machine_that_never_reported_is_offline),
        TEST(silence_of_offline_after_seconds_is_offline),
        TEST(the_worst_open_alert_is_the_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
