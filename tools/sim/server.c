/* Everything of the program that is not an edge: start, clock, settling, saving, stop. */
#include "tools/sim/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/text.h"

int64_t sim_server_now(const struct sim_server *s)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + s->clock_ahead;
}

/* ---- the relay's world ---- */

/* Bytes, or with none of them the wish to close. */
struct held {
    struct list link;
    void *socket;
    struct buf bytes;
};

static void hold(struct sim_server *s, void *socket, struct slice bytes)
{
    struct held *h = xcalloc(sizeof *h);

    h->socket = socket;
    buf_put(&h->bytes, bytes);
    list_push(&s->held, &h->link);
}

static bool must_hold(const struct sim_server *s)
{
    return s->settings.state_dir && (s->dirty || !list_empty(&s->held));
}

static void host_write(void *ctx, void *socket, struct slice bytes)
{
    if (must_hold(ctx))
        hold(ctx, socket, bytes);
    else
        sim_listener_write(socket, bytes);
}

static void host_close(void *ctx, void *socket)
{
    if (must_hold(ctx))
        hold(ctx, socket, SLICE_NONE);
    else
        sim_listener_close(socket);
}

static void held_free(struct held *h)
{
    list_remove(&h->link);
    buf_done(&h->bytes);
    free(h);
}

void sim_server_forget(struct sim_server *s, void *socket)
{
    LIST_EACH(l, &s->held)
    {
        struct held *h = LIST_ENTRY(l, struct held, link);

        if (h->socket == socket) held_free(h);
    }
}

static void let_go(struct sim_server *s)
{
    LIST_EACH(l, &s->held)
    {
        struct held *h = LIST_ENTRY(l, struct held, link);

        if (h->bytes.len > 0)
            sim_listener_write(h->socket, buf_slice(&h->bytes));
        else
            sim_listener_close(h->socket);
        held_free(h);
    }
}

static void host_deliver(void *ctx, struct sim_conn *local, struct slice stanza)
{
    sim_phones_deliver(&((struct sim_server *)ctx)->phones, local, stanza);
}

static void on_save_due(uv_timer_t *t) { sim_server_commit(t->data); }

/* When the disk does not take it, what was held stays held, and the next second tries again. */
void sim_server_commit(struct sim_server *s)
{
    enum { AGAIN_MS = 1000 };
    uint64_t began = uv_hrtime();

    if (s->dirty && sim_state_save(s) != OK) {
        fprintf(stderr, "parley-sim: not saved: %s\n", err_trail());
        if (!s->stopping) uv_timer_start(&s->save, on_save_due, AGAIN_MS, 0);
        return;
    }
    s->save_from = 2 * uv_hrtime() - began;
    let_go(s);
}

static void save_soon(struct sim_server *s)
{
    uint64_t now = uv_hrtime();

    if (!s->settings.state_dir || !s->dirty) return;
    if (now >= s->save_from)
        sim_server_commit(s);
    else if (!uv_is_active((uv_handle_t *)&s->save))
        uv_timer_start(&s->save, on_save_due, (s->save_from - now) / 1000000 + 1, 0);
}

static void host_changed(void *ctx) { ((struct sim_server *)ctx)->dirty = true; }

static void host_note(void *ctx, const char *who, const char *text)
{
    fprintf(stderr, "parley-sim: %s: %s\n", who, text);
}

static void host_logged_in(void *ctx, struct sim_device *device)
{
    struct sim_server *s = ctx;

    if (s->alive.phones) sim_alive_on_login(&s->alive, device);
}

static void on_wake(uv_timer_t *t) { sim_server_settle(t->data); }

void sim_server_settle(struct sim_server *s)
{
    int64_t due, now = sim_server_now(s);

    do {
        sim_relay_tick(&s->relay, now);
        sim_phones_pump(&s->phones);
        due = sim_relay_due(&s->relay);
    } while (due <= now || !list_empty(&s->phones.arrived));
    if (s->stopping) return;
    save_soon(s);
    if (due == INT64_MAX)
        uv_timer_stop(&s->wake);
    else
        uv_timer_start(&s->wake, on_wake, due - now, 0);
}

/* ---- start ---- */

static err_t read_root_key(const char *path, struct crypto_pair *out, bool *out_found)
{
    char text[80] = {0};
    AUTO(buf) key = {0};
    FILE *f = fopen(path, "re");

    *out_found = f != NULL;
    if (!f) return OK;
    if (fgets(text, sizeof text, f)) text[strcspn(text, "\r\n")] = 0;
    fclose(f);
    if (text_unhex(slice_text(text), &key) != OK || key.len != CRYPTO_KEY)
        return fail(BAD_ARGUMENT, "--root-key-file: %s does not hold 64 hex digits", path);
    crypto_pair_from(key.data, out);
    return OK;
}

static err_t write_root_key(const char *path, const struct crypto_pair *pair)
{
    AUTO(buf) hex = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok;

    if (fd < 0) return fail(SYSTEM, "%s: %s", path, strerror(errno));
    text_hex(SLICE_ARRAY(pair->secret.bytes), &hex);
    buf_put_text(&hex, "\n");
    ok = write(fd, hex.data, hex.len) == (ssize_t)hex.len && fsync(fd) == 0;
    close(fd);
    if (!ok) return fail(SYSTEM, "%s: %s", path, strerror(errno));
    return OK;
}

static void make_keys(struct sim_keys *out)
{
    crypto_pair_new(&out->root);
    crypto_pair_new(&out->intermediate);
    crypto_pair_new(&out->server);
}

/* The root key of a file wins over that of the state. */
static err_t use_root_key(struct sim_server *s)
{
    struct sim_keys keys = s->relay.keys;
    bool found = false;

    if (!s->settings.root_key_file) return OK;
    TRY(read_root_key(s->settings.root_key_file, &keys.root, &found));
    if (!found) return write_root_key(s->settings.root_key_file, &keys.root);
    sim_relay_keys(&s->relay, &keys);
    return OK;
}

static err_t lock_state(struct sim_server *s)
{
    char path[4096];

    if (!s->settings.state_dir) return OK;
    if (mkdir(s->settings.state_dir, 0700) != 0 && errno != EEXIST)
        return fail(SYSTEM, "--state: cannot make %s: %s", s->settings.state_dir, strerror(errno));
    snprintf(path, sizeof path, "%s/lock", s->settings.state_dir);
    s->state_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->state_lock < 0) return fail(SYSTEM, "%s: %s", path, strerror(errno));
    if (flock(s->state_lock, LOCK_EX | LOCK_NB) != 0)
        return fail(STORE_LOCKED, "%s is used by another parley-sim", s->settings.state_dir);
    return OK;
}

err_t sim_server_init(struct sim_server *s, uv_loop_t *loop, const struct sim_settings *settings)
{
    struct sim_host host = {.ctx = s,
                            .write = host_write,
                            .close = host_close,
                            .deliver = host_deliver,
                            .changed = host_changed,
                            .note = host_note,
                            .logged_in = host_logged_in};
    struct sim_keys keys;

    *s = (struct sim_server){.loop = loop, .settings = *settings, .state_lock = -1};
    uv_timer_init(loop, &s->wake);
    uv_timer_init(loop, &s->save);
    s->wake.data = s->save.data = s;
    list_init(&s->held);
    crypto_start();
    make_keys(&keys);
    sim_relay_init(&s->relay, &host, &settings->relay, &keys, sim_server_now(s));
    sim_phones_init(&s->phones, &s->relay);
    TRY(lock_state(s));
    if (settings->state_dir) TRY(sim_state_load(s));
    TRY(use_root_key(s));
    if (settings->alive) sim_alive_start(&s->alive, &s->phones);
    return OK;
}

err_t sim_server_open(struct sim_server *s)
{
    TRY(sim_listener_open(s, &s->listener));
    TRY(sim_control_open(s, &s->control));
    sim_server_settle(s);
    return OK;
}

void sim_server_stop(struct sim_server *s)
{
    if (s->stopping) return;
    s->stopping = true;
    sim_server_commit(s);
    uv_close((uv_handle_t *)&s->wake, NULL);
    uv_close((uv_handle_t *)&s->save, NULL);
    if (s->control) sim_control_stop(s->control);
    if (s->listener) sim_listener_stop(s->listener);
}

void sim_server_done(struct sim_server *s)
{
    sim_listener_free(s->listener);
    LIST_EACH(l, &s->held) held_free(LIST_ENTRY(l, struct held, link));
    sim_phones_done(&s->phones);
    sim_relay_done(&s->relay);
    crypto_wipe(&s->relay.keys, sizeof s->relay.keys);
    if (s->state_lock >= 0) close(s->state_lock);
}
