/* watch_json.c - a look at a node as one JSON object: node, actors, lanes, faults.
 *
 *   { "node": {...}, "actors": [ { ..., "counters": {...}, "queueing": {...}, "types": [...] } ],
 *     "lanes": [...], "faults": [...] }
 *
 * Numbers have the names of their rows.  Times of a histogram are of the node's whole life.
 */
#include "tools/watch.h"

#include "proto/json.h"

static void
put_hist(json_out *j, const char *name, const hist *h)
{
    static const struct {
        const char *name;
        double      q;
    } rows[] = { { "p50_us", 0.5 }, { "p99_us", 0.99 }, { "p999_us", 0.999 } };

    json_name(j, view_str(name));
    json_open(j, '{');
    json_name_int(j, "count", (int64_t)h->count);
    json_name_number(j, "sum_us", (double)h->sum_ns / 1e3);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        json_name_number(j, rows[i].name, (double)hist_quantile_ns(h, rows[i].q) / 1e3);
    json_close(j, '}');
}

/* "queueing_seconds" -> "queueing": here it is in microseconds. */
static const char *
hist_name(int which, char out[WATCH_NAME_MAX])
{
    const char *name = histogram_rows[which].name;
    const char *end = strstr(name, "_seconds");

    (void)snprintf(out, WATCH_NAME_MAX, "%.*s", (int)(end == NULL ? strlen(name) : (size_t)(end - name)), name);
    return out;
}

static void
put_type(json_out *j, const counters *c, uint32_t place, uint16_t type)
{
    char name[WATCH_NAME_MAX];

    json_open(j, '{');
    json_name_string(j, "type", view_str(type == 0 ? "other" : watch_type(type, name)));
    for (int i = 0; i < HISTOGRAMS; i++) {
        hist h = { 0 };

        if (!histogram_rows[i].by_type)
            continue;
        hist_read_type(&h, c, (enum histogram)i, place);
        put_hist(j, hist_name(i, name), &h);
    }
    json_close(j, '}');
}

static void
put_counts(json_out *j, const watch_actor *a)
{
    char     name[WATCH_NAME_MAX];
    uint16_t type;

    json_name_int(j, "messages", (int64_t)a->messages);
    json_name_number(j, "messages_per_s", a->messages_s);
    json_name_int(j, "steps", (int64_t)a->steps);
    json_name_number(j, "steps_per_s", a->steps_s);
    for (int i = 0; i < HISTOGRAMS; i++)
        put_hist(j, hist_name(i, name), &a->total[i]);
    json_name(j, VIEW_LIT("types"));
    json_open(j, '[');
    for (uint32_t place = 0; place < COUNT_TYPES; place++)
        if (count_type_at(a->counters, place, &type))
            put_type(j, a->counters, place, type);
    json_close(j, ']');
    json_name(j, VIEW_LIT("counters"));
    json_open(j, '{');
    for (int i = 0; i < COUNTERS; i++)
        json_name_int(j, counter_rows[i].name, (int64_t)count_get(a->counters, (enum counter)i));
    json_close(j, '}');
}

static void
put_actor(json_out *j, const watch_actor *a)
{
    char name[WATCH_NAME_MAX];

    json_open(j, '{');
    json_name_string(j, "actor", view_str(watch_name(a->who, name)));
    json_name_int(j, "group", a->group);
    json_name_string(j, "state", view_str(watch_state(a)));
    if (a->seat != NULL) {
        json_name_int(j, "pid", atomic_load(&a->seat->pid));
        json_name_int(j, "epoch", atomic_load(&a->seat->epoch));
        json_name_int(j, "restarts", atomic_load(&a->seat->restarts));
        json_name_int(j, "last_exit", atomic_load(&a->seat->last_exit));
    }
    json_name_int(j, "depth", (int64_t)a->depth);
    json_name_int(j, "high_water", (int64_t)a->most);
    json_name_int(j, "faults", (int64_t)a->faults);
    if (a->counters != NULL)
        put_counts(j, a);
    json_close(j, '}');
}

static void
put_lane(json_out *j, const watch_lane *l)
{
    char name[WATCH_NAME_MAX];

    json_open(j, '{');
    json_name_string(j, "from", view_str(watch_name(l->edge->from, name)));
    json_name_string(j, "to", view_str(watch_name(l->edge->to, name)));
    json_name_string(j, "carrier", view_str(l->edge->carrier == CARRIER_ZMQ ? "zmq" : "ring"));
    json_name_int(j, "capacity", (int64_t)l->edge->capacity);
    json_name_int(j, "full", (int64_t)l->refused.full);
    json_name_int(j, "shed", (int64_t)l->refused.shed);
    json_name_bool(j, "far", l->edge->side == EDGE_COMES_IN); /* it lies on its producer's node */
    json_name_bool(j, "sound", l->sound);
    if (l->sound) {
        json_name_int(j, "bytes", (int64_t)l->bytes);
        json_name_int(j, "messages", (int64_t)l->messages);
        json_name_bool(j, "more_messages", l->cut);
        json_name_int(j, "high_water", (int64_t)l->most);
        json_name_int(j, "published", (int64_t)l->tail);
        json_name_number(j, "bytes_per_s", l->bytes_s);
    }
    json_close(j, '}');
}

static void
put_fault(json_out *j, const watch_fault *f)
{
    json_open(j, '{');
    json_name_string(j, "event", view_str(f->fault.event));
    json_name_string(j, "place", view_str(f->fault.place));
    json_name_string(j, "actor", view_str(f->fault.actor));
    json_name_string(j, "process", view_str(f->process));
    json_name_string(j, "level", view_str(f->fault.warning ? "warning" : "error"));
    json_name_int(j, "count", (int64_t)f->fault.count);
    json_name_time(j, "first", f->fault.first_us);
    json_name_time(j, "last", f->fault.last_us);
    json_name_string(j, "text", view_str(f->fault.text));
    json_close(j, '}');
}

static void
put_node(json_out *j, const watch *w)
{
    json_name(j, VIEW_LIT("node"));
    json_open(j, '{');
    json_name_string(j, "run_dir", view_str(w->run.path));
    json_name_string(j, "data_dir", view_str(w->run.data_dir));
    json_name_uuid(j, "generation", &w->run.generation);
    json_name_int(j, "actors", w->run.plan.slots);
    json_name_int(j, "living", w->living);
    json_name_int(j, "lanes", w->run.plan.edges);
    json_close(j, '}');
}

void
watch_json(const watch *w, FILE *out)
{
    json_out j = { 0 };

    json_open(&j, '{');
    put_node(&j, w);
    json_name(&j, VIEW_LIT("actors"));
    json_open(&j, '[');
    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        put_actor(&j, &w->actor[i]);
    json_close(&j, ']');
    json_name(&j, VIEW_LIT("lanes"));
    json_open(&j, '[');
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        put_lane(&j, &w->lane[i]);
    json_close(&j, ']');
    json_name(&j, VIEW_LIT("faults"));
    json_open(&j, '[');
    for (uint32_t i = 0; i < w->faults; i++)
        put_fault(&j, &w->fault[i]);
    json_close(&j, ']');
    json_close(&j, '}');
    if (!j.failed)
        (void)fprintf(out, "%.*s\n", (int)j.len, j.at);
    (void)fflush(out);
    json_out_free(&j);
}
