/* readings_json.c - the JSON decoder keeps its promises, sees nothing behind the body, and agrees
 * with cJSON on whatever it takes. */
#include "proto/num.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/readings_check.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

enum { PADDING = 16 };

#define GOOD                                                                                       \
    "{\"machine_identifier\":\"CNC-001\",\"timestamp\":\"2026-02-27T10:30:00Z\","                  \
    "\"metric_name\":\"temperature\",\"value\":72.5,\"unit\":\"celsius\"}"
#define ODD                                                                                        \
    "{ \"unit\" : \"\xc2\xb0\\u0043\", \"value\":-1.5e-3 ,\"metric_name\":\"\\ud83d\\ude00\\n\","  \
    "\"raw_tag\":\"ns=2\",\"x\":[1,{\"y\":null},true,\"\\\"\"],"                                   \
    "\"timestamp\":\"2026-02-27T12:30:00.5+02:00\",\"machine_identifier\":\"a\\\\b\"}"

const view fuzz_seeds[] = {
    VIEW_LIT("{\"readings\":[" GOOD "]}"),
    VIEW_LIT("{\"readings\":[" GOOD "," ODD "]}"),
    VIEW_LIT(" {\"a\":{\"readings\":[]},\"readings\" : [" ODD " ,\n" GOOD ", 12, {} ] ,\"z\":\"\"}\n"),
    VIEW_LIT("{\"readings\":[{\"value\":NaN,\"value\":-Infinity,\"unit\":1}]}"),
    VIEW_LIT("{\"readings\":{}}"),
    VIEW_LIT(GOOD "\n" ODD "\n"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\"machine_identifier\":"), VIEW_LIT("\"timestamp\":"), VIEW_LIT("\"metric_name\":"),
    VIEW_LIT("\"value\":"), VIEW_LIT("\"unit\":"), VIEW_LIT("\"raw_tag\":"), VIEW_LIT("\"readings\":["),
    VIEW_LIT("\""), VIEW_LIT("\\"), VIEW_LIT("\\u00e9"), VIEW_LIT("\\ud83d"), VIEW_LIT("\\ude00"),
    VIEW_LIT("\xe2\x82\xac"), VIEW_LIT("\xf0\x9f\x98\x80"), VIEW_LIT("{"), VIEW_LIT("}"), VIEW_LIT("["),
    VIEW_LIT("]"), VIEW_LIT(","), VIEW_LIT(":"), VIEW_LIT(" "), VIEW_LIT("\n"), VIEW_LIT("null"),
    VIEW_LIT("true"), VIEW_LIT("NaN"), VIEW_LIT("-Infinity"), VIEW_LIT("1e999"), VIEW_LIT("-0"),
    VIEW_LIT("12345678901234567890"), VIEW_LIT("0.1"), VIEW_LIT(",{}"), VIEW_LIT("," GOOD), VIEW_LIT("," ODD),
    VIEW_LIT("\"x\":[[[[]]]],"), VIEW_LIT("\"x\":{\"y\":0},"), VIEW_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    VIEW_LIT("\x7f"), VIEW_LIT("\x1f"), VIEW_LIT("\xed\xa0\x80"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

typedef struct outcome {
    enum readings_next end;
    size_t             count;
    size_t             offset;
    uint64_t           sum; /* of everything that was found */
} outcome;

/* The next element of cJSON's array says the same. */
static void
compare(const reading *r, const cJSON *item)
{
    const cJSON *machine = cJSON_GetObjectItemCaseSensitive(item, "machine_identifier");
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, "value");

    if (r->error == READING_NOT_OBJECT) {
        ASSERT(!cJSON_IsObject(item));
        return;
    }
    ASSERT(cJSON_IsObject(item));
    if (r->machine.len < 1000 && cJSON_IsString(machine) && memchr(r->machine.at, 0, r->machine.len) == NULL)
        ASSERT(view_eq(r->machine, view_str(machine->valuestring)));
    if (r->error == READING_OK)
        ASSERT(cJSON_IsNumber(value) && memcmp(&r->value, &value->valuedouble, sizeof r->value) == 0);
}

static outcome
decode(view body, uint8_t padding, bool lines, uint32_t window, const cJSON *item)
{
    static readings_decoder d;
    reading                 r;
    outcome                 o = { 0 };
    uint8_t                *exact = malloc(body.len + PADDING);

    ASSERT(exact != NULL);
    memcpy(exact, body.at, body.len);
    memset(exact + body.len, padding, PADDING);
    body.at = exact;
    if (lines)
        readings_ndjson_start(&d, body);
    else
        readings_json_start(&d, body);
    d.window = window;
    while ((o.end = readings_json_next(&d, &r)) > READINGS_END) {
        if (o.end == READINGS_PAUSE)
            continue;
        check_reading(&r, body, &d);
        o.sum = check_mix(o.sum, &r);
        if (item != NULL) {
            compare(&r, item);
            item = item->next;
        }
        ASSERT(++o.count <= body.len);
    }
    o.offset = readings_offset(&d);
    ASSERT(o.offset <= body.len);
    ASSERT(readings_json_next(&d, &r) == o.end);
    ASSERT((o.end == READINGS_SCHEMA) <= (readings_schema_type(&d) != NULL));
    free(exact);
    return o;
}

/* cJSON reads numbers of up to 63 characters, and no NaN: such bodies are not compared. */
static bool
is_comparable(view body)
{
    size_t run = 0;

    for (size_t i = 0; i < body.len; i++) {
        uint8_t c = body.at[i];

        if (c == 'N' || c == 'I')
            return false;
        run = (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' ? run + 1 : 0;
        if (run > 50)
            return false;
    }
    return true;
}

static void
check_against_cjson(view body, outcome o)
{
    cJSON *tree = cJSON_ParseWithLength((const char *)body.at, body.len);

    ASSERT(tree != NULL); /* we are the stricter one */
    const cJSON *readings = cJSON_GetObjectItemCaseSensitive(tree, "readings");

    ASSERT(cJSON_IsArray(readings) && (size_t)cJSON_GetArraySize(readings) == o.count);
    if (readings->child != NULL)
        decode(body, 0, false, READINGS_WINDOW, readings->child);
    cJSON_Delete(tree);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t  paddings[] = { '"', '}', ' ', '7', 0xff };
    static const uint32_t windows[] = { 1, 2, 3, 5, 8, 16, 31, 64, 100, 200 };
    view                  body = view_of(data, len);

    for (int lines = 0; lines < 2; lines++) {
        outcome first = decode(body, 0, lines != 0, READINGS_WINDOW, NULL);

        for (size_t i = 0; i < COUNT_OF(paddings); i++) {
            outcome other = decode(body, paddings[i], lines != 0, READINGS_WINDOW, NULL);

            ASSERT(other.end == first.end && other.count == first.count &&
                   other.offset == first.offset && other.sum == first.sum);
        }
        for (size_t i = 0; i < COUNT_OF(windows); i++) { /* stops between any two bytes change nothing */
            outcome other = decode(body, paddings[i % COUNT_OF(paddings)], lines != 0, windows[i], NULL);

            ASSERT(other.end == first.end && other.count == first.count && other.sum == first.sum);
            ASSERT(other.offset == first.offset || first.end == READINGS_SYNTAX);
        }
        if (lines == 0 && first.end == READINGS_END && is_comparable(body))
            check_against_cjson(body, first);
    }
    return 0;
}
