/* front.h - the state of one front actor, for the files of api/ alone. */
#ifndef HALTLESS_API_FRONT_H
#define HALTLESS_API_FRONT_H

#include "api/http.h"
#include "api/limits.h"
#include "api/route.h"
#include "api/usage.h"
#include "proto/secrets.h"
#include "transport/count.h"

enum { PARAMS_MAX = 4, REQUEST_ID_MAX = 128 };

typedef struct front       front;
typedef struct ask         ask;
typedef struct ws          ws;
typedef struct fleet       fleet;
typedef struct ingest_jobs ingest_jobs;
typedef struct rule_test   rule_test;
typedef struct inflation   inflation;

/* An ask under way: what ak_msg.ctx of its reply points to. */
struct ask {
    call      *c;
    call_then *then;
    ask       *next; /* of the call, or of the free ones */
    uint64_t   corr;
    uint32_t   tag;
    bool       raw;    /* MSG_FAIL and MSG_LATE go to then() as well */
    bool       stream; /* cancelled when the client leaves */
};

typedef struct arena_chunk arena_chunk;
typedef struct postponed   postponed;

struct call {
    exchange    *x; /* NULL: the client is gone */
    front       *f;
    const route *route;
    call        *next; /* all calls under way */
    call        *prev;
    ask         *asks;
    caller       who;
    view         param_names[PARAMS_MAX];
    view         params[PARAMS_MAX];
    uint32_t     param_count;
    uint32_t     reply_tag; /* of the ask whose reply then() is looking at */
    cJSON       *query;
    cJSON       *body;
    view         bytes;
    uint8_t     *inflated;
    route_fn    *drained;
    void        *kept;
    void (*drop)(void *kept);
    arena_chunk *arena;
    uint64_t     began_ns;
    uint64_t     trace;
    uint8_t      request_id_len;
    uint8_t      address_len;
    bool         address_known;
    bool         answered;
    bool         querying; /* counts against the tenant's cap of queries */
    bool         helped; /* a helper thread works for it */
    char         request_id[REQUEST_ID_MAX];
    char         address[64];
};

/* What a timer of the front does; ctx of ak_timer. */
typedef struct front_timer {
    void (*fn)(front *f);
} front_timer;

struct front {
    ak            *k;
    http          *http;
    board         *board;
    const options *options;
    counters      *counters;
    secrets        secrets;
    secrets_stamp  secrets_seen;
    json_out       json;   /* of call_json() */
    json_out       faults; /* of 422s under construction */
    call          *calls;
    call          *free_calls;
    ask           *free_asks;
    limits        *limits;
    usage         *usage;
    ws            *ws;
    fleet         *fleet;
    ingest_jobs   *jobs;
    rule_test     *tests; /* that look for their next machine */
    postponed     *postponed; /* asks that wait for room */
    postponed    **postponed_tail;
    uint32_t       postponed_count;
    uint32_t       calls_under_way;
    inflation     *inflations; /* compressed bodies that are being copied */
    uint64_t       inflating; /* bytes that helpers may fill */
    uint16_t       number;
    bool           stopping;
};

uint64_t front_now_ns(void);  /* monotonic, now: the kernel's clock stands still while H2O runs */
int64_t  front_wall_us(void); /* since the epoch */

/* ---- call.c ---- */
call    *call_new(front *f, exchange *x);
void     call_free_if_over(call *c);
uint64_t call_within_ns(const call *c);    /* how long its route may take */
bool     call_lists(view list, view what); /* is it in a comma-separated header? */
void call_end_all(front *f); /* at a stop: what is unanswered gets its 503 */
void call_unavailable(call *c, uint16_t kind,
                      int rc); /* 503 and what belongs to it; 507 for E_NOSPACE */
void call_send_text(call *c, uint16_t status, const char *content_type, view body);
void call_send_static(call *c, uint16_t status, const char *content_type, view body); /* there for ever: not copied */
/* JSON from `from` on; of a long one the memory is taken and it is sent in pieces. */
void call_send_taken(call *c, uint16_t status, json_out *j, size_t from);
bool call_wants(const call *c, const char *media_type); /* in Accept, by name */
bool call_type_is(view type, const char *what);         /* of a Content-Type; `what` in lower case */
bool call_origin_allowed(const call *c, view origin);   /* by the CORS list */
void call_release_all(front *f);
void call_let_go(call *c); /* of what call_keep() was given; it is not dropped */

/* ---- call_begin.c ---- */
void call_begin(front *f, exchange *x); /* http's on_request */
/* Takes n; false: answered with 429.  n == 0: is there anything left? */
bool call_within_limit(call *c, enum limits_what what, uint64_t key, limits_rate rate, uint64_t n);
uint64_t call_address_key(const call *c); /* what its address, or an account, is counted under */
uint64_t call_account_key(const char *email);

/* ---- call_help.c ---- */
/* The beginning of a job.  work: in a helper thread, with nothing but the job.  done: back on the loop, frees the job;
 * !wanted: the client is gone. */
typedef struct help help;
struct help {
    call *c;
    void (*work)(help *h);
    void (*done)(help *h, bool wanted);
};
bool call_help(help *h); /* false: answered with 503, and the job is still the caller's */

/* ---- call_ask.c ---- */
void call_on_reply(front *f, const ak_msg *m);
/* An ask the caller builds and starts itself. NULL never. */
ask *call_expect(call *c, call_then *then, bool raw);
void call_unexpect(ask *a); /* it could not be started, or is of no interest */
void call_cancel(call *c, uint64_t corr);
void call_retry_asks(front *f);
void call_release_asks(front *f);

/* ---- routes.c ---- */
typedef struct routes_match {
    const route *row; /* NULL: 404, or 405 when allow is not empty */
    char         allow[64];
    uint32_t     param_count;
    view         names[PARAMS_MAX];
    view         params[PARAMS_MAX];
} routes_match;
NODISCARD int routes_build(void); /* once a process: sorts and checks the tables */
/* outside: not below /api/v1.  path: behind that prefix. */
void routes_find(bool outside, view path, view method, routes_match *out);

/* ---- fleet.c ---- */
fleet *fleet_new(void);
void   fleet_free(fleet *fl);
bool   fleet_turn(fleet *fl); /* one slice of a large answer; true: there is more to do */
/* Numbers of a tenant's machines, deleted ones too, in order of creation; 0: there are no more. */
uint32_t fleet_first(fleet *fl, const board *b, uint32_t tenant);
uint32_t fleet_next(const fleet *fl, uint32_t no);

/* ---- readings.c ---- */
bool readings_within_cap(call *c); /* one query more of its tenant; false: answered with 429 */

/* ---- rule_test.c ---- */
enum { RULE_TEST_MS = 30000 };
void rule_test_start(call *c); /* the handler of POST /alert-rules/test */
bool rule_test_turn(front *f); /* looks at some more machines for a test; true: there is more to do */

/* ---- ingest.c ---- */
ingest_jobs *ingest_new(front *f);
void         ingest_free(ingest_jobs *j);
bool         ingest_turn(ingest_jobs *j); /* one slice; true: there is more to do */

/* ---- ws*.c ---- */
ws  *ws_new(front *f);
void ws_free(ws *w);
void ws_on_feed(ws *w, const ak_msg *m);
void ws_on_event(ws *w, const ak_msg *m);
bool ws_on_reply(ws *w, const ak_msg *m); /* false: none of its own */
void ws_tick(ws *w);
void ws_turn(ws *w); /* writes what the turn gathered */
void ws_close_all(ws *w);

#endif
