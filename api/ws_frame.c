/* ws_frame.c - frames of RFC 6455: ours are built here, a client's are read by wslay.
 *
 *   81 len                     < 126
 *   81 7e len len              < 64 KiB
 *   81 7f len*8
 *
 * A server's frames are whole and not masked.
 */
#include "api/ws_inner.h"

#include <stdlib.h>

void
ws_bytes_add(ws_bytes *b, const void *at, size_t len)
{
    if (len == 0)
        return;
    if (b->len + len > b->room) {
        b->room = (size_t)max_u64(b->room * 2, round_up(b->len + len, 512));
        b->at = realloc(b->at, b->room);
        ASSERT(b->at != NULL);
    }
    memcpy(b->at + b->len, at, len);
    b->len += len;
}

void
ws_bytes_fini(ws_bytes *b)
{
    free(b->at);
    *b = (ws_bytes){ 0 };
}

size_t
ws_frame_head(uint8_t head[WS_HEAD_MAX], size_t len)
{
    head[0] = 0x81;
    if (len < 126) {
        head[1] = (uint8_t)len;
        return 2;
    }
    if (len <= UINT16_MAX) {
        head[1] = 126;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        return 4;
    }
    head[1] = 127;
    store_be64(head + 2, len);
    return 10;
}

void
ws_frame_add(ws_bytes *b, view text)
{
    uint8_t head[WS_HEAD_MAX];

    ws_bytes_add(b, head, ws_frame_head(head, text.len));
    ws_bytes_add(b, text.at, text.len);
}

void
ws_frame_setup(wslay_event_context_ptr ctx, struct wslay_event_callbacks callbacks, wslay_event_send_callback to)
{
    callbacks.send_callback = to;
    wslay_event_config_set_callbacks(ctx, &callbacks);
    wslay_event_config_set_max_recv_msg_length(ctx, WS_MESSAGE_MAX);
}
