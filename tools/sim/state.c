/* The state file: everything that must survive a restart, as one record with a checksum, replaced
 * atomically. One function per record serves both directions, so that what is written and what is
 * read cannot differ. */
#include "tools/sim/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/reader.h"

enum { STATE_VERSION = 2, STATE_OLDEST = 1, STATE_MAX = 1 << 30, COUNT_MAX = 1 << 22 };

static const char magic[] = "parley-sim state\n";

struct archive {
    bool saving;
    struct buf out;
    struct reader in;
    uint32_t version; /* of what is read; STATE_VERSION when saving */
    struct sim_server *server;
};

/* ---- values ---- */

static void ar_int(struct archive *a, uint64_t *v)
{
    if (a->saving)
        buf_put_varint(&a->out, *v);
    else
        *v = reader_varint(&a->in);
}

#define AR_INT(a, field)                                                                           \
    do {                                                                                           \
        uint64_t ar_value_ = (uint64_t)(field);                                                    \
        ar_int((a), &ar_value_);                                                                   \
        (field) = ar_value_;                                                                       \
    } while (0)

static void ar_fixed(struct archive *a, void *bytes, size_t n)
{
    if (a->saving) {
        buf_put(&a->out, slice_of(bytes, n));
    } else {
        struct slice in = reader_bytes(&a->in, n);

        if (in.len == n) memcpy(bytes, in.data, n);
    }
}

static void ar_buf(struct archive *a, struct buf *b)
{
    if (a->saving) {
        buf_put_block(&a->out, buf_slice(b));
    } else {
        buf_reset(b);
        buf_put(b, reader_block(&a->in));
    }
}

static void ar_text(struct archive *a, char *text, size_t size)
{
    if (a->saving) {
        buf_put_block(&a->out, slice_text(text));
    } else {
        struct slice in = reader_block(&a->in);

        snprintf(text, size, SLICE_FMT, SLICE_ARG(in));
    }
}

static size_t count_list(const struct list *items)
{
    size_t n = 0;

    LIST_EACH(l, (struct list *)items) n++;
    return n;
}

/* Written: how many there are. Read: how many to make; 0 as soon as the input is wrong. */
static uint64_t ar_count(struct archive *a, uint64_t n)
{
    ar_int(a, &n);
    return !a->saving && (a->in.error || n > COUNT_MAX) ? 0 : n;
}

/* Runs `one` for every item of the list; when reading, `add` makes each first. */
static void ar_list(struct archive *a, struct list *items, struct list *(*add)(void *owner),
                    void (*one)(struct archive *a, struct list *item), void *owner)
{
    uint64_t n = ar_count(a, count_list(items));

    if (a->saving) {
        LIST_EACH(l, items) one(a, l);
        return;
    }
    for (uint64_t i = 0; i < n && !a->in.error; i++)
        one(a, add(owner));
}

/* ---- devices ---- */

static void ar_bundle(struct archive *a, struct sim_bundle *b)
{
    ar_fixed(a, b->registration, sizeof b->registration);
    ar_fixed(a, b->identity, sizeof b->identity);
    AR_INT(a, b->signed_id);
    ar_fixed(a, b->signed_public, sizeof b->signed_public);
    ar_fixed(a, b->signed_signature, sizeof b->signed_signature);
    b->prekey_count = ar_count(a, b->prekey_count);
    if (b->prekey_count > SIM_PREKEYS_MAX) b->prekey_count = 0;
    if (!a->saving && b->prekey_count) b->prekeys = xcalloc(b->prekey_count * sizeof *b->prekeys);
    for (uint32_t i = 0; i < b->prekey_count; i++) {
        AR_INT(a, b->prekeys[i].id);
        ar_fixed(a, b->prekeys[i].public, sizeof b->prekeys[i].public);
    }
}

static struct list *add_queued(void *owner)
{
    struct sim_device *dev = owner;
    struct sim_queued *q = xcalloc(sizeof *q);

    list_push(&dev->queue, &q->link);
    dev->queue_count++;
    return &q->link;
}

static void ar_queued(struct archive *a, struct list *l)
{
    struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

    AR_INT(a, q->kind);
    ar_buf(a, &q->id);
    ar_buf(a, &q->from);
    ar_buf(a, &q->participant);
    ar_buf(a, &q->stanza);
}

static struct list *add_device(void *owner) { return &sim_device_add(owner, 0)->link; }

static void ar_device(struct archive *a, struct list *l)
{
    struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

    AR_INT(a, dev->id);
    AR_INT(a, dev->key_index);
    ar_fixed(a, dev->noise, sizeof dev->noise);
    ar_bundle(a, &dev->bundle);
    ar_buf(a, &dev->identity);
    ar_list(a, &dev->queue, add_queued, ar_queued, dev);
}

/* ---- app state ---- */

static struct list *add_patch(void *owner)
{
    struct sim_patch *p = xcalloc(sizeof *p);

    list_push(&((struct sim_collection *)owner)->patches, &p->link);
    return &p->link;
}

static void ar_patch(struct archive *a, struct list *l)
{
    struct sim_patch *p = LIST_ENTRY(l, struct sim_patch, link);

    AR_INT(a, p->version);
    ar_buf(a, &p->bytes);
}

static struct list *add_collection(void *owner)
{
    struct sim_collection *c = xcalloc(sizeof *c);

    list_init(&c->patches);
    list_push(&((struct sim_account *)owner)->collections, &c->link);
    return &c->link;
}

static void ar_collection(struct archive *a, struct list *l)
{
    struct sim_collection *c = LIST_ENTRY(l, struct sim_collection, link);

    ar_buf(a, &c->name);
    AR_INT(a, c->version);
    ar_list(a, &c->patches, add_patch, ar_patch, c);
}

/* ---- accounts ---- */

/* Who is who must be read before the account exists. */
static struct sim_account *ar_account_head(struct archive *a, struct sim_account *account)
{
    struct sim_account head = {0};

    if (account) head = *account;
    ar_text(a, head.number, sizeof head.number);
    ar_text(a, head.lid, sizeof head.lid);
    ar_text(a, head.name, sizeof head.name);
    if (a->saving) return account;
    return sim_account_new(&a->server->relay.people, slice_text(head.number), slice_text(head.lid),
                           slice_text(head.name));
}

static void ar_account(struct archive *a, struct sim_account *account)
{
    account = ar_account_head(a, account);
    if (!account) {
        if (!a->in.error) a->in.error = ERR_BAD_TEXT;
        return;
    }
    AR_INT(a, account->last_device);
    ar_buf(a, &account->key_indexes);
    AR_INT(a, account->key_indexes_at);
    ar_buf(a, &account->about);
    if (a->version > 1) AR_INT(a, account->hides_reads);
    ar_list(a, &account->devices, add_device, ar_device, account);
    ar_list(a, &account->collections, add_collection, ar_collection, account);
}

static struct sim_account *ar_person(struct archive *a, struct sim_account *who)
{
    char number[SIM_NUMBER_MAX] = "";

    if (who) snprintf(number, sizeof number, "%s", who->number);
    ar_text(a, number, sizeof number);
    return a->saving ? who : sim_account_find(&a->server->relay.people, slice_text(number));
}

static void ar_people(struct archive *a, struct sim_people *people)
{
    uint64_t n = ar_count(a, count_list(&people->list));

    if (a->saving) {
        LIST_EACH(l, &people->list) ar_person(a, LIST_ENTRY(l, struct sim_person, link)->account);
        return;
    }
    for (uint64_t i = 0; i < n && !a->in.error; i++) {
        struct sim_account *who = ar_person(a, NULL);

        if (who) sim_person_add(people, who);
    }
}

static void ar_token(struct archive *a, struct sim_account *owner, struct sim_token *t)
{
    struct sim_token unknown = {0};
    struct sim_account *from = ar_person(a, t ? t->from : NULL);

    if (!t) t = from ? sim_token_of(owner, from) : &unknown;
    AR_INT(a, t->at);
    ar_fixed(a, t->bytes, sizeof t->bytes);
}

static void ar_tokens(struct archive *a, struct sim_account *owner)
{
    uint64_t n = ar_count(a, count_list(&owner->tokens));

    if (a->saving)
        LIST_EACH(l, &owner->tokens) ar_token(a, owner, LIST_ENTRY(l, struct sim_token, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_token(a, owner, NULL);
}

/* What points to other accounts comes after all of them. */
static void ar_relations(struct archive *a, struct sim_account *account)
{
    ar_people(a, &account->blocked);
    ar_people(a, &account->watchers);
    ar_people(a, &account->presence_watchers);
    ar_tokens(a, account);
}

static void ar_accounts(struct archive *a)
{
    struct list *accounts = &a->server->relay.people.accounts;
    uint64_t n = ar_count(a, count_list(accounts));

    if (a->saving) LIST_EACH(l, accounts) ar_account(a, LIST_ENTRY(l, struct sim_account, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_account(a, NULL);
    LIST_EACH(l, accounts) ar_relations(a, LIST_ENTRY(l, struct sim_account, link));
}

/* ---- groups ---- */

static void ar_member(struct archive *a, struct sim_group *g, struct sim_member *m)
{
    struct sim_account *who = ar_person(a, m ? m->account : NULL);
    bool admin = m && m->admin, creator = m && m->creator;

    AR_INT(a, admin);
    AR_INT(a, creator);
    if (a->saving || !who) return;
    m = sim_member_add(g, who);
    m->admin = admin;
    m->creator = creator;
}

/* A seat of an account that is gone cannot be hashed any more: its roster is left out. */
static void ar_roster(struct archive *a, struct sim_group *g, struct sim_roster *r)
{
    uint64_t n = ar_count(a, r ? r->count : 0);
    bool whole = true;

    if (!r) r = sim_roster_new(n); /* read */
    for (uint64_t i = 0; i < n; i++) {
        r->seats[i].account = ar_person(a, r->seats[i].account);
        AR_INT(a, r->seats[i].device);
        whole = whole && r->seats[i].account;
    }
    if (a->saving) return;
    if (whole && !a->in.error)
        sim_roster_add(g, r);
    else
        free(r);
}

static void ar_rosters(struct archive *a, struct sim_group *g)
{
    uint64_t n = ar_count(a, g->roster_count);

    if (a->saving)
        LIST_EACH(l, &g->rosters) ar_roster(a, g, LIST_ENTRY(l, struct sim_roster, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_roster(a, g, NULL);
}

static void ar_group(struct archive *a, struct sim_group *g)
{
    struct sim_group head = {0};
    uint64_t n;

    if (g) head = *g;
    ar_text(a, head.id, sizeof head.id);
    ar_text(a, head.subject, sizeof head.subject);
    if (!g)
        g = sim_group_new(&a->server->relay.people, slice_text(head.id), slice_text(head.subject));
    if (!g) {
        if (!a->in.error) a->in.error = ERR_BAD_TEXT;
        return;
    }
    AR_INT(a, g->lid_mode);
    AR_INT(a, g->created_at);
    n = ar_count(a, count_list(&g->members));
    if (a->saving)
        LIST_EACH(l, &g->members) ar_member(a, g, LIST_ENTRY(l, struct sim_member, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_member(a, g, NULL);
    AR_INT(a, g->version);
    if (a->version > 1) ar_rosters(a, g);
}

static void ar_groups(struct archive *a)
{
    struct list *groups = &a->server->relay.people.groups;
    uint64_t n = ar_count(a, count_list(groups));

    if (a->saving) LIST_EACH(l, groups) ar_group(a, LIST_ENTRY(l, struct sim_group, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_group(a, NULL);
}

/* ---- phones ---- */

static struct list *add_letter(void *owner)
{
    struct sim_phone *p = owner;

    struct sim_letter *letter = xcalloc(sizeof *letter);

    list_push(&p->letters, &letter->link);
    p->letter_count++;
    return &letter->link;
}

static void ar_kind(struct archive *a, const char **kind)
{
    static const char *const kinds[] = {"text", "protocol", "other"};
    uint64_t at = 0;

    for (size_t i = 0; a->saving && i < ARRAY_LEN(kinds); i++)
        if (strcmp(*kind, kinds[i]) == 0) at = i;
    ar_int(a, &at);
    *kind = kinds[at < ARRAY_LEN(kinds) ? at : 0];
}

static void ar_letter(struct archive *a, struct list *l)
{
    struct sim_letter *letter = LIST_ENTRY(l, struct sim_letter, link);

    ar_text(a, letter->id, sizeof letter->id);
    ar_text(a, letter->from, sizeof letter->from);
    AR_INT(a, letter->device);
    ar_buf(a, &letter->chat);
    ar_buf(a, &letter->text);
    ar_buf(a, &letter->quoted);
    ar_buf(a, &letter->sender);
    ar_kind(a, &letter->kind);
    AR_INT(a, letter->at);
    AR_INT(a, letter->from_me);
    AR_INT(a, letter->read);
    AR_INT(a, letter->sent);
    AR_INT(a, letter->delivered);
    AR_INT(a, letter->read_by_peer);
    AR_INT(a, letter->error);
}

static void index_phone(struct sim_phone *p)
{
    LIST_EACH(l, &p->letters) sim_phone_index_letter(p, LIST_ENTRY(l, struct sim_letter, link));
    LIST_EACH(l, &p->sent)
    {
        struct sim_sent *sent = LIST_ENTRY(l, struct sim_sent, link);

        map_put(&p->sent_by_id, slice_text(sent->id), sent);
    }
}

static struct list *add_sent(void *owner)
{
    struct sim_phone *p = owner;
    struct sim_sent *sent = xcalloc(sizeof *sent);

    list_push(&p->sent, &sent->link);
    p->sent_count++;
    return &sent->link;
}

static void ar_sent(struct archive *a, struct list *l)
{
    struct sim_sent *sent = LIST_ENTRY(l, struct sim_sent, link);

    ar_text(a, sent->id, sizeof sent->id);
    ar_buf(a, &sent->to);
    ar_buf(a, &sent->message);
}

static void ar_rows(struct archive *a, struct map *rows)
{
    uint64_t n = ar_count(a, rows->count);
    size_t at = 0;
    struct slice key;

    if (a->saving) {
        for (struct sim_row *row; (row = map_next(rows, &at, &key));) {
            buf_put_block(&a->out, key);
            ar_buf(a, &row->value);
        }
        return;
    }
    for (uint64_t i = 0; i < n && !a->in.error; i++) {
        struct sim_row *row = xcalloc(sizeof *row);

        key = reader_block(&a->in);
        ar_buf(a, &row->value);
        map_put(rows, key, row);
    }
}

static void ar_known_people(struct archive *a, struct sim_phone *p)
{
    uint64_t n = ar_count(a, p->lids.count);
    size_t at = 0;
    struct slice key;

    if (a->saving) {
        for (char *lid; (lid = map_next(&p->lids, &at, &key));) {
            buf_put_block(&a->out, key);
            buf_put_block(&a->out, slice_text(lid));
        }
        return;
    }
    for (uint64_t i = 0; i < n && !a->in.error; i++) {
        struct slice number = reader_block(&a->in);

        sim_phone_learn(p, number, reader_block(&a->in));
    }
}

static void ar_phone(struct archive *a, struct sim_phone *p)
{
    struct sim_account *account = ar_person(a, p ? p->account : NULL);

    if (!account) {
        if (!a->in.error) a->in.error = ERR_BAD_TEXT;
        return;
    }
    if (!p) p = sim_phone_restore(&a->server->phones, account);
    ar_fixed(a, &p->identity, sizeof p->identity);
    AR_INT(a, p->registration_id);
    AR_INT(a, p->raw_id);
    AR_INT(a, p->next_prekey);
    AR_INT(a, p->last_index);
    AR_INT(a, p->last_iq);
    ar_fixed(a, p->app_key_id, sizeof p->app_key_id);
    ar_fixed(a, p->app_key, sizeof p->app_key);
    AR_INT(a, p->app_key_at);
    ar_rows(a, &p->rows);
    ar_known_people(a, p);
    ar_list(a, &p->letters, add_letter, ar_letter, p);
    ar_list(a, &p->sent, add_sent, ar_sent, p);
    if (!a->saving) index_phone(p);
}

static void ar_phones(struct archive *a)
{
    struct list *phones = &a->server->phones.phones;
    uint64_t n = ar_count(a, count_list(phones));

    if (a->saving) LIST_EACH(l, phones) ar_phone(a, LIST_ENTRY(l, struct sim_phone, link));
    for (uint64_t i = 0; !a->saving && i < n && !a->in.error; i++)
        ar_phone(a, NULL);
}

/* ---- the whole ---- */

static void ar_server(struct archive *a)
{
    struct sim_server *s = a->server;
    struct sim_keys keys = s->relay.keys;

    ar_fixed(a, &keys, sizeof keys);
    if (!a->saving) sim_relay_keys(&s->relay, &keys);
    AR_INT(a, s->relay.last_id);
    AR_INT(a, s->relay.random);
    AR_INT(a, s->clock_ahead);
    ar_accounts(a);
    ar_groups(a);
    ar_phones(a);
    crypto_wipe(&keys, sizeof keys);
}

static err_t write_file(const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t at = 0;

    if (fd < 0) return fail(SYSTEM, "%s: %s", path, strerror(errno));
    while (at < bytes.len) {
        ssize_t n = write(fd, bytes.data + at, bytes.len - at);

        if (n <= 0) break;
        at += n;
    }
    if (at < bytes.len || fsync(fd) != 0) {
        err_t e = fail(SYSTEM, "%s: %s", path, strerror(errno));

        close(fd);
        return e;
    }
    close(fd);
    return OK;
}

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

err_t sim_state_save(struct sim_server *s)
{
    AUTO(buf) out = {0};
    struct archive a = {.saving = true, .version = STATE_VERSION, .server = s};
    char path[4096], fresh[4200];
    uint8_t hash[32];

    if (!s->settings.state_dir) {
        s->dirty = false;
        return OK;
    }
    ar_server(&a);
    buf_put_text(&out, magic);
    buf_put_be32(&out, STATE_VERSION);
    crypto_sha256(buf_slice(&a.out), hash);
    buf_put(&out, SLICE_ARRAY(hash));
    buf_put(&out, buf_slice(&a.out));
    buf_done(&a.out);
    snprintf(path, sizeof path, "%s/state", s->settings.state_dir);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    TRY(write_file(fresh, buf_slice(&out)));
    if (rename(fresh, path) != 0) return fail(SYSTEM, "%s: %s", path, strerror(errno));
    sync_folder(s->settings.state_dir);
    s->dirty = false;
    return OK;
}

static err_t read_file(const char *path, struct buf *out, bool *out_found)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = 0;

    *out_found = fd >= 0;
    if (fd < 0) return errno == ENOENT ? OK : fail(SYSTEM, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && st.st_size <= STATE_MAX)
        n = read(fd, buf_extend(out, st.st_size), st.st_size);
    close(fd);
    if (n < 0 || (size_t)n != out->len) return fail(SYSTEM, "%s: not read", path);
    return OK;
}

static err_t open_state(struct slice file, uint32_t *out_version, struct slice *out)
{
    struct reader r = reader_of(file);
    struct slice head = reader_bytes(&r, sizeof magic - 1), want;
    uint32_t version = reader_be32(&r);
    uint8_t hash[32];

    want = reader_bytes(&r, sizeof hash);
    if (r.error || !slice_is(head, magic)) return fail(STORE_DAMAGED, "not a state file");
    ENSURE(version >= STATE_OLDEST && version <= STATE_VERSION, STORE_VERSION);
    *out_version = version;
    *out = reader_rest(&r);
    crypto_sha256(*out, hash);
    if (!slice_eq(want, SLICE_ARRAY(hash)))
        return fail(STORE_DAMAGED, "the state file's checksum is wrong");
    return OK;
}

err_t sim_state_load(struct sim_server *s)
{
    AUTO(buf) file = {0};
    struct archive a = {.server = s};
    struct slice state;
    char path[4096];
    bool found;

    snprintf(path, sizeof path, "%s/state", s->settings.state_dir);
    TRY(read_file(path, &file, &found));
    if (!found) return OK;
    TRY(open_state(buf_slice(&file), &a.version, &state));
    a.in = reader_of(state);
    ar_server(&a);
    TRY(reader_end(&a.in));
    LIST_EACH(l, &s->phones.phones) sim_phone_go(LIST_ENTRY(l, struct sim_phone, link), true);
    return OK;
}
