#include "server/mcp/mcp_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/mcp/mcp_modern.h"

/* ---- abilities ---- */

static const struct {
    enum mcp_ability ability;
    const char *capability;
} abilities[] = {
    {MCP_CAN_ELICIT, "elicitation"}, {MCP_CAN_SAMPLE, "sampling"}, {MCP_CAN_LIST_ROOTS, "roots"}};

uint8_t mcp_abilities(const struct json *capabilities)
{
    uint8_t set = 0;

    for (size_t i = 0; i < ARRAY_LEN(abilities); i++)
        if (json_kind(json_get(capabilities, abilities[i].capability)) == JSON_OBJ)
            set |= (uint8_t)abilities[i].ability;
    return set;
}

uint8_t mcp_client_can(const struct mcp_ask *a)
{
    const struct json *meta = json_get(a->message.params, "_meta");

    return a->era == MCP_MODERN ? mcp_abilities(json_get(meta, MCP_META_CAPABILITIES))
                                : a->session.abilities;
}

void mcp_refuse_ability(struct mcp_ask *a, unsigned set)
{
    AUTO(buf) data = {0};
    struct pen p = pen_on(&data);

    pen_object(&p, NULL);
    pen_object(&p, "requiredCapabilities");
    for (size_t i = 0; i < ARRAY_LEN(abilities); i++) {
        if (!(set & abilities[i].ability)) continue;
        pen_object(&p, abilities[i].capability);
        pen_end(&p);
    }
    pen_end(&p);
    pen_end(&p);
    mcp_refuse_with(a, RPC_NO_CAPABILITY, buf_slice(&data),
                    "The client did not declare a capability that this request needs");
}

/* ---- requests of ours ---- */

/* "w<worker>.<ask>.<count>", as JSON. */
static struct slice request_id(struct mcp_ask *a)
{
    return arena_printf(&a->arena, "\"w%d.%llu.%u\"", worker_index(a->home->worker),
                        (unsigned long long)a->number, a->asked);
}

static void reply(struct mcp_ask *a, const struct json *result)
{
    void (*on_reply)(struct mcp_ask * a, const struct json *result) = a->on_reply;

    a->on_reply = NULL;
    timer_disarm(a->home->worker, &a->later);
    on_reply(a, result);
}

/* It took too long: the client need not show its question any longer. */
static void withdraw(struct mcp_ask *a)
{
    AUTO(buf) params = {0}, note = {0};

    buf_put_text(&params, "{\"requestId\":");
    buf_put(&params, request_id(a));
    buf_put_text(&params, ",\"reason\":\"no answer came in time\"}");
    rpc_write_notification(&note, "notifications/cancelled", buf_slice(&params));
    a->notify(a, buf_slice(&note));
    reply(a, NULL);
}

void mcp_request_client(struct mcp_ask *a, const char *method, struct slice params,
                        void (*on_reply)(struct mcp_ask *a, const struct json *result))
{
    AUTO(buf) request = {0};

    a->asked++;
    a->on_reply = on_reply;
    rpc_write_request(&request, request_id(a), method, params);
    mcp_later(a, MCP_REPLY_MS, withdraw);
    a->notify(a, buf_slice(&request));
}

/* An answer on its way to the worker of who asked. */
struct answer {
    struct post post;
    struct mcp_worker *to;
    uint64_t ask;
    unsigned count;
    char session[SESSION_TEXT_MAX];
    struct json *result; /* NULL: an error */
};

/* The session may have been answered for before, or never asked. */
static bool is_awaited(const struct mcp_ask *a, const struct answer *r)
{
    return a && a->on_reply && a->asked == r->count && !a->cancelled &&
           strcmp(a->session.id, r->session) == 0;
}

static void on_answer(struct post *p, struct worker *worker)
{
    struct answer *r = CONTAINER_OF(p, struct answer, post);
    struct mcp_ask *a = mcp_ask_find(r->to, r->ask);

    if (is_awaited(a, r)) reply(a, json_kind(r->result) == JSON_OBJ ? r->result : NULL);
    json_free(r->result);
    free(r);
}

void mcp_response(struct mcp_worker *w, const struct session_info *session,
                  const struct rpc_message *m)
{
    struct mcp *mcp = w->mcp;
    AUTO(buf) text = {0};
    struct answer *r;
    unsigned worker, count;
    unsigned long long ask;
    char id[64];

    if (!*session->id || m->id.len >= sizeof(id)) return;
    snprintf(id, sizeof(id), SLICE_FMT, SLICE_ARG(m->id));
    if (sscanf(id, "\"w%u.%llu.%u\"", &worker, &ask, &count) != 3 || worker >= mcp->worker_count)
        return;
    r = xcalloc(sizeof(*r));
    *r = (struct answer){
        .post.run = on_answer, .to = &mcp->workers[worker], .ask = ask, .count = count};
    memcpy(r->session, session->id, sizeof(r->session));
    if (m->result) json_write(&text, m->result);
    if (text.len && json_parse(buf_slice(&text), RPC_MESSAGE_MAX, &r->result) != OK)
        r->result = NULL;
    worker_post(r->to->worker, &r->post);
}

/* ---- states ---- */

/* "<base64url of 8 bytes of time and the state>.<base64url of the MAC>": the MAC is over the text
 * before it, and whose request it is. */
static void put_signature(const struct mcp_ask *a, struct slice body, struct buf *out)
{
    const struct json *params = a->message.params;
    struct slice name = json_get_text(params, "name");
    struct slice pieces[] = {
        slice_of(&a->who.tenant, sizeof(a->who.tenant)),
        slice_of(a->who.key, strlen(a->who.key) + 1),
        a->message.method,
        SLICE("\n"),
        slice_is_none(name) ? json_get_text(params, "uri") : name,
        SLICE("\n"),
        body,
    };
    uint8_t mac[CRYPTO_SHA256];

    crypto_hmac_v(SLICE_ARRAY(a->home->mcp->state_key), pieces, ARRAY_LEN(pieces), mac);
    text_base64url(SLICE_ARRAY(mac), out);
}

static struct slice seal(struct mcp_ask *a, struct slice state)
{
    uint64_t until = (uint64_t)(worker_now(a->home->worker) + MCP_STATE_MS);
    AUTO(buf) body = {0}, text = {0}, signature = {0};

    buf_put_be32(&body, (uint32_t)(until >> 32));
    buf_put_be32(&body, (uint32_t)until);
    buf_put(&body, state);
    text_base64url(buf_slice(&body), &text);
    put_signature(a, buf_slice(&text), &signature);
    buf_put_u8(&text, '.');
    buf_put(&text, buf_slice(&signature));
    return arena_dup(&a->arena, buf_slice(&text));
}

static bool open_state(struct mcp_ask *a, struct slice text, struct slice *out)
{
    size_t dot = slice_find(text, '.');
    AUTO(buf) body = {0}, signature = {0};
    uint64_t until = 0;

    if (text.len > MCP_STATE_MAX || dot == text.len) return false;
    put_signature(a, slice_sub(text, 0, dot), &signature);
    if (!crypto_equal(slice_from(text, dot + 1), buf_slice(&signature))) return false;
    if (text_unbase64(slice_sub(text, 0, dot), &body) != OK || body.len < 8) return false;
    for (int i = 0; i < 8; i++)
        until = until << 8 | body.data[i];
    if ((uint64_t)worker_now(a->home->worker) > until) return false;
    *out = arena_dup(&a->arena, slice_from(buf_slice(&body), 8));
    return true;
}

bool mcp_state(struct mcp_ask *a, struct slice *out)
{
    const struct json *state = json_get(a->message.params, "requestState");

    *out = SLICE_NONE;
    if (!state || open_state(a, json_text(state), out)) return true;
    mcp_refuse(a, RPC_BAD_PARAMS,
               "requestState was not given out for this request, or is too old; begin again "
               "without it");
    return false;
}

/* ---- needing ---- */

const struct json *mcp_input(const struct mcp_ask *a, const char *key)
{
    const struct json *given = json_get(json_get(a->message.params, "inputResponses"), key);

    return json_kind(given) == JSON_OBJ ? given : NULL;
}

void mcp_need(struct mcp_ask *a, const struct mcp_input *inputs, size_t n, struct slice state)
{
    unsigned can = mcp_client_can(a), missing = 0;
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        any = any || (can & inputs[i].ability);
        missing |= inputs[i].ability & ~can;
    }
    if (!any) {
        mcp_refuse_ability(a, missing);
        return;
    }
    mcp_begin_as(a, "input_required");
    pen_object(&a->pen, "inputRequests");
    for (size_t i = 0; i < n; i++) {
        if (!(can & inputs[i].ability)) continue;
        pen_object(&a->pen, inputs[i].key);
        pen_word(&a->pen, "method", inputs[i].method);
        pen_raw(&a->pen, "params", inputs[i].params);
        pen_end(&a->pen);
    }
    pen_end(&a->pen);
    if (!slice_is_none(state)) pen_text(&a->pen, "requestState", seal(a, state));
    mcp_done(a);
}
