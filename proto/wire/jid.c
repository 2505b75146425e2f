/* Addresses as text. How they travel in a stanza is in node_decode.c and node_encode.c. */
#include "proto/wire/jid.h"

#include <string.h>

#include "proto/base/text.h"

static const struct slice servers[WA_SERVER_COUNT] = {
#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
    [WA_SERVER_NONE] = TEXT(""),
    [WA_SERVER_USER] = TEXT("s.whatsapp.net"),
    [WA_SERVER_LID] = TEXT("lid"),
    [WA_SERVER_GROUP] = TEXT("g.us"),
    [WA_SERVER_BROADCAST] = TEXT("broadcast"),
    [WA_SERVER_NEWSLETTER] = TEXT("newsletter"),
    [WA_SERVER_HOSTED] = TEXT("hosted"),
    [WA_SERVER_HOSTED_LID] = TEXT("hosted.lid"),
    [WA_SERVER_BOT] = TEXT("bot"),
    [WA_SERVER_MSGR] = TEXT("msgr"),
    [WA_SERVER_INTEROP] = TEXT("interop"),
    [WA_SERVER_C_US] = TEXT("c.us"),
    [WA_SERVER_CALL] = TEXT("call"),
#undef TEXT
};

const char *wa_server_text(enum wa_server server) { return (const char *)servers[server].data; }

enum wa_server wa_server_find(struct slice text)
{
    for (int i = WA_SERVER_NONE + 1; i < WA_SERVER_COUNT; i++)
        if (slice_eq(servers[i], text)) return (enum wa_server)i;
    return WA_SERVER_NONE;
}

struct wa_jid wa_jid_server(void) { return wa_jid_of(WA_SERVER_USER, SLICE(""), 0); }

struct wa_jid wa_jid_of(enum wa_server server, struct slice user, uint16_t device)
{
    return (struct wa_jid){.user = user, .server = server, .device = device};
}

bool wa_jid_user_ok(struct slice user)
{
    if (user.len > WA_JID_USER_MAX) return false;
    for (size_t i = 0; i < user.len; i++) {
        uint8_t c = user.data[i];
        if (c <= ' ' || c >= 0x7f || c == '@' || c == ':') return false;
    }
    return true;
}

/* Takes "5-" off the front of an interop user. */
static err_t take_integrator(struct wa_jid *jid)
{
    struct slice rest = jid->user, number;
    uint64_t n;

    ENSURE(slice_split(&rest, '-', &number) && !slice_is_none(rest), BAD_JID);
    if (text_u64(number, &n) != OK || n > UINT16_MAX) return fail(BAD_JID, "integrator");
    jid->integrator = (uint16_t)n;
    jid->user = rest;
    return OK;
}

static err_t take_device(struct wa_jid *jid)
{
    bool wide = jid->server == WA_SERVER_MSGR || jid->server == WA_SERVER_INTEROP;
    size_t colon = slice_find(jid->user, ':');
    uint64_t n;

    if (colon == jid->user.len) return OK;
    if (text_u64(slice_from(jid->user, colon + 1), &n) != OK) return fail(BAD_JID, "device");
    ENSURE(n <= (wide ? WA_DEVICE_WIDE_MAX : WA_DEVICE_MAX), BAD_JID);
    ENSURE(colon > 0, BAD_JID);
    jid->device = (uint16_t)n;
    jid->user = slice_sub(jid->user, 0, colon);
    return OK;
}

err_t wa_jid_parse(struct slice text, struct wa_jid *out)
{
    size_t at = slice_find(text, '@');
    struct wa_jid jid = {.user = slice_sub(text, 0, at)};

    ENSURE(at < text.len, BAD_JID);
    jid.server = wa_server_find(slice_from(text, at + 1));
    ENSURE(jid.server != WA_SERVER_NONE, BAD_JID);
    TRY(take_device(&jid));
    if (jid.server == WA_SERVER_INTEROP) TRY(take_integrator(&jid));
    ENSURE(wa_jid_user_ok(jid.user), BAD_JID);
    *out = jid;
    return OK;
}

static char *put(char *at, struct slice text)
{
    if (text.len) memcpy(at, text.data, text.len);
    return at + text.len;
}

static char *put_number(char *at, uint16_t n)
{
    char digits[5];
    size_t first = sizeof(digits);

    do
        digits[--first] = (char)('0' + n % 10);
    while (n /= 10);
    return put(at, slice_of(digits + first, sizeof(digits) - first));
}

/* By hand: every message has some twenty written. */
const char *wa_jid_text(const struct wa_jid *jid, char out[WA_JID_TEXT_MAX])
{
    struct slice user = slice_sub(jid->user, 0, WA_JID_USER_MAX);
    char *at = out;

    if (jid->server == WA_SERVER_INTEROP) {
        at = put_number(at, jid->integrator);
        *at++ = '-';
    }
    at = put(at, slice_sub(user, 0, slice_find(user, 0)));
    if (jid->device) {
        *at++ = ':';
        at = put_number(at, jid->device);
    }
    *at++ = '@';
    *put(at, servers[jid->server]) = '\0';
    return out;
}

struct slice wa_jid_slice(const struct wa_jid *jid, struct arena *arena)
{
    char text[WA_JID_TEXT_MAX];

    return arena_dup(arena, slice_text(wa_jid_text(jid, text)));
}

struct wa_jid wa_jid_dup(const struct wa_jid *jid, struct arena *arena)
{
    struct wa_jid copy = *jid;

    copy.user = arena_dup(arena, jid->user);
    return copy;
}

struct wa_jid wa_jid_bare(const struct wa_jid *jid)
{
    struct wa_jid bare = *jid;

    bare.device = 0;
    return bare;
}

bool wa_jid_same_user(const struct wa_jid *a, const struct wa_jid *b)
{
    return a->server == b->server && a->integrator == b->integrator && slice_eq(a->user, b->user);
}

bool wa_jid_eq(const struct wa_jid *a, const struct wa_jid *b)
{
    return a->device == b->device && wa_jid_same_user(a, b);
}

bool wa_jid_is_server(const struct wa_jid *j)
{
    return j->server == WA_SERVER_USER && j->user.len == 0;
}

bool wa_jid_is_group(const struct wa_jid *j) { return j->server == WA_SERVER_GROUP; }

bool wa_jid_is_person(const struct wa_jid *j)
{
    switch (j->server) {
    case WA_SERVER_USER:
    case WA_SERVER_LID:
    case WA_SERVER_HOSTED:
    case WA_SERVER_HOSTED_LID:
    case WA_SERVER_BOT:
    case WA_SERVER_C_US: return j->user.len > 0;
    default: return false;
    }
}

bool wa_jid_is_lid(const struct wa_jid *j)
{
    return j->server == WA_SERVER_LID || j->server == WA_SERVER_HOSTED_LID;
}

bool wa_jid_is_status(const struct wa_jid *j)
{
    return j->server == WA_SERVER_BROADCAST && slice_is(j->user, "status");
}
