/* The server without its doors, in a child of the test: it does what it is told over a pipe, in the
 * words of rig_say(), and answers in lines. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/account/accounts.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/upkeep.h"
#include "storage/chats.h"
#include "storage/events.h"
#include "storage/id.h"
#include "storage/messages.h"
#include "storage/writer.h"
#include "tests/flow/rig.h"

static struct house {
    struct server server;
    struct config config;
    struct upkeep *upkeep;
    struct view *view;
    struct post stop;
    pthread_t listener;
} house;

static void out_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void out_line(const char *format, ...)
{
    AUTO(buf) line = {0};
    char text[RIG_LINE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_put_text(&line, text);
    buf_put_u8(&line, '\n');
    for (size_t at = 0; at < line.len;) {
        ssize_t n = write(STDOUT_FILENO, line.data + at, line.len - at);
        if (n <= 0) _exit(3);
        at += (size_t)n;
    }
}

struct errand {
    struct account_call call;
    char verb[16], to[128], text[4096];
};

static err_t run_errand(struct account_call *c, struct account *a, struct turn *t)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);

    if (strcmp(e->verb, "pair") == 0) return account_pair(a, t, c);
    if (strcmp(e->verb, "read") == 0) return account_mark_read(a, t, slice_text(e->to));
    if (strcmp(e->verb, "reconnect") == 0) return account_reconnect(a, t);
    if (strcmp(e->verb, "logout") == 0) return account_logout(a, t);
    if (strcmp(e->verb, "delete") == 0) return account_delete(a, t);
    struct wa_text text = {.text = slice_text(e->text)};
    struct wa_jid to;
    TRY(wa_jid_parse(slice_text(e->to), &to));
    if (wa_jid_is_lid(&to))
        text.to.lid = to;
    else
        text.to.pn = to;
    return account_send_text(a, t, c, &text);
}

static void on_errand_done(struct account_call *c, struct worker *home)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);
    static const char *const sent[] = {"pending", "sent", "failed"};
    struct account_status status;

    if (c->error != OK)
        out_line("%s error %s %s", e->verb, err_name(c->error), c->words);
    else if (strcmp(e->verb, "pair") == 0 &&
             directory_status(house.server.directory, slice_text(c->account), &status))
        out_line("pair %s %s", c->account, status.code);
    else if (strcmp(e->verb, "send") == 0)
        out_line("send %s %s", sent[c->sent], c->message);
    else
        out_line("%s ok", e->verb);
    free(e);
}

static bool account_scope(const char *id, struct scope *out)
{
    struct account_status status;

    if (!directory_status(house.server.directory, slice_text(id), &status)) return false;
    *out = (struct scope){status.tenant, status.number};
    return true;
}

static err_t write_messages(struct scope scope, struct buf *out)
{
    struct chat_entry entries[32];
    struct chat_cursor next;
    struct chat_filter any = {0};
    struct db_message m;
    size_t n;

    TRY(db_chat_page(house.view, scope, &any, (struct chat_cursor){0}, 32, entries, &n, &next));
    for (size_t i = 0; i < n; i++) {
        AUTO(message_walk) walk = {0};
        message_walk_init(&walk, house.view, scope, &entries[i].contact, (struct place){0},
                          RANGE_FORWARDS);
        while (message_walk_next(&walk, &m))
            buf_printf(out, "[%s %s %s " SLICE_FMT "] ", m.from_me ? "me" : "them",
                       message_status_text(m.status), wa_content_kind_text(m.type),
                       SLICE_ARG(m.text));
        TRY(message_walk_error(&walk));
    }
    return OK;
}

static err_t write_chats(struct scope scope, struct buf *out)
{
    struct chat_entry entries[32];
    struct chat_cursor next;
    struct chat_filter any = {0};
    size_t n;
    char id[ID_TEXT_MAX];

    TRY(db_chat_page(house.view, scope, &any, (struct chat_cursor){0}, 32, entries, &n, &next));
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "[%s unread=%u pn=" SLICE_FMT " lid=" SLICE_FMT " name=" SLICE_FMT "] ",
                   id_chat_text(ID_CHAT, scope.account, entries[i].contact.peer,
                                entries[i].contact.secret, id),
                   entries[i].chat.unread_count, SLICE_ARG(entries[i].contact.pn),
                   SLICE_ARG(entries[i].contact.lid), SLICE_ARG(entries[i].contact.push_name));
    return OK;
}

static err_t write_events(struct buf *out)
{
    struct db_event e;
    AUTO(range) r = {0};

    db_events(&r, house.view, 1, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &e))
        buf_printf(out, "%llu:" SLICE_FMT " ", (unsigned long long)e.seq, SLICE_ARG(e.bytes));
    return range_error(&r);
}

static void show(const char *verb, const char *account)
{
    struct scope scope = {0};
    AUTO(buf) text = {0};

    if (strcmp(verb, "events") != 0 && !account_scope(account, &scope)) {
        out_line("%s nothing", verb);
        return;
    }
    err_t e = view_begin(house.view);
    if (e == OK && strcmp(verb, "events") == 0) e = write_events(&text);
    if (e == OK && strcmp(verb, "messages") == 0) e = write_messages(scope, &text);
    if (e == OK && strcmp(verb, "chats") == 0) e = write_chats(scope, &text);
    view_end(house.view);
    out_line("%s %s%s", verb, e == OK ? "" : err_trail(), buf_text(&text));
}

/* What is allocated in this process, whoever keeps the count. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));
static void show_heap(void)
{
    out_line("heap %zu", __sanitizer_get_current_allocated_bytes
                             ? __sanitizer_get_current_allocated_bytes()
                             : mallinfo2().uordblks);
}

static void show_accounts(void)
{
    struct account_status all[64];
    size_t n = directory_list(house.server.directory, 1, true, SLICE(""), all, 64);
    AUTO(buf) text = {0};

    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "[%s %s %s] ", all[i].id, account_state_text(all[i].state), all[i].phone);
    out_line("accounts %s", buf_text(&text));
}

static void show_status(const char *account)
{
    struct account_status s;

    if (!directory_status(house.server.directory, slice_text(account), &s))
        out_line("status gone");
    else
        out_line("status %s %s reason=%s code=%d blocked=%d left=%u%s", account_state_text(s.state),
                 s.phone, s.reason ? wa_reason_text(s.reason) : "", s.reason_code, s.blocked,
                 s.codes_left, s.code[0] ? " has code" : "");
}

static void show_metric(const char *name)
{
    AUTO(buf) text = {0}, line = {0};

    metrics_write(&house.server, &text);
    buf_printf(&line, "\n%s ", name);
    const char *at = strstr(buf_text(&text), buf_text(&line));
    out_line("metric %.*s", at ? (int)strcspn(at + 1, "\n") : 4, at ? at + 1 : "none");
}

static void obey(char *line)
{
    char verb[16] = "", account[64] = "", to[128] = "";
    int at = 0;

    sscanf(line, "%15s %63s %127s %n", verb, account, to, &at);
    if (strcmp(verb, "faults") == 0) {
        err_t e = faults_parse(writer_faults(house.server.writer), slice_text(line + 7));
        out_line("faults %s", e == OK ? "ok" : err_words());
    } else if (strcmp(verb, "metric") == 0) {
        show_metric(account);
    } else if (strcmp(verb, "status") == 0) {
        show_status(account);
    } else if (strcmp(verb, "heap") == 0) {
        show_heap();
    } else if (strcmp(verb, "accounts") == 0) {
        show_accounts();
    } else if (strcmp(verb, "messages") == 0 || strcmp(verb, "events") == 0 ||
               strcmp(verb, "chats") == 0) {
        show(verb, account);
    } else {
        struct errand *e = xcalloc(sizeof *e);
        snprintf(e->verb, sizeof e->verb, "%s", verb);
        snprintf(e->to, sizeof e->to, "%s", to);
        if (at) snprintf(e->text, sizeof e->text, "%s", line + at);
        e->call.home = house.server.main;
        e->call.run = run_errand;
        e->call.done = on_errand_done;
        snprintf(e->call.account, sizeof e->call.account, "%.47s", account);
        if (strcmp(verb, "pair") == 0 && !account[0])
            account_create(&house.server, 1, true, &e->call);
        else
            account_ask(&house.server, &e->call);
    }
}

static void on_upkeep_stopped(void *arg)
{
    writer_stop(house.server.writer);
    for (size_t i = 0; i < house.server.worker_count; i++)
        worker_stop(house.server.workers[i]);
    worker_stop(house.server.main);
}
static void on_accounts_stopped(void *arg) { upkeep_stop(house.upkeep, on_upkeep_stopped, NULL); }
static void on_stop(struct post *p, struct worker *w)
{
    accounts_stop(house.server.accounts, on_accounts_stopped, NULL);
}

static void *listener_main(void *arg)
{
    static char line[RIG_LINE_MAX];

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "stop") == 0) break;
        obey(line);
    }
    house.stop.run = on_stop;
    worker_post(house.server.main, &house.stop);
    return NULL;
}

static void on_events(void *context, struct log_events *events)
{
    hubs_publish(house.server.hubs, events);
}

static err_t open_house(unsigned workers)
{
    struct server *s = &house.server;
    struct store_options store = {.path = house.config.data, .map_size = (size_t)1 << 30};
    struct writer_options writer = {.on_events = on_events};

    s->config = &house.config;
    TRY(store_open(&store, &s->store));
    writer.store = s->store;
    s->writer = writer_new(&writer);
    if (getenv("PARLEY_FAULTS"))
        TRY(faults_parse(writer_faults(s->writer), slice_text(getenv("PARLEY_FAULTS"))));
    s->main = worker_new(-1);
    s->worker_count = workers;
    s->workers = xcalloc(workers * sizeof *s->workers);
    for (size_t i = 0; i < workers; i++)
        s->workers[i] = worker_new((int)i);
    s->directory = directory_new();
    TRY(accounts_open(s, &s->accounts));
    TRY(hubs_new(s, &s->hubs));
    house.upkeep = upkeep_new(s);
    TRY(view_new(s->store, &house.view));
    TRY(writer_start(s->writer));
    for (size_t i = 0; i < workers; i++)
        TRY(worker_start(s->workers[i]));
    accounts_start(s->accounts);
    upkeep_start(house.upkeep);
    return OK;
}

static void close_house(void)
{
    struct server *s = &house.server;

    pthread_join(house.listener, NULL);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_join(s->workers[i]);
    upkeep_free(house.upkeep);
    accounts_free(s->accounts);
    hubs_free(s->hubs);
    directory_free(s->directory);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_free(s->workers[i]);
    worker_free(s->main);
    free(s->workers);
    view_free(house.view);
    writer_free(s->writer);
    store_close(s->store);
    config_done(&house.config);
}

int rig_server_main(const struct rig *r)
{
    char data[128], url[128], control[64];
    char *args[] = {(char *)"rig", (char *)"--data",
                    data,          (char *)"--sandbox-url",
                    url,           (char *)"--sandbox-control",
                    control,       NULL};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    snprintf(data, sizeof data, "%s/data", r->folder);
    snprintf(url, sizeof url, "ws://%s/ws/chat", r->sim_listen);
    snprintf(control, sizeof control, "%s", r->sim_control);
    log_start(getenv("RIG_DEBUG") ? LOG_DEBUG : LOG_WARN, false);
    crypto_start();
    if (config_load(&house.config, 7, args, NULL) != OK || open_house(r->workers) != OK) {
        fprintf(stderr, "rig: %s\n", err_trail());
        return 1;
    }
    pthread_create(&house.listener, NULL, listener_main, NULL);
    out_line("ready");
    worker_run(house.server.main);
    close_house();
    return 0;
}
