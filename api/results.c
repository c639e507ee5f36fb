#include "api/results.h"

bool
results_each(view body, bool more, result_fn *fn, void *ctx)
{
    result_head head = { .kind = RESULT_CLOSE };

    while (body.len > 0) {
        size_t len = result_record_len(body);

        if (len == 0)
            return false;
        memcpy(&head, body.at, sizeof head);
        if (!fn(ctx, &head, view_of(body.at + sizeof head, len - sizeof head)))
            return false;
        body = view_of(body.at + len, body.len - len);
        if (head.kind == RESULT_END && (more || body.len > 0))
            return false;
    }
    return more || head.kind == RESULT_END;
}
