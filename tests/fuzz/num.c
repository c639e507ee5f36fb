/* num.c - numbers are what strtod makes of them; doubles come back from their text. */
#include "tests/fuzz/fuzz.h"

#include "proto/num.h"

#include <math.h>
#include <stdlib.h>

const view fuzz_seeds[] = {
    VIEW_LIT("72.5"), VIEW_LIT("-0.0e-5"), VIEW_LIT("1e308"), VIEW_LIT("9007199254740993"),
    VIEW_LIT("1.00000000000000011102230246251565404236316680908203125"), VIEW_LIT("4.9406564584124654e-324"),
    VIEW_LIT("2.2250738585072011e-308"), VIEW_LIT("18446744073709551616"), VIEW_LIT("123456.789e-27"),
    VIEW_LIT("72.49999999999999"), VIEW_LIT("1.7976931348623158e308"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("0"), VIEW_LIT("."), VIEW_LIT("e"), VIEW_LIT("E+"), VIEW_LIT("-"), VIEW_LIT("e-3"),
    VIEW_LIT("00000000000000000000"), VIEW_LIT("99999999999999999999"), VIEW_LIT("e22"),
    VIEW_LIT("9007199254740993"), VIEW_LIT("5"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static bool
same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void
check_parse(const uint8_t *data, size_t len)
{
    double v = 0;
    char  *end;
    size_t taken = num_parse(view_of(data, len), &v);
    char  *text = malloc(len + 1);

    ASSERT(text != NULL && taken <= len);
    memcpy(text, data, taken);
    text[taken] = '\0';
    if (taken > 0) { /* nobody sets a locale here: strtod reads as "C" has it */
        double want = strtod(text, &end);

        ASSERT(end == text + taken && same(v, want));
    }
    free(text);
}

static void
check_format(double v)
{
    char   text[NUM_TEXT_MAX];
    double back = 0;
    size_t len = num_format(v, text);

    ASSERT(len > 0 && len <= 25);
    ASSERT(num_parse(view_of(text, len), &back) == len && same(back, v));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    double v;

    check_parse(data, len);
    if (num_parse(view_of(data, len), &v) > 0 && isfinite(v))
        check_format(v);
    if (len < sizeof v)
        return 0;
    memcpy(&v, data, sizeof v);
    if (isfinite(v))
        check_format(v);
    return 0;
}
