#include "storage/id.h"

struct id_row {
    const char *prefix;
    size_t body;
};

static const struct id_row rows[] = {
    [ID_ACCOUNT] = {"acc_", 12}, [ID_CHAT] = {"chat_", 16}, [ID_GROUP] = {"grp_", 16},
    [ID_MESSAGE] = {"msg_", 24}, [ID_MEDIA] = {"med_", 24}, [ID_TENANT] = {"ten_", 12},
    [ID_KEY] = {"key_", 12},     [ID_EVENT] = {"evt_", 16}, [ID_WEBHOOK] = {"whk_", 12},
};
enum { BODY_MAX = 24 };

static void put_be(uint8_t *at, uint64_t v, size_t n)
{
    for (; n; v >>= 8)
        at[--n] = (uint8_t)v;
}

static uint64_t get_be(const uint8_t *at, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | at[i];
    return v;
}

/* Base 32, most significant bit first; the last digit is filled up with zero bits. */
static const char *format(enum id_type type, const uint8_t *body, char out[ID_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    size_t at = strlen(rows[type].prefix);
    unsigned held = 0, bits = 0; /* of the body, not written yet */

    memcpy(out, rows[type].prefix, at);
    for (size_t i = 0; i < rows[type].body; i++) {
        held = (held & 0x1f) << 8 | body[i];
        for (bits += 8; bits >= 5; bits -= 5)
            out[at++] = digits[held >> (bits - 5) & 0x1f];
    }
    if (bits) out[at++] = digits[held << (5 - bits) & 0x1f];
    out[at] = '\0';
    return out;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'v') return c - 'a' + 10;
    return -1;
}

static bool parse(enum id_type type, struct slice text, uint8_t body[BODY_MAX])
{
    struct slice prefix = slice_text(rows[type].prefix);
    unsigned held = 0, bits = 0;
    size_t at = 0;

    if (!slice_starts_with(text, prefix)) return false;
    text = slice_from(text, prefix.len);
    if (text.len != (rows[type].body * 8 + 4) / 5) return false;
    for (size_t i = 0; i < text.len; i++) {
        int v = digit(text.data[i]);
        if (v < 0) return false;
        held = (held & 0xff) << 5 | (unsigned)v;
        if ((bits += 5) < 8) continue;
        bits -= 8;
        body[at++] = (uint8_t)(held >> bits);
    }
    return !(held & ((1u << bits) - 1)); /* one text per id */
}

int place_cmp(struct place a, struct place b)
{
    if (a.sec != b.sec) return a.sec < b.sec ? -1 : 1;
    if (a.seq != b.seq) return a.seq < b.seq ? -1 : 1;
    if (a.secret != b.secret) return a.secret < b.secret ? -1 : 1;
    return 0;
}

const char *id_number_text(enum id_type type, uint32_t number, uint64_t secret,
                           char out[ID_TEXT_MAX])
{
    uint8_t body[BODY_MAX];
    put_be(body, number, 4);
    put_be(body + 4, secret, 8);
    return format(type, body, out);
}

bool id_number_parse(enum id_type type, struct slice text, uint32_t *out_number,
                     uint64_t *out_secret)
{
    uint8_t body[BODY_MAX];
    if (!parse(type, text, body)) return false;
    *out_number = (uint32_t)get_be(body, 4);
    *out_secret = get_be(body + 4, 8);
    return true;
}

const char *id_chat_text(enum id_type type, uint32_t account, uint32_t peer, uint64_t secret,
                         char out[ID_TEXT_MAX])
{
    uint8_t body[BODY_MAX];
    put_be(body, account, 4);
    put_be(body + 4, peer, 4);
    put_be(body + 8, secret, 8);
    return format(type, body, out);
}

bool id_chat_parse(enum id_type type, struct slice text, uint32_t *out_account, uint32_t *out_peer,
                   uint64_t *out_secret)
{
    uint8_t body[BODY_MAX];
    if (!parse(type, text, body)) return false;
    *out_account = (uint32_t)get_be(body, 4);
    *out_peer = (uint32_t)get_be(body + 4, 4);
    *out_secret = get_be(body + 8, 8);
    return true;
}

const char *id_message_text(enum id_type type, uint32_t account, struct place place,
                            char out[ID_TEXT_MAX])
{
    uint8_t body[BODY_MAX];
    put_be(body, place.sec, 4);
    put_be(body + 4, account, 4);
    put_be(body + 8, place.peer, 4);
    put_be(body + 12, place.seq, 4);
    put_be(body + 16, place.secret, 8);
    return format(type, body, out);
}

bool id_message_parse(enum id_type type, struct slice text, uint32_t *out_account,
                      struct place *out_place)
{
    uint8_t body[BODY_MAX];
    if (!parse(type, text, body)) return false;
    *out_account = (uint32_t)get_be(body + 4, 4);
    *out_place = (struct place){
        .sec = (uint32_t)get_be(body, 4),
        .peer = (uint32_t)get_be(body + 8, 4),
        .seq = (uint32_t)get_be(body + 12, 4),
        .secret = get_be(body + 16, 8),
    };
    return out_place->peer != 0;
}

const char *id_event_text(int64_t at_ms, const uint8_t random[10], char out[ID_TEXT_MAX])
{
    uint8_t body[BODY_MAX];
    put_be(body, (uint64_t)at_ms, 6);
    memcpy(body + 6, random, 10);
    return format(ID_EVENT, body, out);
}
