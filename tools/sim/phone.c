/* The life of a virtual phone: its keys, its rows, its connection, and which stanza goes where.
 * Read phone_send.c for what it says, phone_receive.c for what it hears. */
#include "tools/sim/phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/signal/prekey.h"

struct arrival {
    struct list link;
    struct sim_phone *phone;
    struct buf stanza;
};

void sim_phones_init(struct sim_phones *ps, struct sim_relay *relay)
{
    *ps = (struct sim_phones){.relay = relay};
    list_init(&ps->phones);
    list_init(&ps->arrived);
}

/* ---- rows ---- */

static struct slice row_key(struct arena *arena, struct wa_row row)
{
    return arena_printf(arena, "%d " SLICE_FMT " " SLICE_FMT, row.kind, SLICE_ARG(row.owner),
                        SLICE_ARG(row.name));
}

static err_t load_row(void *ctx, struct wa_row row, struct arena *arena, struct slice *out)
{
    struct sim_phone *p = ctx;
    struct sim_row *found = map_find(&p->rows, row_key(arena, row));

    *out = found ? arena_dup(arena, buf_slice(&found->value)) : SLICE_NONE;
    return OK;
}

static void row_free(struct sim_row *row)
{
    if (!row) return;
    buf_done(&row->value);
    free(row);
}

static void save_row(void *ctx, struct wa_row row, struct slice value)
{
    struct sim_phone *p = ctx;
    AUTO(arena) arena = {0};
    struct sim_row *made;

    if (slice_is_none(value)) {
        row_free(map_remove(&p->rows, row_key(&arena, row)));
        return;
    }
    made = xcalloc(sizeof *made);
    buf_put(&made->value, value);
    row_free(map_put(&p->rows, row_key(&arena, row), made));
}

static void random_bytes(void *ctx, void *out, size_t n) { crypto_random(out, n); }

/* ---- life ---- */

static void map_free_all(struct map *m, void (*release)(void *value))
{
    size_t at = 0;
    struct slice key;

    for (void *v; (v = map_next(m, &at, &key));)
        release(v);
    map_done(m);
}

static void release_row(void *row) { row_free(row); }

static void phone_free(struct sim_phone *p)
{
    list_remove(&p->link);
    sim_operations_drop(p);
    LIST_EACH(l, &p->letters)
    sim_letter_free(p, LIST_ENTRY(l, struct sim_letter, link));
    LIST_EACH(l, &p->sent)
    sim_sent_free(p, LIST_ENTRY(l, struct sim_sent, link));
    map_done(&p->letters_by_id);
    map_done(&p->sent_by_id);
    map_free_all(&p->device_lists, free);
    map_free_all(&p->rows, release_row);
    map_free_all(&p->lids, free);
    map_free_all(&p->numbers, free);
    map_free_all(&p->retries, free);
    map_free_all(&p->tokens, free);
    buf_done(&p->code.ref);
    buf_done(&p->code.wrapped);
    crypto_wipe(&p->identity, sizeof p->identity);
    free(p);
}

void sim_phones_done(struct sim_phones *ps)
{
    LIST_EACH(l, &ps->arrived)
    {
        buf_done(&LIST_ENTRY(l, struct arrival, link)->stanza);
        free(LIST_ENTRY(l, struct arrival, link));
    }
    LIST_EACH(l, &ps->phones)
    phone_free(LIST_ENTRY(l, struct sim_phone, link));
    map_done(&ps->by_number);
    arena_done(&ps->arena);
}

struct sim_phone *sim_phone_restore(struct sim_phones *ps, struct sim_account *account)
{
    struct sim_phone *p = xcalloc(sizeof *p);

    p->phones = ps;
    p->account = account;
    p->keystore = (struct wa_keystore){.load = load_row,
                                       .save = save_row,
                                       .random = random_bytes,
                                       .ctx = p,
                                       .identity = &p->identity};
    list_init(&p->letters);
    list_init(&p->sent);
    list_init(&p->operations);
    list_push(&ps->phones, &p->link);
    map_put(&ps->by_number, slice_text(account->number), p);
    return p;
}

static uint32_t random_u31(void)
{
    uint32_t v;

    crypto_random(&v, sizeof v);
    return v & 0x7fffffff;
}

static void add_key_bytes(struct wa_node *to, struct arena *arena, const char *tag, struct slice b)
{
    wa_node_set_bytes(wa_node_add(to, arena, tag), arena_dup(arena, b));
}

static void add_numbered(struct wa_node *to, struct arena *arena, uint32_t id,
                         const struct crypto_key *key)
{
    uint8_t number[3] = {id >> 16, id >> 8, id};

    add_key_bytes(to, arena, "id", SLICE_ARRAY(number));
    add_key_bytes(to, arena, "value", SLICE_ARRAY(key->bytes));
}

static void add_one_time_keys(struct wa_node *iq, struct sim_phone *p, struct arena *arena)
{
    struct wa_prekey_public keys[SIM_PHONE_PREKEYS];
    struct wa_node *list = wa_node_add(iq, arena, "list");
    uint32_t wanted = p->phones->relay->options.phone_prekeys, count = ARRAY_LEN(keys);

    if (wanted && wanted < count) count = wanted;
    if (wa_prekeys_make(&p->keystore, arena, &p->next_prekey, count, keys) != OK) return;
    for (size_t i = 0; i < count; i++)
        add_numbered(wa_node_add(list, arena, "key"), arena, keys[i].id, &keys[i].key);
}

static void upload_prekeys(struct sim_phone *p)
{
    AUTO(arena) arena = {0};
    char id[16];
    struct wa_node *iq = sim_phone_iq(p, &arena, "set", "encrypt", id), *skey;
    struct wa_signed_prekey signed_key;
    uint8_t registration[4] = {p->registration_id >> 24, p->registration_id >> 16,
                               p->registration_id >> 8, p->registration_id};

    if (wa_signed_prekey_load(&p->keystore, &arena, 1, &signed_key) != OK)
        wa_signed_prekey_make(&p->keystore, &arena, 1, &signed_key);
    add_key_bytes(iq, &arena, "registration", SLICE_ARRAY(registration));
    add_key_bytes(iq, &arena, "type", SLICE("\x05"));
    add_key_bytes(iq, &arena, "identity", SLICE_ARRAY(p->identity.public.bytes));
    add_one_time_keys(iq, p, &arena);
    skey = wa_node_add(iq, &arena, "skey");
    add_numbered(skey, &arena, signed_key.id, &signed_key.pair.public);
    add_key_bytes(skey, &arena, "signature", SLICE_ARRAY(signed_key.signature));
    sim_phone_send_node(p, iq);
}

static void make_keys(struct sim_phone *p)
{
    crypto_pair_new(&p->identity);
    p->registration_id = p->keystore.registration_id = random_u31();
    p->raw_id = random_u31();
    p->next_prekey = 1;
    p->app_key_at = p->phones->relay->now_ms;
    crypto_random(p->app_key, sizeof p->app_key);
    crypto_random(p->app_key_id + 2, 4); /* device 0, then the epoch */
}

static struct slice pick_lid(struct sim_relay *r, char out[SIM_NUMBER_MAX])
{
    snprintf(out, SIM_NUMBER_MAX, "1%014llu",
             (unsigned long long)(sim_random(r) % 100000000000000ull));
    return slice_text(out);
}

err_t sim_phone_new(struct sim_phones *ps, struct slice number, struct slice lid, struct slice name,
                    struct sim_phone **out)
{
    struct sim_account *account;
    char picked[SIM_NUMBER_MAX];

    if (lid.len == 0) lid = pick_lid(ps->relay, picked);
    account = sim_account_new(&ps->relay->people, number, lid, name);
    if (!account)
        return fail(BAD_ARGUMENT, "the number is taken or is not digits: " SLICE_FMT,
                    SLICE_ARG(number));
    sim_device_add(account, 0);
    *out = sim_phone_restore(ps, account);
    make_keys(*out);
    sim_phone_go(*out, true);
    upload_prekeys(*out);
    return OK;
}

struct sim_phone *sim_phone_find(const struct sim_phones *ps, struct slice number)
{
    return map_find(&ps->by_number, number);
}

void sim_phone_go(struct sim_phone *p, bool online)
{
    struct sim_relay *r = p->phones->relay;

    if (online && !p->conn) {
        p->keystore.registration_id = p->registration_id;
        p->conn = sim_conn_local(r, sim_device_find(p->account, 0), p, r->now_ms);
    } else if (!online && p->conn) {
        struct sim_conn *c = p->conn;

        p->conn = NULL;
        sim_operations_drop(p);
        sim_conn_gone(c, r->now_ms);
    }
}

/* ---- stanzas ---- */

void sim_phone_send_node(struct sim_phone *p, const struct wa_node *n)
{
    AUTO(buf) stanza = {0};

    if (!p->conn) return;
    wa_node_encode(n, &stanza);
    sim_conn_stanza(p->conn, buf_slice(&stanza), p->phones->relay->now_ms);
}

struct wa_node *sim_phone_iq(struct sim_phone *p, struct arena *arena, const char *type,
                             const char *xmlns, char out_id[16])
{
    struct wa_node *iq = wa_node_new(arena, "iq");

    snprintf(out_id, 16, "p%u", ++p->last_iq);
    wa_node_set(iq, arena, "id", arena_dup(arena, slice_text(out_id)));
    wa_node_set_jid(iq, arena, "to", wa_jid_server());
    wa_node_set_text(iq, arena, "type", type);
    wa_node_set_text(iq, arena, "xmlns", xmlns);
    return iq;
}

static void on_iq(struct sim_phone *p, const struct wa_node *n)
{
    struct arena *arena = &p->phones->arena;

    if (slice_is(wa_node_text(n, "type"), "get")) { /* a ping */
        struct wa_node *pong = wa_node_new(arena, "iq");

        wa_node_set(pong, arena, "type", SLICE("result"));
        wa_node_set_jid(pong, arena, "to", wa_jid_server());
        wa_node_set(pong, arena, "id", wa_node_text(n, "id"));
        sim_phone_send_node(p, pong);
        return;
    }
    if (slice_is(wa_node_text(n, "id"), p->scan_iq))
        sim_phone_on_linked(p, n);
    else
        sim_operations_answer(p, n);
}

static void on_ack(struct sim_phone *p, const struct wa_node *n) { sim_operations_answer(p, n); }

static void send_ack(struct sim_phone *p, const struct wa_node *n)
{
    struct arena *arena = &p->phones->arena;
    struct wa_node *ack = wa_node_new(arena, "ack");

    wa_node_set(ack, arena, "class", n->tag);
    wa_node_set(ack, arena, "id", wa_node_text(n, "id"));
    wa_node_set_jid(ack, arena, "to", wa_node_jid(n, "from"));
    wa_node_set_jid(ack, arena, "participant", wa_node_jid(n, "participant"));
    wa_node_set_jid(ack, arena, "recipient", wa_node_jid(n, "recipient"));
    wa_node_set(ack, arena, "type", wa_node_text(n, "type"));
    sim_phone_send_node(p, ack);
}

static void on_notification(struct sim_phone *p, const struct wa_node *n)
{
    const struct wa_node *count = wa_node_child(n, "count");
    struct slice type = wa_node_text(n, "type");

    send_ack(p, n);
    if (slice_is(type, "encrypt") && count) upload_prekeys(p);
    if (slice_is(type, "devices") || slice_is(type, "account_sync"))
        sim_phone_forget_devices(p, wa_node_jid(n, "from"));
    if (slice_is(type, "link_code_companion_reg")) sim_phone_on_code(p, n);
}

static void on_receipt(struct sim_phone *p, const struct wa_node *n)
{
    sim_phone_on_receipt(p, n);
    send_ack(p, n);
}

static void on_call(struct sim_phone *p, const struct wa_node *n) { send_ack(p, n); }

static const struct {
    const char *tag;
    void (*run)(struct sim_phone *p, const struct wa_node *n);
} stanzas[] = {
    {"iq", on_iq},           {"ack", on_ack},   {"message", sim_phone_on_message},
    {"receipt", on_receipt}, {"call", on_call}, {"notification", on_notification},
};

static void on_stanza(struct sim_phone *p, struct slice stanza)
{
    struct wa_node *n;

    arena_reset(&p->phones->arena);
    if (!p->conn || wa_node_decode(stanza, &p->phones->arena, &n) != OK) return;
    for (size_t i = 0; i < ARRAY_LEN(stanzas); i++)
        if (wa_node_is(n, stanzas[i].tag)) {
            stanzas[i].run(p, n);
            return;
        }
}

void sim_phones_deliver(struct sim_phones *ps, struct sim_conn *local, struct slice stanza)
{
    struct arrival *a = xcalloc(sizeof *a);

    a->phone = local->socket;
    buf_put(&a->stanza, stanza);
    list_push(&ps->arrived, &a->link);
}

void sim_phones_pump(struct sim_phones *ps)
{
    struct list done;

    list_init(&done);
    for (struct list *l; (l = list_pop(&ps->arrived));) {
        struct arrival *a = LIST_ENTRY(l, struct arrival, link);

        on_stanza(a->phone, buf_slice(&a->stanza)); /* may add to what arrived */
        buf_done(&a->stanza);
        list_push(&done, l);
    }
    LIST_EACH(l, &done) free(LIST_ENTRY(l, struct arrival, link));
}
