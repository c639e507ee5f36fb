/* ws_filter.c - {"subscribe":{"machine_ids":[..],"metrics":[..],"types":[..],"min_interval_ms":n}}
 *
 * What is left out is not filtered.  Machines are kept as numbers, metrics as hashes, both sorted.  Heartbeats always come.
 */
#include "api/ws_inner.h"
#include "proto/hash.h"

#include <stdlib.h>

enum { INTERVAL_MS_MAX = 3600000 };

static const char *const type_words[] = { "sensor_update", "alert", "machine_status", "heartbeat", NULL };

void
ws_filter_init(ws_filter *f)
{
    *f = (ws_filter){ .types = WS_TYPES_ALL, .plain = true };
}

void
ws_filter_fini(ws_filter *f)
{
    free(f->machines);
    free(f->metrics);
    ws_filter_init(f);
}

uint64_t
ws_metric_hash(view metric)
{
    return hash64(0, metric.at, metric.len);
}

static int
by_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int
by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Events have no metric. */
bool
ws_filter_wants(const ws_filter *f, uint32_t type, uint32_t machine, uint64_t metric)
{
    if (f->plain)
        return true;
    if (!(f->types & type))
        return false;
    if (type == WS_HEARTBEAT)
        return true;
    if (f->machines != NULL &&
        (f->machine_count == 0 || bsearch(&machine, f->machines, f->machine_count, sizeof machine, by_u32) == NULL))
        return false;
    return f->metrics == NULL || type != WS_SENSOR ||
           (f->metric_count > 0 && bsearch(&metric, f->metrics, f->metric_count, sizeof metric, by_u64) != NULL);
}

/* ---- reading one ---- */

/* False: it is there, but no list of at most WS_FILTER_MAX strings. */
static bool
list_of(const cJSON *subscribe, const char *name, const cJSON **list)
{
    const cJSON *item;
    uint32_t     count = 0;

    *list = cJSON_GetObjectItemCaseSensitive(subscribe, name);
    if (*list == NULL || cJSON_IsNull(*list)) {
        *list = NULL;
        return true;
    }
    if (!cJSON_IsArray(*list))
        return false;
    cJSON_ArrayForEach(item, *list) if (!cJSON_IsString(item) || ++count > WS_FILTER_MAX) return false;
    return true;
}

/* Of another tenant, or not there: none of its frames will come. */
static void
read_machines(ws_filter *f, const board *b, uint32_t tenant, const cJSON *ids)
{
    const cJSON *item;

    f->machines = calloc((size_t)cJSON_GetArraySize(ids) + 1, sizeof *f->machines);
    ASSERT(f->machines != NULL);
    cJSON_ArrayForEach(item, ids)
    {
        board_machine m;
        uuid          id;

        if (uuid_parse(view_str(item->valuestring), &id) && board_find_machine_id(b, &id, &m) != 0 && m.tenant == tenant)
            f->machines[f->machine_count++] = m.no;
    }
    qsort(f->machines, f->machine_count, sizeof *f->machines, by_u32);
}

static void
read_metrics(ws_filter *f, const cJSON *metrics)
{
    const cJSON *item;

    f->metrics = calloc((size_t)cJSON_GetArraySize(metrics) + 1, sizeof *f->metrics);
    ASSERT(f->metrics != NULL);
    cJSON_ArrayForEach(item, metrics) f->metrics[f->metric_count++] = ws_metric_hash(view_str(item->valuestring));
    qsort(f->metrics, f->metric_count, sizeof *f->metrics, by_u64);
}

static bool
read_types(ws_filter *f, const cJSON *types)
{
    const cJSON *item;

    f->types = WS_HEARTBEAT;
    cJSON_ArrayForEach(item, types)
    {
        int i = word_index(type_words, view_str(item->valuestring));

        if (i < 0)
            return false;
        f->types |= 1u << i;
    }
    return true;
}

const char *
ws_filter_read(ws_filter *f, const board *b, uint32_t tenant, const cJSON *subscribe)
{
    const cJSON *interval = cJSON_GetObjectItemCaseSensitive(subscribe, "min_interval_ms");
    const cJSON *machines, *metrics, *types;
    ws_filter    fresh;

    if (!cJSON_IsObject(subscribe))
        return "subscribe must be an object";
    if (!list_of(subscribe, "machine_ids", &machines))
        return "machine_ids must be a list of at most 1000 strings";
    if (!list_of(subscribe, "metrics", &metrics))
        return "metrics must be a list of at most 1000 strings";
    if (!list_of(subscribe, "types", &types))
        return "types must be a list of strings";
    if (interval != NULL && !cJSON_IsNull(interval) &&
        (!cJSON_IsNumber(interval) || !(interval->valuedouble >= 0 && interval->valuedouble <= INTERVAL_MS_MAX)))
        return "min_interval_ms must be a number from 0 to 3600000";
    ws_filter_init(&fresh);
    if (types != NULL && !read_types(&fresh, types))
        return "types must be among sensor_update, alert, machine_status, heartbeat";
    if (machines != NULL)
        read_machines(&fresh, b, tenant, machines);
    if (metrics != NULL)
        read_metrics(&fresh, metrics);
    if (cJSON_IsNumber(interval))
        fresh.min_interval_ms = (uint32_t)interval->valuedouble;
    fresh.plain = machines == NULL && metrics == NULL && fresh.types == WS_TYPES_ALL && fresh.min_interval_ms == 0;
    ws_filter_fini(f);
    *f = fresh;
    return NULL;
}
