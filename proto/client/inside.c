/* The verbs of inside.h over the host's five functions. */
#include "proto/client/inside.h"

#include "proto/base/text.h"

/* ---- rows ---- */

/* The newest of those that this input has read. */
enum { ROWS_KEPT = 16 };
struct wa_rows {
    size_t next;
    struct row {
        struct wa_key key; /* ns 0: free */
        struct slice value;
    } rows[ROWS_KEPT];
};

void wa_arena_set(struct wa_client *c, struct arena *arena)
{
    c->arena = arena;
    c->rows = NULL;
}

static bool is_key(const struct wa_key *a, const struct wa_key *b)
{
    return a->ns == b->ns && slice_eq(a->owner, b->owner) && slice_eq(a->name, b->name);
}

static struct row *find_row(struct wa_client *c, const struct wa_key *key)
{
    for (size_t i = 0; c->rows && i < ROWS_KEPT; i++)
        if (is_key(&c->rows->rows[i].key, key)) return &c->rows->rows[i];
    return NULL;
}

static void keep_row(struct wa_client *c, const struct wa_key *key, struct slice value)
{
    struct row *row;

    if (!c->rows) c->rows = arena_new(c->arena, struct wa_rows);
    row = &c->rows->rows[c->rows->next++ % ROWS_KEPT];
    row->key.ns = key->ns;
    row->key.owner = arena_dup(c->arena, key->owner);
    row->key.name = arena_dup(c->arena, key->name);
    row->value = value;
}

/* A message is in the host's own records, which change with what is emitted. */
err_t wa_load_key(struct wa_client *c, struct wa_key key, struct arena *arena, struct slice *out)
{
    bool keeps = arena == c->arena && key.ns != WA_NS_MESSAGE;
    struct row *known = keeps ? find_row(c, &key) : NULL;

    *out = known ? known->value : SLICE_NONE;
    if (known) return OK;
    TRY(c->host.load(c->host.ctx, key, arena, out));
    if (keeps) keep_row(c, &key, *out);
    return OK;
}

err_t wa_load(struct wa_client *c, enum wa_ns ns, struct slice owner, struct slice name,
              struct slice *out)
{
    return wa_load_key(c, (struct wa_key){ns, owner, name}, c->arena, out);
}

void wa_save(struct wa_client *c, enum wa_ns ns, struct slice owner, struct slice name,
             struct slice value)
{
    struct wa_key key = {ns, owner, name};
    struct row *known = find_row(c, &key);

    if (known) *known = (struct row){0};
    c->host.save(c->host.ctx, key, value);
}

void wa_save_account(struct wa_client *c)
{
    AUTO(buf) row = {0};

    buf_reserve(&row, 1024 + c->account.device_identity.len + c->account.routing.len);
    wa_account_encode(&c->account, &row);
    wa_save(c, WA_NS_ACCOUNT, SLICE(""), SLICE(""), buf_slice(&row));
    crypto_wipe(row.data, row.len);
}

void wa_random(struct wa_client *c, void *out, size_t n) { c->host.random(c->host.ctx, out, n); }

uint32_t wa_random_u32(struct wa_client *c)
{
    uint32_t v;
    wa_random(c, &v, sizeof(v));
    return v;
}

bool wa_is_fatal(err_t e)
{
    return e != OK && (err_class(e) == ERR_CLASS_BROKEN || e == ERR_STORE_FULL);
}

void wa_emit(struct wa_client *c, const struct wa_event *event)
{
    c->host.emit(c->host.ctx, event);
}

static void send(struct wa_client *c, enum wa_send_kind kind, struct slice bytes, uint32_t query)
{
    struct wa_send s = {.kind = kind, .link = c->link, .query = query, .bytes = bytes};
    c->host.send(c->host.ctx, &s);
}

void wa_send_node(struct wa_client *c, const struct wa_node *node, uint32_t query)
{
    AUTO(buf) encoded = {0};

    if (c->phase == WA_PHASE_DOWN || c->phase == WA_PHASE_CLOSING) return;
    wa_node_encode(node, &encoded);
    send(c, WA_SEND_STANZA, buf_slice(&encoded), query);
}

void wa_send_encoded(struct wa_client *c, struct slice stanza, uint32_t query)
{
    if (c->phase == WA_PHASE_DOWN || c->phase == WA_PHASE_CLOSING) return;
    send(c, WA_SEND_STANZA, stanza, query);
}

void wa_send_bytes(struct wa_client *c, struct slice bytes) { send(c, WA_SEND_BYTES, bytes, 0); }

void wa_send_close(struct wa_client *c) { send(c, WA_SEND_CLOSE, SLICE(""), 0); }

int64_t wa_server_now(const struct wa_client *c) { return (c->now + c->server_ahead_ms) / 1000; }

bool wa_time_read(struct slice t, int64_t *out)
{
    enum { YEAR_1980 = 315532800 };
    static const int64_t year_5000 = 95617584000;
    int64_t at;

    if (text_i64(t, &at) != OK || at < YEAR_1980 || at > year_5000) return false;
    *out = at;
    return true;
}

/* A login tells whole seconds, so the server's clock is less than one ahead of what it told. */
static void learn_time(struct wa_client *c, int64_t t)
{
    int64_t ahead = t * 1000 - c->now;

    if (ahead > c->server_ahead_ms && ahead < c->login_ahead_ms + 1000) c->server_ahead_ms = ahead;
}

int64_t wa_time_or_now(struct wa_client *c, struct slice t)
{
    int64_t at;

    if (!wa_time_read(t, &at)) return wa_server_now(c);
    learn_time(c, at);
    return at;
}

struct slice wa_bare_text(struct wa_client *c, const struct wa_jid *jid)
{
    struct wa_jid bare = wa_jid_bare(jid);
    return wa_jid_slice(&bare, c->arena);
}

struct wa_jid wa_self_pn(const struct wa_client *c) { return wa_account_pn(&c->account); }
