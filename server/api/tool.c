/* What arguments name, looked up under the caller's eyes: everything the principal does not see is
 * "not found", so that ids tell nothing. And the shapes that several tools write. */
#include "server/api/tool.h"

#include <stdio.h>

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "server/config.h"
#include "server/directory.h"
#include "storage/accounts.h"

/* A tool may run away from home. */
int64_t call_now(const struct call *c)
{
    struct worker *here = worker_self();

    return worker_now(here ? here : c->home);
}

/* ---- accounts ---- */

err_t call_account(struct call *c, struct slice id, struct account_status *out)
{
    if (directory_status(c->server->directory, id, out) &&
        principal_sees(&c->who, out->tenant, out->sandbox)) {
        memcpy(c->about, out->id, sizeof(c->about));
        return OK;
    }
    return fail(NOT_FOUND, "there is no account " SLICE_FMT, SLICE_ARG(id));
}

/* At most two, of the worlds the caller sees. */
static size_t list_two(struct call *c, struct account_status *out)
{
    struct directory *d = c->server->directory;
    bool first = c->who.world == WORLD_TEST;
    size_t n = directory_list(d, c->who.tenant, first, SLICE(""), out, 2);

    if (n < 2 && c->who.all_worlds)
        n += directory_list(d, c->who.tenant, !first, SLICE(""), out + n, 2 - n);
    return n;
}

err_t call_account_arg(struct call *c, struct account_status *out)
{
    struct slice id = arg_text(c, "account_id");
    struct account_status *two;
    size_t n;

    if (!slice_is_none(id)) return call_account(c, id, out);
    two = arena_array(&c->arena, struct account_status, 2);
    n = list_two(c, two);
    if (n == 0) return fail(NOT_FOUND, "there is no account yet; pair one with pair_account");
    if (n > 1)
        return fail(BAD_ARGUMENT, "account_id is missing: this key has several accounts; "
                                  "list_accounts names them");
    return call_account(c, slice_text(two[0].id), out);
}

/* ---- chats and messages ---- */

static struct slice from_text(const char *text) { return *text ? slice_text(text) : SLICE_NONE; }

void call_scope(const struct account_status *account, struct call_chat *out)
{
    *out = (struct call_chat){.account = *account,
                              .scope = {.tenant = account->tenant, .account = account->number}};
    out->self = (struct face_person){.phone = from_text(out->account.phone),
                                     .lid = from_text(out->account.lid),
                                     .name = from_text(out->account.name)};
}

static err_t no_chat(struct slice id)
{
    return fail(NOT_FOUND, "there is no chat " SLICE_FMT, SLICE_ARG(id));
}

/* The account by its number, as chat and message ids hold it. */
static err_t scope_of_number(struct call *c, struct view *v, uint32_t number, struct call_chat *out)
{
    struct scope scope = {c->who.tenant, number};
    struct account_status status;
    struct db_account row;
    char id[ID_TEXT_MAX];

    TRY(db_account_get(v, scope, &row));
    id_number_text(ID_ACCOUNT, number, row.secret, id);
    TRY(call_account(c, slice_text(id), &status));
    call_scope(&status, out);
    return OK;
}

static err_t or_not_found(err_t e, err_t instead) { return e == ERR_NOT_FOUND ? instead : e; }

err_t call_chat(struct call *c, struct view *v, struct slice chat_id, struct call_chat *out)
{
    uint32_t account, peer;
    uint64_t secret;
    err_t e;

    if (!id_chat_parse(ID_CHAT, chat_id, &account, &peer, &secret) &&
        !id_chat_parse(ID_GROUP, chat_id, &account, &peer, &secret))
        return no_chat(chat_id);
    e = scope_of_number(c, v, account, out);
    if (e == OK) e = db_contact_resolve(v, out->scope, peer, secret, &out->contact);
    if (e == OK) e = db_chat_find(v, out->scope, out->contact.peer, &out->chat);
    return e == ERR_NOT_FOUND ? no_chat(chat_id) : e;
}

static err_t find_message(struct call *c, struct view *v, uint32_t account, struct place place,
                          struct call_chat *out, struct db_message *out_message)
{
    TRY(scope_of_number(c, v, account, out));
    TRY(db_message_get(v, out->scope, place, out_message));
    TRY(db_contact_resolve(v, out->scope, place.peer, 0, &out->contact));
    return db_chat_find(v, out->scope, out->contact.peer, &out->chat);
}

err_t call_message(struct call *c, struct view *v, struct slice message_id, struct call_chat *out,
                   struct db_message *out_message)
{
    struct place place;
    uint32_t account;
    err_t e = ERR_NOT_FOUND;

    if (id_message_parse(ID_MESSAGE, message_id, &account, &place))
        e = find_message(c, v, account, place, out, out_message);
    if (e == ERR_NOT_FOUND)
        return fail(NOT_FOUND, "there is no message " SLICE_FMT, SLICE_ARG(message_id));
    return e;
}

/* ---- damage ---- */

/* True when the row that stopped the call is one of the account it is about. Not believed without:
 * the key may be what is damaged, and name another. */
static bool find_damage(const struct call *c, const struct view *v, struct scope *out,
                        uint32_t *out_peer)
{
    struct key prefix;
    struct slice key;
    uint64_t secret;
    uint8_t kind;
    enum db db;

    if (!view_damaged(v, &db, &key) || db != DB_data) return false;
    if (!id_number_parse(ID_ACCOUNT, slice_text(c->about), &out->account, &secret)) return false;
    out->tenant = c->who.tenant;
    prefix = key_of_scope(*out);
    key_read_peer(key, out_peer, &kind);
    return slice_starts_with(key, key_slice(&prefix));
}

void call_word_damage(struct call *c, struct view *v)
{
    const char *account = v ? "" : c->ask.account;
    char chat[ID_TEXT_MAX] = "";
    struct db_contact contact;
    struct scope scope;
    uint32_t peer;

    if (v && find_damage(c, v, &scope, &peer)) {
        account = c->about;
        if (peer && db_contact_resolve(v, scope, peer, 0, &contact) == OK)
            id_chat_text(ID_CHAT, scope.account, contact.peer, contact.secret, chat);
    }
    snprintf(c->words, sizeof(c->words),
             "%s%s%s is damaged on disk; `parleyctl check` says how far. Bring back a backup%s",
             chat, *chat ? " of " : "", *account ? account : "what this call reads",
             *account ? ", or delete the account and pair the phone anew" : "");
}

/* ---- writing ---- */

struct slice call_pairing_url(struct call *c, const char *pairing)
{
    const struct config *config = c->server->config;
    size_t n = config->public_url ? strlen(config->public_url) : 0;

    if (n) {
        n -= config->public_url[n - 1] == '/';
        return arena_printf(&c->arena, "%.*s/qr/%s", (int)n, config->public_url, pairing);
    }
    /* Nobody can go to "every address"; this machine is one of them. */
    bool everywhere =
        !strncmp(config->listen, "0.0.0.0:", 8) || !strncmp(config->listen, "[::]:", 5);
    return arena_printf(&c->arena, "http://%s%s/qr/%s", everywhere ? "localhost" : "",
                        everywhere ? strrchr(config->listen, ':') : config->listen, pairing);
}

static void write_code(struct call *c, struct pen *p, const struct account_status *s)
{
    if (s->state != ACCOUNT_PAIRING || !*s->code) {
        pen_null(p, "pairing");
        return;
    }
    pen_object(p, "pairing");
    pen_word(p, "code", s->code);
    pen_text(p, "url", call_pairing_url(c, s->pairing));
    pen_time(p, "expires_at", s->code_expires_at);
    pen_int(p, "codes_left", s->codes_left);
    pen_end(p);
}

void call_write_status(struct call *c, const struct account_status *s)
{
    struct pen p = pen_on(&c->result);

    pen_object(&p, NULL);
    pen_word(&p, "account_id", s->id);
    pen_word(&p, "status", account_state_text(s->state));
    if (s->reason == WA_REASON_NONE)
        pen_null(&p, "reason");
    else
        pen_word(&p, "reason", wa_reason_text(s->reason));
    if (s->reason_code)
        pen_int(&p, "reason_code", s->reason_code);
    else
        pen_null(&p, "reason_code");
    pen_time(&p, "banned_until", s->until_s * 1000);
    pen_time(&p, "retry_at", s->retry_at);
    pen_time(&p, "changed_at", s->changed_at);
    write_code(c, &p, s);
    pen_end(&p);
}

err_t call_write_message(struct call *c, struct pen *p, const char *key, struct view *v,
                         const struct call_chat *in, const struct db_message *m)
{
    struct face_message face;

    TRY(face_message_read(&c->arena, v, in->scope, slice_text(in->account.id), &in->self,
                          &in->contact, m, &face));
    pen_raw(p, key, SLICE(""));
    face_message_json(p->out, &face);
    return OK;
}

static const char *chat_type(unsigned kind)
{
    static const char *const types[] = {
        [CONTACT_PERSON] = "person",         [CONTACT_GROUP] = "group",
        [CONTACT_STATUS] = "status",         [CONTACT_BROADCAST] = "broadcast",
        [CONTACT_NEWSLETTER] = "newsletter", [CONTACT_OTHER] = "other"};

    return kind < ARRAY_LEN(types) && types[kind] ? types[kind] : "other";
}

static err_t write_last_message(struct call *c, struct pen *p, struct view *v,
                                const struct call_chat *in)
{
    struct db_message m;
    err_t e = ERR_NOT_FOUND;

    if (!place_is_none(in->chat.last)) e = db_message_get(v, in->scope, in->chat.last, &m);
    if (e == OK) return call_write_message(c, p, "last_message", v, in, &m);
    pen_null(p, "last_message");
    return or_not_found(e, OK);
}

err_t call_write_chat(struct call *c, struct pen *p, const char *key, struct view *v,
                      const struct call_chat *in)
{
    const struct db_contact *contact = &in->contact;
    const struct db_chat *chat = &in->chat;
    struct face_person person;
    char id[ID_TEXT_MAX];
    bool is_person = contact->kind == CONTACT_PERSON;

    face_person_of(&c->arena, contact, &person);
    id_chat_text(ID_CHAT, in->scope.account, contact->peer, contact->secret, id);
    pen_object(p, key);
    pen_word(p, "id", id);
    pen_word(p, "account_id", in->account.id);
    pen_word(p, "type", chat_type(contact->kind));
    pen_text(p, "name", person.name);
    pen_text(p, "phone", person.phone);
    pen_text(p, "lid", person.lid);
    pen_text(p, "address", contact->address.len ? contact->address : SLICE_NONE);
    pen_int(p, "unread_count", chat->unread_count);
    pen_bool(p, "marked_unread", chat->marked_unread);
    pen_bool(p, "archived", chat->archived);
    pen_bool(p, "pinned", chat->pinned_ms != 0);
    pen_bool(p, "muted", chat->muted_until_ms < 0 || chat->muted_until_ms > call_now(c));
    pen_time(p, "last_activity_at", (int64_t)chat->activity_sec * 1000);
    TRY(write_last_message(c, p, v, in));
    if (is_person) {
        pen_array(p, "participants");
        pen_raw(p, NULL, SLICE(""));
        face_person_json(p->out, &person);
        pen_end(p);
    }
    pen_end(p);
    return OK;
}

/* ---- cursors ---- */

void cursor_write(struct pen *p, const char *key, char tag, const uint64_t *numbers, size_t n)
{
    AUTO(buf) raw = {0}, text = {0};

    buf_put_u8(&raw, (uint8_t)tag);
    for (size_t i = 0; i < n; i++)
        buf_put_varint(&raw, numbers[i]);
    text_base64url(buf_slice(&raw), &text);
    pen_text(p, key, buf_slice(&text));
}

err_t cursor_read(struct slice text, char tag, uint64_t *numbers, size_t n)
{
    AUTO(buf) raw = {0};
    struct reader r;

    if (text_unbase64(text, &raw) == OK) {
        r = reader_of(buf_slice(&raw));
        if (reader_u8(&r) == (uint8_t)tag) {
            for (size_t i = 0; i < n; i++)
                numbers[i] = reader_varint(&r);
            if (reader_end(&r) == OK) return OK;
        }
    }
    return fail(BAD_ARGUMENT, "cursor must be the next_cursor of a previous result of this tool");
}
