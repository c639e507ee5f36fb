/* password.c - passwords on their way to the worker (password.h).  Their bytes stay out of MessagePack, logs and the
 * registry. */
#include "api/password.h"

#include "proto/crypto.h"
#include "proto/err.h"

static bool
has_letter_and_digit(const char *s)
{
    bool letter = false;
    bool digit = false;

    for (; *s != '\0'; s++) {
        uint8_t c = (uint8_t)*s;

        digit |= c >= '0' && c <= '9';
        /* Beyond ASCII everything counts as a letter. */
        letter |= ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c >= 0x80;
    }
    return letter && digit;
}

static size_t
characters(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s++)
        n += ((uint8_t)*s & 0xc0) != 0x80;
    return n;
}

bool
password_is_good(call *c, const char *member, const char *password)
{
    const char *msg = NULL;

    if (strlen(password) > PASSWORD_BYTES_MAX)
        msg = "Must have at most 1024 bytes";
    else if (characters(password) < PASSWORD_CHARS_MIN)
        msg = "Must have at least 8 characters";
    else if (!has_letter_and_digit(password))
        msg = "Must have a letter and a digit";
    if (msg != NULL)
        call_fail_field(c, "body", member, msg, "value_error");
    return msg == NULL;
}

static void
ask_worker(call *c, uint16_t op, const char *password, view hash, call_then *then)
{
    uint8_t  body[sizeof(work_ask) + PASSWORD_BYTES_MAX + PASSWORD_HASH_MAX];
    uint16_t workers = ak_parts(call_ak(c), KIND_WORKER);
    size_t   len = strlen(password);
    uint16_t part = workers < 2 ? 0 : (uint16_t)(ak_random(call_ak(c)) % workers);
    work_ask head = { .op = op, .password_len = (uint16_t)len, .hash_len = (uint32_t)hash.len };

    ASSERT(len > 0 && len <= PASSWORD_BYTES_MAX && hash.len < PASSWORD_HASH_MAX);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, password, len);
    if (hash.len > 0)
        memcpy(body + sizeof head + len, hash.at, hash.len);
    call_ask(c, addr_of(KIND_WORKER, part), MSG_WORK, body, (uint32_t)(sizeof head + len + hash.len), then);
    explicit_bzero(body, sizeof body);
}

void
password_hash_ask(call *c, const char *password, call_then *then)
{
    ask_worker(c, WORK_HASH_PASSWORD, password, (view){ 0 }, then);
}

void
password_verify_ask(call *c, const char *password, view hash, call_then *then)
{
    ask_worker(c, WORK_VERIFY_PASSWORD, password, hash, then);
}

static work_done
head_of(const ak_msg *reply)
{
    work_done head = { .rc = E_BAD };

    if (reply->type == MSG_WORK_DONE && reply->len >= sizeof head)
        memcpy(&head, reply->body, sizeof head);
    if (head.hash_len > reply->len - sizeof head)
        head.rc = E_BAD;
    return head;
}

view
password_hashed(call *c, const ak_msg *reply)
{
    work_done head = head_of(reply);

    if (head.rc == E_OK && head.hash_len > 0 && head.hash_len < PASSWORD_HASH_MAX)
        return view_of((const uint8_t *)reply->body + sizeof head, head.hash_len);
    call_add_header(c, "Retry-After", VIEW_LIT("1"));
    call_fail(c, 503, "The password could not be hashed; retry.");
    return (view){ 0 };
}

bool
password_verified(const ak_msg *reply)
{
    return head_of(reply).rc == E_OK;
}
