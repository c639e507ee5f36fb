/* notice.c - the body of a notification, in the form that its channel's type wants.
 *
 *   webhook   {"event","timestamp","tenant_id","alert":{...}}       as the API has it
 *   slack     {"text"}                                              &, < and > escaped
 *   teams     {"@type":"MessageCard",...}                           theme colour by severity
 *   email     {"subject","text"}                                    the notifier makes a message of it
 */
#include "actors/registry_notify.h"
#include "proto/instant.h"

#include <stdio.h>
#include <stdlib.h>

const char *const notice_words[] = { "alert.triggered", "alert.resolved", "alert.escalated", "alert.storm", "test", NULL };
static const char *const colours[] = { "2F6FDE", "E0A100", "C62828" }; /* by severity */
static const char quiet_colour[] = "2E7D32";

/* ---- one line of text, of any length ---- */
typedef struct line {
    char  *at;
    size_t len;
    FILE  *to;
} line;

static void
line_begin(line *l)
{
    *l = (line){ 0 };
    l->to = open_memstream(&l->at, &l->len);
    ASSERT(l->to != NULL);
}

static view
line_end(line *l)
{
    int rc = fclose(l->to);

    ASSERT(rc == 0);
    return view_of(l->at, l->len);
}

static void
put(line *l, view v)
{
    fwrite(v.at, 1, v.len, l->to);
}

static void
put_alert(line *l, const reg_alert *a, enum notice_event event, const reg_escalation *by)
{
    if (event == NOTICE_RESOLVED)
        fputs("[resolved] ", l->to);
    else if (event == NOTICE_ESCALATED)
        fprintf(l->to, "[%s, open for %u min] ", severity_words[a->severity], by->wait_minutes);
    else
        fprintf(l->to, "[%s] ", severity_words[a->severity]);
    put(l, a->machine->name);
    fputs(": ", l->to);
    put(l, a->message);
}

static void
put_instant(line *l, int64_t us)
{
    char text[INSTANT_TEXT_MAX];

    put(l, view_of(text, instant_format(us, text)));
}

static void
put_storm(line *l, const reg_storm *s)
{
    fprintf(l->to, "%u more alerts from ", s->triggered);
    put_instant(l, s->from_us);
    fputs(" to ", l->to);
    put_instant(l, s->until_us);
    fprintf(l->to, " are not told one by one: %u critical, %u warning, %u info. %u were resolved.",
            s->of_severity[SEVERITY_CRITICAL], s->of_severity[SEVERITY_WARNING], s->of_severity[SEVERITY_INFO],
            s->resolved);
}

/* ---- forms ---- */
static void
slack_form(json_out *body, view text)
{
    line l;

    line_begin(&l);
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '&')
            fputs("&amp;", l.to);
        else if (text.at[i] == '<')
            fputs("&lt;", l.to);
        else if (text.at[i] == '>')
            fputs("&gt;", l.to);
        else
            fputc(text.at[i], l.to);
    }
    json_open(body, '{');
    json_name_string(body, "text", line_end(&l));
    json_close(body, '}');
    free(l.at);
}

static void
teams_form(json_out *body, view text, const char *colour)
{
    json_open(body, '{');
    json_name_string(body, "@type", VIEW_LIT("MessageCard"));
    json_name_string(body, "@context", VIEW_LIT("http://schema.org/extensions"));
    json_name_string(body, "themeColor", view_str(colour));
    json_name_string(body, "summary", text);
    json_name_string(body, "text", text);
    json_close(body, '}');
}

static void
email_form(json_out *body, view text)
{
    json_open(body, '{');
    json_name_string(body, "subject", text);
    json_name_string(body, "text", text);
    json_close(body, '}');
}

/* True: the type wants text, and has it. */
static bool
text_form(json_out *body, const reg_channel *ch, view text, const char *colour)
{
    switch ((enum channel_type)ch->type) {
    case CHANNEL_SLACK:
        slack_form(body, text);
        return true;
    case CHANNEL_TEAMS:
        teams_form(body, text, colour);
        return true;
    case CHANNEL_EMAIL:
        email_form(body, text);
        return true;
    default:
        return false;
    }
}

static void
open_webhook(json_out *body, const reg_channel *ch, enum notice_event event, int64_t now_us)
{
    json_open(body, '{');
    json_name_string(body, "event", view_str(notice_words[event]));
    json_name_time(body, "timestamp", now_us);
    json_name_uuid(body, "tenant_id", &ch->tenant->id);
}

/* ---- what is told ---- */
static void
alert_member(json_out *body, const reg_alert *a)
{
    json_name(body, VIEW_LIT("alert"));
    json_open(body, '{');
    json_name_uuid(body, "id", &a->id);
    json_name_uuid(body, "machine_id", &a->machine->id);
    json_name_string(body, "machine_name", a->machine->name);
    json_name_string(body, "severity", view_str(severity_words[a->severity]));
    json_name_string(body, "message", a->message);
    json_name_string(body, "metric_name", a->metric);
    json_name_number(body, "metric_value", a->value);
    json_name_number(body, "threshold_value", a->threshold);
    json_name_uuid(body, "rule_id", &a->rule->id);
    json_name_time(body, "created_at", a->created_us);
    if (!reg_alert_is_open(a))
        json_name_time(body, "resolved_at", a->resolved_us);
    json_close(body, '}');
}

static void
escalation_member(json_out *body, const reg_escalation *by)
{
    json_name(body, VIEW_LIT("escalation"));
    json_open(body, '{');
    json_name_uuid(body, "policy_id", &by->id);
    json_name_string(body, "name", by->name);
    json_name_int(body, "wait_minutes", by->wait_minutes);
    json_close(body, '}');
}

void
notice_alert(json_out *body, const reg_channel *ch, const reg_alert *a, enum notice_event event, int64_t now_us,
             const reg_escalation *by)
{
    line l;

    line_begin(&l);
    put_alert(&l, a, event, by);
    if (!text_form(body, ch, line_end(&l), event == NOTICE_RESOLVED ? quiet_colour : colours[a->severity])) {
        open_webhook(body, ch, event, now_us);
        alert_member(body, a);
        if (by != NULL)
            escalation_member(body, by);
        json_close(body, '}');
    }
    free(l.at);
}

void
notice_storm(json_out *body, const reg_channel *ch, const reg_storm *s, int64_t now_us)
{
    line l;

    line_begin(&l);
    put_storm(&l, s);
    view text = line_end(&l);
    if (!text_form(body, ch, text, colours[SEVERITY_CRITICAL])) {
        open_webhook(body, ch, NOTICE_STORM, now_us);
        json_name_string(body, "message", text);
        json_name(body, VIEW_LIT("storm"));
        json_open(body, '{');
        json_name_time(body, "from", s->from_us);
        json_name_time(body, "to", s->until_us);
        json_name_int(body, "triggered_count", s->triggered);
        json_name_int(body, "resolved_count", s->resolved);
        json_name_int(body, "critical_count", s->of_severity[SEVERITY_CRITICAL]);
        json_name_int(body, "warning_count", s->of_severity[SEVERITY_WARNING]);
        json_name_int(body, "info_count", s->of_severity[SEVERITY_INFO]);
        json_close(body, '}');
        json_close(body, '}');
    }
    free(l.at);
}

void
notice_test(json_out *body, const reg_channel *ch, int64_t now_us)
{
    line l;

    line_begin(&l);
    fputs("This is a test of the notification channel ", l.to);
    put(&l, ch->name);
    fputc('.', l.to);
    view text = line_end(&l);
    if (!text_form(body, ch, text, quiet_colour)) {
        open_webhook(body, ch, NOTICE_TEST, now_us);
        json_name_string(body, "message", text);
        json_close(body, '}');
    }
    free(l.at);
}
