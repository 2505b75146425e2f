/* Words for enums, and the one record that the host encodes for us (events.h, host.h). */
#include "proto/base/reader.h"
#include "proto/client/client.h"

static const char *const reasons[] = {
#define REASON(name, text) [WA_REASON_##name] = text,
#include "proto/client/reasons.def"
#undef REASON
};

const char *wa_reason_text(enum wa_reason r)
{
    return (size_t)r < ARRAY_LEN(reasons) ? reasons[r] : reasons[WA_REASON_NONE];
}

enum { HELD_VERSION = 1 };

void wa_held_encode(const struct wa_held_message *held, struct buf *out)
{
    buf_put_u8(out, HELD_VERSION);
    buf_put_u8(out, (uint8_t)held->state);
    buf_put_u8(out, held->from_me);
    buf_put_be64(out, (uint64_t)held->time_s);
    buf_put(out, held->raw);
}

err_t wa_held_decode(struct slice value, struct wa_held_message *out)
{
    *out = (struct wa_held_message){.state = WA_HELD_NO};
    if (slice_is_none(value)) return OK;

    struct reader r = reader_of(value);
    uint8_t version = reader_u8(&r), state = reader_u8(&r);
    struct wa_held_message held = {.state = state, .from_me = reader_u8(&r)};

    held.time_s = (int64_t)reader_be64(&r);
    held.raw = reader_rest(&r);
    TRY(reader_check(&r));
    ENSURE(version == HELD_VERSION && state <= WA_HELD_WAITING, STORE_DAMAGED);
    *out = held;
    return OK;
}
