/* schema_query.c - any query string is refused, or gives an object of the rows' names and valid
 * fault items. */
#include "tests/fuzz/fuzz.h"

#include "proto/schema.h"

const view fuzz_seeds[] = {
    VIEW_LIT("metric=temperature,vibration&start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00%2B02:"
             "00&limit=10"),
    VIEW_LIT("metric=a%2Cb&metric=c&order=desc&fill=true&email=a%40b.c&id=00000000-0000-4000-8000-"
             "000000000000"),
    VIEW_LIT("limit=1e3&&=&order=&x"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("&"),        VIEW_LIT("="),          VIEW_LIT("%"),       VIEW_LIT("%00"),
    VIEW_LIT("%ff"),      VIEW_LIT("+"),          VIEW_LIT(","),       VIEW_LIT("%2C"),
    VIEW_LIT("&limit="),  VIEW_LIT("&fill="),     VIEW_LIT("1e999"),   VIEW_LIT("%c3%a9"),
    VIEW_LIT("&metric="), VIEW_LIT("&order=asc"), VIEW_LIT("&email="), VIEW_LIT("@"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static const field metric = { "", FIELD_STRING, 0, 1, 10, NULL, NULL, "" };
static const field rows[] = {
    { "metric", FIELD_ARRAY, 0, 0, 4, NULL, &metric, "" },
    { "start", FIELD_TIME, 0, 0, 0, NULL, NULL, "" },
    { "end", FIELD_TIME, 0, 0, 0, NULL, NULL, "" },
    { "limit", FIELD_INTEGER, 0, 1, 10000, NULL, NULL, "" },
    { "order", FIELD_ENUM, 0, 0, 0, "asc|desc", NULL, "" },
    { "fill", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "" },
    { "email", FIELD_EMAIL, 0, 0, 0, NULL, NULL, "" },
    { "id", FIELD_UUID, 0, 0, 0, NULL, NULL, "" },
    { 0 },
};
static const schema query = { "Query", rows };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_out faults = { 0 };
    uint32_t count = 0;
    cJSON   *object, *list;

    json_open(&faults, '[');
    object = schema_query(&query, view_of(data, len), &faults, &count);
    json_close(&faults, ']');
    ASSERT(!faults.failed);
    list = json_parse(view_of(faults.at, faults.len));
    ASSERT(cJSON_IsArray(list) && (cJSON_GetArraySize(list) == 0) == (count == 0));
    if (object != NULL && count == 0) {
        const cJSON *limit = cJSON_GetObjectItemCaseSensitive(object, "limit");

        ASSERT(limit == NULL || (limit->valuedouble >= 1 && limit->valuedouble <= 10000));
    }
    cJSON_Delete(list);
    cJSON_Delete(object);
    json_out_free(&faults);
    return 0;
}
