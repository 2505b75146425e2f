/* What a hostile person sends: all of it is a sound Signal message of a paired phone, so it comes
 * as far as the reading of contents. */
#include <stdio.h>

#include "proto/base/text.h"
#include "proto/client/pb.h"
#include "tests/flow/rig_door.h"
#include "tests/flow/rig_hostile.h"

/* Fields of Message, and of what stands inside. */
enum {
    TEXT = 1,
    EXTENDED = 6,
    EPHEMERAL = 40,
    FUTURE_MESSAGE = 1,
    EXTENDED_TEXT = 1,
    EXTENDED_CONTEXT = 17,
    CONTEXT_MENTIONED = 15,
};

static void deep_message(struct buf *out)
{
    AUTO(buf) inner = {0};

    wa_pb_put_bytes(&inner, TEXT, SLICE("at the bottom"));
    for (int i = 0; i < 5000; i++) {
        AUTO(buf) future = {0};
        wa_pb_put_bytes(&future, FUTURE_MESSAGE, buf_slice(&inner));
        buf_reset(&inner);
        wa_pb_put_bytes(&inner, EPHEMERAL, buf_slice(&future));
    }
    buf_put(out, buf_slice(&inner));
}

static void long_text(struct buf *out)
{
    static char text[65000];

    memset(text, 'l', sizeof(text));
    wa_pb_put_bytes(out, TEXT, SLICE_ARRAY(text));
}

static void no_text(struct buf *out)
{
    static char text[60000];

    memset(text, 0xfe, sizeof(text));
    wa_pb_put_bytes(out, TEXT, SLICE_ARRAY(text));
}

/* Every control character is six in JSON. */
static void controls(struct buf *out)
{
    static char text[65000];

    memset(text, 1, sizeof(text));
    wa_pb_put_bytes(out, TEXT, SLICE_ARRAY(text));
}

static void many_mentions(struct buf *out)
{
    AUTO(buf) extended = {0}, context = {0};

    for (int i = 0; i < 2000; i++)
        wa_pb_put_bytes(&context, CONTEXT_MENTIONED, SLICE("15550001111@s.whatsapp.net"));
    wa_pb_put_bytes(&extended, EXTENDED_TEXT, SLICE("@all"));
    wa_pb_put_bytes(&extended, EXTENDED_CONTEXT, buf_slice(&context));
    wa_pb_put_bytes(out, EXTENDED, buf_slice(&extended));
}

static void broken(struct buf *out)
{
    for (int i = 0; i < 2000; i++)
        buf_put(out, SLICE("\x0a\xff\xff\xff\xff\x0f"));
}

static void many_fields(struct buf *out)
{
    for (int i = 0; i < 15000; i++)
        wa_pb_put_int(out, 900, 1);
}

const struct peer peers[] = {
    {"a person: 5,000 contents deep", deep_message},
    {"a person: 65 KB of text", long_text},
    {"a person: text that is none", no_text},
    {"a person: 65,000 control characters", controls},
    {"a person: 2,000 mentions", many_mentions},
    {"a person: lengths of 4 GB", broken},
    {"a person: 15,000 fields", many_fields},
};
const size_t peer_count = ARRAY_LEN(peers);

void peer_send(const struct door *d, const struct peer *p, const char *from, const char *to)
{
    AUTO(buf) message = {0}, head = {0}, body = {0};

    p->make(&message);
    buf_printf(&head, "POST /phones/%s/send", from);
    buf_printf(&body, "{\"to\":\"%s\",\"message\":\"", to);
    text_base64(buf_slice(&message), &body);
    buf_put_text(&body, "\"}");
    door_ask_sim(d, buf_text(&head), buf_text(&body));
}
