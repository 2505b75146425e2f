/* HTTP to parleyd and to the sandbox, on libcurl. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/api/json.h"
#include "tools/cli/cli.h"

enum { ANSWER_MAX = 64 << 20, FOLLOW_RETRY_S = 1 };

void answer_done(struct answer *a)
{
    buf_done(&a->body);
    *a = (struct answer){0};
}

static size_t on_body(char *data, size_t size, size_t n, void *context)
{
    struct buf *body = context;
    if (body->len + size * n > ANSWER_MAX) return 0;
    buf_put(body, slice_of(data, size * n));
    return size * n;
}

static bool socket_path(const struct cli *c, char *out, size_t n)
{
    snprintf(out, n, "%s/operator.sock", c->data);
    return access(out, F_OK) == 0;
}

bool door_first_key(const struct cli *c, char *out, size_t n)
{
    const char *prefix = c->wants_test ? "parley_test_" : "parley_live_";
    char path[4200];
    bool found = false;

    snprintf(path, sizeof(path), "%s/first-keys", c->data);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(out, (int)n, f)) {
        out[strcspn(out, "\r\n")] = '\0';
        char *at = strstr(out, prefix);
        found = at != NULL;
        if (found && at != out) memmove(out, at, strlen(at) + 1);
    }
    if (f) fclose(f);
    return found;
}

/* One way in, told when there is none. */
struct way {
    struct curl_slist *headers;
    char socket[4200]; /* the operator's, when no key is used */
};

static bool no_way(const struct cli *c, bool operator_only)
{
    if (cli_may_not_read(c->data, operator_only ? "operator.sock" : "first-keys")) return false;
    if (operator_only)
        cli_failed("keys are made through the operator's socket, and there is none in %s. Start "
                   "parleyd there (parleyd --data %s, or tools/run), or name its data folder with "
                   "--data.",
                   c->data, c->data);
    else
        cli_failed("there is no key: none in --key or PARLEY_API_KEY, no first-keys and no "
                   "operator.sock in %s. Give a key, or name the data folder of a parleyd with "
                   "--data. A new one: parleyd, or tools/run.",
                   c->data);
    return false;
}

/* A key given, a first key of the data folder, or the operator's socket. */
static bool find_way(const struct cli *c, CURL *curl, bool operator_only, struct way *out)
{
    char key[256], header[400];

    *out = (struct way){0};
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    if (operator_only || (!c->key && !door_first_key(c, key, sizeof(key)))) {
        if (!socket_path(c, out->socket, sizeof(out->socket))) return no_way(c, operator_only);
        if (cli_may_not_read(c->data, "operator.sock")) return false;
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, out->socket);
        return true;
    }
    snprintf(header, sizeof(header), "Authorization: Bearer %s", c->key ? c->key : key);
    out->headers = curl_slist_append(NULL, header);
    memset(header, 0, sizeof(header));
    return true;
}

/* Paths begin with the slash. */
static void put_url(struct buf *out, const char *base, const char *path)
{
    size_t n = strlen(base);

    while (n && base[n - 1] == '/')
        n--;
    buf_printf(out, "%.*s%s", (int)n, base, path);
}

/* Where we looked, why nobody was found, and how to have somebody there. */
static bool nobody(const struct cli *c, const struct way *way, const char *base, const char *words)
{
    if (way->socket[0])
        cli_failed("parleyd does not answer at %s (%s). Start it on that folder (parleyd --data "
                   "%s, or tools/run), or name that of a running one with --data.",
                   way->socket, words, c->data);
    else if (base == c->sandbox)
        cli_failed(
            "the sandbox does not answer at %s (%s). Start it (parley-sim, or tools/run), or "
            "say with --sandbox-control where one listens.",
            base, words);
    else
        cli_failed("parleyd does not answer at %s (%s). Start it (parleyd, or tools/run), or say "
                   "with --url or PARLEY_URL where one listens.",
                   base, words);
    return false;
}

static bool ask(const struct cli *c, CURL *curl, const struct way *way, const char *base,
                const char *method, const char *path, const char *body, struct answer *out)
{
    AUTO(buf) url = {0};
    char words[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = way->headers;

    put_url(&url, base, path);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Accept: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, buf_text(&url));
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out->body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    if (body) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CURLcode e = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (e == CURLE_OK) return true;
    answer_done(out);
    bool has_words = words[0] && !way->socket[0]; /* of a socket they name an address of TCP */
    return nobody(c, way, base, has_words ? words : curl_easy_strerror(e));
}

bool door_ask(const struct cli *c, const char *method, const char *path, const char *body,
              struct answer *out)
{
    CURL *curl = curl_easy_init();
    struct way way;

    *out = (struct answer){0};
    if (find_way(c, curl, strncmp(path, "/v1/keys", 8) == 0, &way))
        return ask(c, curl, &way, c->url, method, path, body, out);
    curl_easy_cleanup(curl);
    return false;
}

bool door_ask_sandbox(const struct cli *c, const char *method, const char *path, const char *body,
                      struct answer *out)
{
    CURL *curl = curl_easy_init();
    struct way way = {0};

    *out = (struct answer){0};
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    return ask(c, curl, &way, c->sandbox, method, path, body, out);
}

void door_escape(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char b = (unsigned char)*text;
        bool plain = (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') ||
                     strchr("-._~", b);
        if (plain) {
            buf_put_u8(out, b);
        } else {
            buf_printf(out, "%%%02X", b);
        }
    }
}

/* The words are for callers of tools: pairing is a command of its own here. */
static void name_command(struct slice words)
{
    AUTO(buf) text = {0};

    buf_put(&text, words);
    if (!strstr(buf_text(&text), "pair_account")) return;
    const char *id = strstr(buf_text(&text), "acc_");
    int length = id ? (int)strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
    fprintf(stderr, "parleyctl: here that is: parleyctl pair %s%.*s\n",
            id ? "--account " : "[--account ID]", length, id ? id : "");
}

int door_problem(const struct answer *a)
{
    struct json *j = NULL;

    if (json_parse(buf_slice(&a->body), ANSWER_MAX, &j) == OK) {
        struct slice code = json_get_text(j, "code"), words = json_get_text(j, "message");
        fprintf(stderr, "parleyctl: " SLICE_FMT ": " SLICE_FMT "\n", SLICE_ARG(code),
                SLICE_ARG(words));
        name_command(words);
    } else {
        fprintf(stderr, "parleyctl: the server answered %ld\n", a->status);
    }
    json_free(j);
    return CLI_FAILED;
}

/* ---- streams ---- */

struct follower {
    CURL *curl;
    struct buf line, data;
    char id[128]; /* of the last whole frame: one that is cut off comes again */
    char next_id[128], event[64];
    bool (*on_event)(void *context, const char *id, const char *event, struct slice data);
    void *context;
    struct buf refusal; /* the body of an answer that is no stream */
    bool ended;
};

static void take_field(struct follower *f, struct slice line)
{
    size_t colon = slice_find(line, ':');
    struct slice name = slice_sub(line, 0, colon), value = slice_from(line, colon + 1);

    if (value.len && value.data[0] == ' ') value = slice_from(value, 1);
    if (slice_is(name, "data")) {
        if (f->data.len) buf_put_u8(&f->data, '\n');
        buf_put(&f->data, value);
    } else if (slice_is(name, "id")) {
        snprintf(f->next_id, sizeof(f->next_id), SLICE_FMT, SLICE_ARG(value));
    } else if (slice_is(name, "event")) {
        snprintf(f->event, sizeof(f->event), SLICE_FMT, SLICE_ARG(value));
    }
}

static bool take_line(struct follower *f)
{
    struct slice line = buf_slice(&f->line);

    if (line.len && line.data[line.len - 1] == '\r') line.len--;
    if (line.len) {
        take_field(f, line);
        return true;
    }
    memcpy(f->id, f->next_id, sizeof(f->id));
    bool goes_on = !f->data.len || f->on_event(f->context, f->id, f->event, buf_slice(&f->data));
    buf_reset(&f->data);
    f->event[0] = '\0';
    return goes_on;
}

static size_t on_stream(char *data, size_t size, size_t n, void *context)
{
    struct follower *f = context;
    long status = 0;

    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        buf_put(&f->refusal, slice_of(data, size * n));
        return size * n;
    }
    for (size_t i = 0; i < size * n; i++) {
        if (data[i] != '\n') {
            buf_put_u8(&f->line, (uint8_t)data[i]);
            continue;
        }
        f->ended = !take_line(f);
        buf_reset(&f->line);
        if (f->ended) return 0;
    }
    return size * n;
}

/* One connection; the status it ended with, 0 when there was none, -1 when there is no way in. */
static long follow_once(const struct cli *c, struct follower *f, const char *path)
{
    AUTO(buf) url = {0};
    char header[256];
    long status = 0;

    f->curl = curl_easy_init();
    struct way way;
    if (!find_way(c, f->curl, false, &way)) {
        curl_easy_cleanup(f->curl);
        return -1;
    }
    struct curl_slist *headers = curl_slist_append(way.headers, "Accept: text/event-stream");
    if (f->id[0]) {
        snprintf(header, sizeof(header), "Last-Event-ID: %s", f->id);
        headers = curl_slist_append(headers, header);
    }
    put_url(&url, c->url, path);
    curl_easy_setopt(f->curl, CURLOPT_URL, buf_text(&url));
    curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
    curl_easy_perform(f->curl);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(f->curl);
    return status;
}

int door_follow(const struct cli *c, const char *path, const char *after,
                bool (*on_event)(void *context, const char *id, const char *event,
                                 struct slice data),
                void *context)
{
    struct follower f = {.on_event = on_event, .context = context};
    int result = CLI_DONE;
    bool told = false;

    if (after) snprintf(f.id, sizeof(f.id), "%s", after);
    memcpy(f.next_id, f.id, sizeof(f.id));
    for (;;) {
        long status = follow_once(c, &f, path);
        if (f.ended) break;
        if (status < 0) {
            result = CLI_FAILED;
            break;
        }
        if (status >= 400 && status < 500) {
            struct answer refusal = {.status = status, .body = f.refusal};
            result = door_problem(&refusal);
            break;
        }
        if (status == 0 && !told)
            fprintf(stderr,
                    "parleyctl: parleyd does not answer at %s (parleyd or tools/run starts it, "
                    "--url or PARLEY_URL names another); trying again\n",
                    c->url);
        told = status == 0;
        buf_reset(&f.line);
        buf_reset(&f.data);
        buf_reset(&f.refusal);
        memcpy(f.next_id, f.id, sizeof(f.id));
        f.event[0] = '\0';
        sleep(FOLLOW_RETRY_S);
    }
    buf_done(&f.line);
    buf_done(&f.data);
    buf_done(&f.refusal);
    return result;
}
