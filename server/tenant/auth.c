/* All keys stand in one map by their hash, under one lock; the database is read once, at start.
 * The map follows the rows: a key enters it, and leaves it, when that is durable. */
#include "server/tenant/auth.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/log.h"
#include "server/release.h"
#include "server/secret_file.h"
#include "server/server.h"
#include "server/tenant/subscriptions.h"
#include "storage/apikeys.h"
#include "storage/id.h"
#include "storage/tenants.h"
#include "storage/writer.h"

enum { KEY_RANDOM = 32, TENANT_FIRST = 1, NAME_MAX_BYTES = 63 };

struct key_entry {
    struct principal principal;
    uint32_t number;
    uint64_t secret;
    uint8_t hash[APIKEY_HASH];
    char name[NAME_MAX_BYTES + 1], hint[8];
    int64_t created_ms, expires_ms;
};

struct tenants {
    pthread_mutex_t lock;
    struct map keys; /* hash -> key_entry */
    uint64_t last_key;
    struct list subscribing;
};

/* ---- keys as text and as rows ---- */

static const char *const prefixes[] = {
    [WORLD_LIVE] = "parley_live_", [WORLD_TEST] = "parley_test_"};

static const struct {
    const char *name;
    enum right right;
} right_names[] = {
    {"read", RIGHT_READ}, {"write", RIGHT_WRITE}, {"delete", RIGHT_DELETE}, {"admin", RIGHT_ADMIN}};

static unsigned rights_of(struct slice text)
{
    struct slice word;
    unsigned rights = 0;

    while (slice_split(&text, ',', &word))
        for (size_t i = 0; i < ARRAY_LEN(right_names); i++)
            if (slice_is(word, right_names[i].name)) rights |= right_names[i].right;
    return rights;
}

static void put_rights(struct buf *out, unsigned rights)
{
    for (size_t i = 0; i < ARRAY_LEN(right_names); i++)
        if (rights & right_names[i].right)
            buf_printf(out, "%s%s", out->len ? "," : "", right_names[i].name);
}

static uint64_t new_secret(void)
{
    uint64_t secret;

    crypto_random(&secret, sizeof(secret));
    return secret ? secret : 1;
}

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Random text into `key`, everything else of the entry from the arguments. */
static struct key_entry *entry_new(uint32_t tenant, uint32_t number, enum world world,
                                   unsigned rights, struct slice name, char key[AUTH_KEY_MAX])
{
    struct key_entry *e = xcalloc(sizeof(*e));
    uint8_t random[KEY_RANDOM];
    AUTO(buf) text = {0};
    char id[ID_TEXT_MAX];

    crypto_random(random, sizeof(random));
    text_base64url(slice_of(random, sizeof(random)), &text);
    snprintf(key, AUTH_KEY_MAX, "%s%s", prefixes[world], buf_text(&text));
    crypto_wipe(random, sizeof(random));
    crypto_sha256(slice_text(key), e->hash);
    snprintf(e->hint, sizeof(e->hint), "%s", key + strlen(key) - 4);
    snprintf(e->name, sizeof(e->name), SLICE_FMT, SLICE_ARG(text_cut(name, NAME_MAX_BYTES)));
    e->number = number;
    e->secret = new_secret();
    e->created_ms = wall_ms();
    e->principal = (struct principal){.tenant = tenant, .world = world, .rights = rights};
    snprintf(e->principal.key, sizeof(e->principal.key), "%s",
             id_number_text(ID_KEY, number, e->secret, id));
    return e;
}

static void put_entry(struct batch *b, const struct key_entry *e, bool revoked)
{
    AUTO(buf) rights = {0};

    put_rights(&rights, e->principal.rights);
    db_apikey_put(b, &(struct db_apikey){
                         .tenant = e->principal.tenant,
                         .number = e->number,
                         .secret = e->secret,
                         .world = e->principal.world,
                         .revoked = revoked,
                         .created_ms = e->created_ms,
                         .expires_ms = e->expires_ms,
                         .hash = slice_of(e->hash, APIKEY_HASH),
                         .name = slice_text(e->name),
                         .rights = buf_slice(&rights),
                         .hint = slice_text(e->hint),
                     });
}

static struct key_entry *entry_of(const struct db_apikey *row)
{
    struct key_entry *e = xcalloc(sizeof(*e));
    char id[ID_TEXT_MAX];

    memcpy(e->hash, row->hash.data, row->hash.len < APIKEY_HASH ? row->hash.len : APIKEY_HASH);
    snprintf(e->name, sizeof(e->name), SLICE_FMT, SLICE_ARG(text_cut(row->name, NAME_MAX_BYTES)));
    snprintf(e->hint, sizeof(e->hint), SLICE_FMT, SLICE_ARG(text_cut(row->hint, 7)));
    e->number = row->number;
    e->secret = row->secret;
    e->created_ms = row->created_ms;
    e->expires_ms = row->expires_ms;
    e->principal = (struct principal){.tenant = row->tenant,
                                      .world = row->world ? WORLD_TEST : WORLD_LIVE,
                                      .rights = rights_of(row->rights)};
    snprintf(e->principal.key, sizeof(e->principal.key), "%s",
             id_number_text(ID_KEY, row->number, row->secret, id));
    return e;
}

static void add_entry(struct tenants *t, struct key_entry *e)
{
    map_put(&t->keys, slice_of(e->hash, APIKEY_HASH), e);
}

/* ---- start ---- */

/* The file comes before the commit: after a crash in between the next start makes new keys and
 * writes the file again, while the other order would lose them. */
static err_t write_first_keys(const char *path, const char *live, const char *test)
{
    AUTO(buf) text = {0};

    buf_printf(&text, "%s\n%s\n", live, test);
    err_t e = secret_file_write(path, buf_slice(&text));
    crypto_wipe(text.data, text.len);
    return e;
}

static err_t commit_first(struct server *s, struct key_entry *live, struct key_entry *test)
{
    struct db_tenant tenant = {.tenant = TENANT_FIRST,
                               .secret = new_secret(),
                               .created_ms = live->created_ms,
                               .name = SLICE("default")};
    struct batch b;
    err_t e;

    batch_init(&b);
    db_tenant_put(&b, &tenant);
    put_entry(&b, live, false);
    put_entry(&b, test, false);
    db_counter_put(&b, "tenant", 0, TENANT_FIRST);
    db_counter_put(&b, "key", 0, test->number);
    e = writer_commit(s->writer, &b);
    batch_done(&b);
    return e;
}

static err_t make_first(struct server *s, struct tenants *t, const char *path)
{
    char live_key[AUTH_KEY_MAX], test_key[AUTH_KEY_MAX];
    struct key_entry *live =
        entry_new(TENANT_FIRST, 1, WORLD_LIVE, RIGHTS_TOOLS, SLICE("first live key"), live_key);
    struct key_entry *test =
        entry_new(TENANT_FIRST, 2, WORLD_TEST, RIGHTS_TOOLS, SLICE("first test key"), test_key);

    add_entry(t, live);
    add_entry(t, test);
    t->last_key = test->number;
    TRY(write_first_keys(path, live_key, test_key));
    crypto_wipe(live_key, sizeof(live_key));
    crypto_wipe(test_key, sizeof(test_key));
    return commit_first(s, live, test);
}

/* A key whose row is damaged opens nothing any more; the others do. */
static bool next_key(struct range *r, struct db_apikey *out)
{
    while (!db_apikey_next(r, out)) {
        if (r->damaged)
            LOG(ERROR, NULL,
                "an API key is left out, as its row is damaged (%s): make a new one with "
                "`parleyctl key new`",
                err_trail());
        if (!range_pass_damage(r)) return false;
    }
    return true;
}

static err_t load(struct tenants *t, struct view *v, bool *out_any)
{
    AUTO(range) tenants = {0};
    struct db_tenant row;
    struct db_apikey key;

    *out_any = false;
    TRY(db_counter_find(v, "key", &t->last_key));
    db_tenants(&tenants, v);
    while (db_tenant_next(&tenants, &row)) {
        AUTO(range) keys = {0};
        *out_any = true;
        if (row.deleted) continue;
        db_apikeys(&keys, v, row.tenant);
        while (next_key(&keys, &key))
            if (!key.revoked) add_entry(t, entry_of(&key));
        TRY(range_error(&keys));
    }
    return range_error(&tenants);
}

static err_t load_or_make(struct server *s, struct tenants *t, const char *path)
{
    struct view *v;
    bool any = false;
    err_t e;

    TRY(view_new(s->store, &v));
    e = view_begin(v);
    if (e == OK) e = load(t, v, &any);
    view_end(v);
    view_free(v);
    return e == OK && !any ? make_first(s, t, path) : e;
}

err_t tenants_open(struct server *s, const char *first_keys_path, struct tenants **out)
{
    struct tenants *t = xcalloc(sizeof(*t));
    err_t e;

    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->subscribing);
    e = load_or_make(s, t, first_keys_path);
    if (e != OK) {
        tenants_close(t);
        return err_pass(e, __FILE__, __LINE__);
    }
    *out = t;
    return OK;
}

err_t tenants_start(struct server *s)
{
    struct key_entry *e;
    size_t at = 0;

    while ((e = map_next(&s->tenants->keys, &at, NULL))) {
        err_t why = subscriptions_refresh(s, e->principal.tenant, slice_text(e->principal.key));

        if (why != ERR_STORE_DAMAGED) TRY(why);
        if (why != OK)
            LOG(ERROR, NULL, "key=%s is subscribed to nothing: %s", e->principal.key, err_trail());
    }
    return OK;
}

struct list *tenants_subscribing(struct tenants *t) { return &t->subscribing; }

void tenants_close(struct tenants *t)
{
    struct key_entry *e;
    size_t at = 0;

    if (!t) return;
    while ((e = map_next(&t->keys, &at, NULL)))
        free(e);
    map_done(&t->keys);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- who asks ---- */

#define SEND_A_KEY                                                                                 \
    "send Authorization: Bearer and a key of this server, which parleyctl key first --live (or "   \
    "--test) prints and parleyctl key new --live (or --test) makes"

err_t auth_key(struct server *s, struct slice key, struct principal *out)
{
    uint8_t hash[CRYPTO_SHA256];
    struct tenants *t = s->tenants;
    struct key_entry *e;
    bool found = false;

    crypto_sha256(key, hash);
    pthread_mutex_lock(&t->lock);
    e = map_find(&t->keys, slice_of(hash, APIKEY_HASH));
    if (e && crypto_equal(slice_of(e->hash, APIKEY_HASH), slice_of(hash, APIKEY_HASH)) &&
        (e->expires_ms == 0 || e->expires_ms > wall_ms())) {
        *out = e->principal;
        found = true;
    }
    pthread_mutex_unlock(&t->lock);
    return found ? OK
                 : fail(UNAUTHORIZED, "the key in the Authorization header is none of this "
                                      "server's, or was revoked; " SEND_A_KEY);
}

static struct principal operator_principal(void)
{
    return (struct principal){.tenant = TENANT_FIRST,
                              .key = "operator",
                              .world = WORLD_LIVE,
                              .all_worlds = true,
                              .rights = RIGHTS_ALL};
}

err_t auth_request(struct server *s, const struct request *r, struct principal *out)
{
    struct slice header = request_header(r, "authorization"), scheme = slice_sub(header, 0, 7);
    struct slice key = slice_from(header, 7);

    /* The socket is the owner's; a key on it narrows the caller down like anywhere else. */
    if (slice_is_none(header)) {
        if (!r->is_operator)
            return fail(UNAUTHORIZED, "there is no Authorization header; " SEND_A_KEY);
        *out = operator_principal();
        return OK;
    }
    if (scheme.len < 7 || strncasecmp((const char *)scheme.data, "bearer ", 7) != 0)
        return fail(UNAUTHORIZED, "the Authorization header is not Bearer and a key; " SEND_A_KEY);
    while (key.len && key.data[0] == ' ')
        key = slice_from(key, 1);
    while (key.len && key.data[key.len - 1] == ' ')
        key.len--;
    return auth_key(s, key, out);
}

/* ---- making and revoking ---- */

struct key_batch {
    struct batch batch;
    struct post post;
    struct key_change *change;
    uint32_t tenant;
    bool revokes;
};

static struct key_entry *find_by_id(struct tenants *t, uint32_t tenant, struct slice id)
{
    struct key_entry *e;
    size_t at = 0;

    while ((e = map_next(&t->keys, &at, NULL)))
        if (e->principal.tenant == tenant && slice_is(id, e->principal.key)) return e;
    return NULL;
}

/* Who revoked it too may have been faster. */
static void forget_key(struct server *s, uint32_t tenant, struct slice id)
{
    struct tenants *t = s->tenants;

    pthread_mutex_lock(&t->lock);
    struct key_entry *e = find_by_id(t, tenant, id);
    if (e) map_remove(&t->keys, slice_of(e->hash, APIKEY_HASH));
    pthread_mutex_unlock(&t->lock);
    free(e);
    hubs_revoke_key(s->hubs, id);
}

static void admit_key(struct tenants *t, struct key_entry *e)
{
    pthread_mutex_lock(&t->lock);
    add_entry(t, e);
    pthread_mutex_unlock(&t->lock);
}

static void on_key_home(struct post *p, struct worker *w)
{
    struct key_batch *kb = CONTAINER_OF(p, struct key_batch, post);
    struct key_change *k = kb->change;
    err_t e = kb->batch.result;

    if (e == OK) release_check(0, kb->batch.turn, k->id, "a key");
    if (e == OK && kb->revokes)
        forget_key(k->server, kb->tenant, slice_text(k->id));
    else if (e == OK)
        admit_key(k->server->tenants, k->entry);
    else
        free(k->entry); /* a new one's; of a revocation there is none */
    batch_done(&kb->batch);
    free(kb);
    k->done(k, e);
}

static void on_key_stored(struct batch *b)
{
    struct key_batch *kb = b->context;

    kb->post.run = on_key_home;
    worker_post(kb->change->home, &kb->post);
}

static struct key_batch *open_batch(struct server *s, struct key_change *k, uint32_t tenant,
                                    bool revokes)
{
    struct key_batch *kb = xcalloc(sizeof(*kb));

    batch_init(&kb->batch);
    kb->batch.done = on_key_stored;
    kb->batch.context = kb;
    kb->change = k;
    kb->tenant = tenant;
    kb->revokes = revokes;
    k->server = s;
    k->entry = NULL;
    if (!k->home) k->home = worker_self();
    return kb;
}

void auth_key_new(struct server *s, uint32_t tenant, enum world world, unsigned rights,
                  struct slice name, struct key_change *k)
{
    struct key_batch *kb = open_batch(s, k, tenant, false);

    /* Posted under the lock, so that the counter's rows are written in the order of numbers. */
    pthread_mutex_lock(&s->tenants->lock);
    k->entry = entry_new(tenant, (uint32_t)++s->tenants->last_key, world, rights, name, k->key);
    memcpy(k->id, k->entry->principal.key, sizeof(k->id));
    put_entry(&kb->batch, k->entry, false);
    db_counter_put(&kb->batch, "key", 0, k->entry->number);
    writer_post(s->writer, &kb->batch);
    pthread_mutex_unlock(&s->tenants->lock);
}

err_t auth_key_revoke(struct server *s, uint32_t tenant, struct slice id, struct key_change *k)
{
    struct tenants *t = s->tenants;

    pthread_mutex_lock(&t->lock);
    const struct key_entry *e = find_by_id(t, tenant, id);
    if (e) {
        struct key_batch *kb = open_batch(s, k, tenant, true);
        memcpy(k->id, e->principal.key, sizeof(k->id));
        put_entry(&kb->batch, e, true);
        writer_post(s->writer, &kb->batch);
    }
    pthread_mutex_unlock(&t->lock);
    return e ? OK : fail(NOT_FOUND, "there is no key " SLICE_FMT, SLICE_ARG(id));
}

static int by_number(const void *a, const void *b)
{
    const struct key_entry *const *x = a, *const *y = b;

    return (*x)->number < (*y)->number ? -1 : (*x)->number > (*y)->number;
}

static void show_entry(const struct key_entry *e, struct key_info *out)
{
    memcpy(out->id, e->principal.key, sizeof(out->id));
    memcpy(out->name, e->name, sizeof(out->name));
    memcpy(out->hint, e->hint, sizeof(out->hint));
    out->world = e->principal.world;
    out->rights = e->principal.rights;
    out->created_ms = e->created_ms;
}

size_t auth_keys(struct tenants *t, uint32_t tenant, struct key_info *out, size_t max)
{
    struct key_entry **all, *e;
    size_t n = 0, at = 0;

    pthread_mutex_lock(&t->lock);
    all = xcalloc((t->keys.count + 1) * sizeof(struct key_entry *));
    while ((e = map_next(&t->keys, &at, NULL)))
        if (e->principal.tenant == tenant) all[n++] = e;
    qsort(all, n, sizeof(struct key_entry *), by_number);
    if (n > max) n = max;
    for (size_t i = 0; i < n; i++)
        show_entry(all[i], &out[i]);
    pthread_mutex_unlock(&t->lock);
    free(all);
    return n;
}
