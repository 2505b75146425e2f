/* What an account keeps with the server: blocklist, privacy, tokens, about, app state. */
#include "tools/sim/iq.h"

#include <stdlib.h>

#include "proto/schema/appstate.pb-c.h"
#include "proto/schema/unpack.h"

/* ---- blocklist ---- */

void sim_iq_blocklist(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq), *list = wa_node_add(result, arena, "list");

    LIST_EACH(l, &c->device->account->blocked.list)
    wa_node_set_jid(wa_node_add(list, arena, "item"), arena, "jid",
                    sim_account_jid(LIST_ENTRY(l, struct sim_person, link)->account, true));
    sim_conn_send(c, result);
}

void sim_iq_block(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *item = wa_node_child(iq, "item");
    struct wa_jid jid = wa_node_jid(item, "jid"), pn = wa_node_jid(item, "pn_jid");
    struct sim_account *who = sim_account_of(&c->relay->people, jid);
    bool block = slice_is(wa_node_text(item, "action"), "block");

    if (!who || !wa_jid_is_lid(&jid) || (block && wa_jid_is_none(&pn))) {
        sim_iq_error(c, iq, 400, "bad-request"); /* a phone number alone is refused */
        return;
    }
    if (block)
        sim_person_add(&c->device->account->blocked, who);
    else
        sim_person_remove(&c->device->account->blocked, who);
    sim_changed(c->relay);
    sim_iq_blocklist(c, iq);
}

/* ---- privacy ---- */

void sim_privacy_node(struct wa_node *parent, struct arena *arena, const struct sim_account *a)
{
    const char *const settings[][2] = {
        {"readreceipts", a->hides_reads ? "none" : "all"},
        {"profile", "all"},
        {"status", "all"},
        {"online", "all"},
        {"last", "all"},
        {"groupadd", "all"},
        {"calladd", "all"},
        {"messages", "all"},
    };
    struct wa_node *privacy = wa_node_add(parent, arena, "privacy");

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct wa_node *category = wa_node_add(privacy, arena, "category");

        wa_node_set_text(category, arena, "name", settings[i][0]);
        wa_node_set_text(category, arena, "value", settings[i][1]);
    }
}

void sim_iq_privacy(struct sim_conn *c, const struct wa_node *iq)
{
    struct wa_node *result = sim_iq_result(c, iq);

    sim_privacy_node(result, &c->relay->arena, c->device->account);
    sim_conn_send(c, result);
}

void sim_hide_reads(struct sim_relay *r, struct sim_account *a, const struct sim_device *by,
                    bool hides)
{
    if (hides == a->hides_reads) return;
    a->hides_reads = hides;
    sim_changed(r);
    sim_notify_privacy(r, a, by);
}

/* Who may see what we read is the one setting that changes anything here. */
void sim_iq_privacy_set(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *privacy = wa_node_child(iq, "privacy"), *category;

    for (size_t i = 0; (category = wa_node_next(privacy, "category", &i));)
        if (slice_is(wa_node_text(category, "name"), "readreceipts"))
            sim_hide_reads(c->relay, c->device->account, c->device,
                           slice_is(wa_node_text(category, "value"), "none"));
    sim_iq_privacy(c, iq);
}

static void tell_token(struct sim_conn *c, struct sim_account *to, const struct sim_token *t)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n = wa_node_new(arena, "notification"), *token;

    wa_node_set_jid(n, arena, "from", sim_account_jid(t->from, false));
    wa_node_set_jid(n, arena, "sender_lid", sim_account_jid(t->from, true));
    wa_node_set(n, arena, "type", SLICE("privacy_token"));
    wa_node_set(n, arena, "id", sim_new_id(c->relay));
    wa_node_set_int(n, arena, "t", sim_seconds(c->relay));
    token = wa_node_add(wa_node_add(n, arena, "tokens"), arena, "token");
    wa_node_set_jid(token, arena, "jid", sim_account_jid(to, false));
    wa_node_set(token, arena, "type", SLICE("trusted_contact"));
    wa_node_set_int(token, arena, "t", t->at);
    wa_node_set_bytes(token, SLICE_ARRAY(t->bytes));
    LIST_EACH(l, &to->devices)
    sim_queue_put(c->relay, LIST_ENTRY(l, struct sim_device, link), SIM_QUEUE_NOTIFICATION, n);
}

/* The token lets the other side write to the issuer. */
static void issue_token(struct sim_conn *c, struct sim_account *to, int64_t at)
{
    struct sim_token *t = sim_token_of(to, c->device->account);

    t->at = at;
    for (size_t i = 0; i < sizeof t->bytes; i++)
        t->bytes[i] = sim_random(c->relay);
    tell_token(c, to, t);
}

void sim_iq_tokens(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *tokens = wa_node_child(iq, "tokens"), *token;

    for (size_t i = 0; (token = wa_node_next(tokens, "token", &i));) {
        struct sim_account *to = sim_account_of(&c->relay->people, wa_node_jid(token, "jid"));
        struct wa_attrs a = wa_attrs_of(token);

        if (to && to != c->device->account)
            issue_token(c, to, (int64_t)wa_attr_int_or(&a, "t", sim_seconds(c->relay)));
    }
    sim_changed(c->relay);
    sim_conn_send(c, sim_iq_result(c, iq));
}

void sim_iq_about(struct sim_conn *c, const struct wa_node *iq)
{
    enum { ABOUT_MAX = 700 };
    struct slice text = wa_node_child_bytes(iq, "status");

    buf_reset(&c->device->account->about);
    buf_put(&c->device->account->about, slice_sub(text, 0, ABOUT_MAX));
    sim_changed(c->relay);
    sim_conn_send(c, sim_iq_result(c, iq));
}

/* ---- app state: patches are opaque, except for the version the server gives them ---- */

static bool put_patch(struct sim_collection *col, struct slice bytes)
{
    AUTO(arena) arena = {0};
    const Wa__SyncdPatch *sent;
    Wa__SyncdPatch patch;
    Wa__SyncdVersion version = WA__SYNCD_VERSION__INIT;
    struct sim_patch *p;

    if (WA_UNPACK(wa__syncd_patch, bytes, &arena, &sent) != OK) {
        err_clear();
        return false;
    }
    p = xcalloc(sizeof *p);
    p->version = ++col->version;
    version.has_version = 1;
    version.version = p->version;
    patch = *sent;
    patch.version = &version;
    wa_pack(&patch.base, &p->bytes);
    list_push(&col->patches, &p->link);
    return true;
}

static void add_patches(struct wa_node *out, struct arena *arena, const struct sim_collection *col,
                        uint64_t since)
{
    struct wa_node *patches;

    if (col->version <= since) return;
    patches = wa_node_add(out, arena, "patches");
    LIST_EACH(l, (struct list *)&col->patches)
    {
        const struct sim_patch *p = LIST_ENTRY(l, struct sim_patch, link);

        if (p->version > since)
            wa_node_set_bytes(wa_node_add(patches, arena, "patch"), buf_slice(&p->bytes));
    }
}

static void tell_others(struct sim_conn *c, const struct sim_collection *col)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n = wa_node_new(arena, "notification"), *child;

    wa_node_set_jid(n, arena, "from", wa_jid_server());
    wa_node_set(n, arena, "type", SLICE("server_sync"));
    wa_node_set(n, arena, "id", sim_new_id(c->relay));
    wa_node_set_int(n, arena, "t", sim_seconds(c->relay));
    child = wa_node_add(n, arena, "collection");
    wa_node_set(child, arena, "name", buf_slice(&col->name));
    wa_node_set_int(child, arena, "version", (int64_t)col->version);
    LIST_EACH(l, &c->device->account->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev != c->device && dev->id != 0)
            sim_queue_put(c->relay, dev, SIM_QUEUE_NOTIFICATION, n);
    }
}

static void set_error(struct wa_node *out, struct arena *arena, int code, const char *text)
{
    struct wa_node *error;

    wa_node_set(out, arena, "type", SLICE("error"));
    error = wa_node_add(out, arena, "error");
    wa_node_set_int(error, arena, "code", code);
    wa_node_set_text(error, arena, "text", text);
}

static void answer_collection(struct sim_conn *c, const struct wa_node *asked, struct wa_node *sync)
{
    struct arena *arena = &c->relay->arena;
    struct slice name = wa_node_text(asked, "name"), patch = wa_node_child_bytes(asked, "patch");
    struct sim_collection *col = sim_collection_of(c->device->account, name);
    struct wa_node *out = wa_node_add(sync, arena, "collection");
    struct wa_attrs a = wa_attrs_of(asked);
    uint64_t base = wa_attr_int_or(&a, "version", 0);

    wa_node_set(out, arena, "name", name);
    if (!col || name.len == 0) {
        set_error(out, arena, 400, "bad-request");
        return;
    }
    if (patch.len > 0 && base == col->version) {
        if (!put_patch(col, patch)) {
            set_error(out, arena, 400, "bad-request");
            return;
        }
        tell_others(c, col);
        wa_node_set_int(out, arena, "version", (int64_t)col->version);
        return;
    }
    wa_node_set_int(out, arena, "version", (int64_t)col->version);
    if (patch.len > 0) set_error(out, arena, 409, "conflict");
    add_patches(out, arena, col, base);
}

void sim_iq_appstate(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *asked = wa_node_child(iq, "sync"), *collection;
    struct wa_node *result = sim_iq_result(c, iq);
    struct wa_node *sync = wa_node_add(result, &c->relay->arena, "sync");

    for (size_t i = 0; (collection = wa_node_next(asked, "collection", &i));)
        answer_collection(c, collection, sync);
    sim_changed(c->relay);
    sim_conn_send(c, result);
}
