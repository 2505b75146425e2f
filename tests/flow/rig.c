#include "tests/flow/rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
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
#include "tests/flow/rig_port.h"
#include "tests/support/clock.h"

/* ==== the server's side, in the child ==== */

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

static int server_main(const struct rig *r)
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

/* ==== the test's side ==== */

void rig_open(struct rig *r)
{
    signal(SIGPIPE, SIG_IGN);
    *r = (struct rig){.workers = 2};
    snprintf(r->folder, sizeof r->folder, "/tmp/parley-flow-XXXXXX");
    cr_assert(mkdtemp(r->folder));
    r->sim_port = rig_port_free();
    r->control_port = rig_port_free();
    cr_assert(r->sim_port && r->control_port, "no free port");
    snprintf(r->sim_listen, sizeof r->sim_listen, "127.0.0.1:%d", r->sim_port);
    snprintf(r->sim_control, sizeof r->sim_control, "127.0.0.1:%d", r->control_port);
    rig_sim_start(r);
    rig_server_start(r);
}

static void reap(pid_t *pid, int with)
{
    if (*pid > 0) {
        kill(*pid, with);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

void rig_close(struct rig *r)
{
    char command[128];

    if (r->server > 0) rig_server_kill(r);
    reap(&r->sim, SIGKILL);
    snprintf(command, sizeof command, "rm -rf %s", r->folder);
    if (system(command) != 0) cr_log_warn("%s stays", r->folder);
}

static int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    close(fd);
    return -1;
}

void rig_sim_start(struct rig *r)
{
    char state[128];

    snprintf(state, sizeof state, "%s/sim", r->folder);
    mkdir(state, 0700);
    fflush(NULL);
    r->sim = fork();
    if (r->sim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!getenv("RIG_DEBUG") && !freopen("/dev/null", "w", stdout)) _exit(3);
        execl(PARLEY_SIM, "parley-sim", "--listen", r->sim_listen, "--control", r->sim_control,
              "--state", state, (char *)NULL);
        _exit(3);
    }
    for (int64_t until = now_ms() + 15000; now_ms() < until; nap(10)) {
        int fd = dial(r->control_port);
        if (fd < 0) continue;
        close(fd);
        return;
    }
    cr_assert_fail("the sandbox does not start");
}

void rig_sim_stop(struct rig *r) { reap(&r->sim, SIGTERM); }

void rig_server_start(struct rig *r)
{
    int to[2], from[2];

    cr_assert_eq(pipe(to), 0);
    cr_assert_eq(pipe(from), 0);
    fflush(NULL);
    r->server = fork();
    if (r->server == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        if (r->faults) setenv("PARLEY_FAULTS", r->faults, 1);
        int status = server_main(r);
        fflush(NULL);
        exit(status);
    }
    close(to[0]);
    close(from[1]);
    r->to = to[1];
    r->from = from[0];
    r->pending_len = 0;
    cr_assert_str_eq(rig_hear(r, 20000), "ready");
}

static void hang_up(struct rig *r)
{
    close(r->to);
    close(r->from);
    r->pending_len = 0;
}

void rig_server_kill(struct rig *r)
{
    reap(&r->server, SIGKILL);
    hang_up(r);
}

int rig_server_stop(struct rig *r)
{
    int status = -1;

    rig_say(r, "stop");
    for (int64_t until = now_ms() + 15000; waitpid(r->server, &status, WNOHANG) == 0; nap(5))
        cr_assert(now_ms() < until, "the server does not stop");
    r->server = 0;
    hang_up(r);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void rig_say(struct rig *r, const char *format, ...)
{
    char line[RIG_LINE_MAX];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[n] = '\n';
    cr_assert_eq(write(r->to, line, (size_t)n + 1), n + 1);
}

static bool take_line(struct rig *r)
{
    char *end = memchr(r->pending, '\n', r->pending_len);

    if (!end) return false;
    size_t n = (size_t)(end - r->pending);
    size_t keep = n < sizeof r->line - 1 ? n : sizeof r->line - 1;
    memcpy(r->line, r->pending, keep);
    r->line[keep] = '\0';
    r->pending_len -= n + 1;
    memmove(r->pending, end + 1, r->pending_len);
    return true;
}

const char *rig_hear(struct rig *r, int ms)
{
    for (int64_t until = now_ms() + ms; !take_line(r);) {
        struct pollfd p = {.fd = r->from, .events = POLLIN};
        int left = (int)(until - now_ms());

        cr_assert(left > 0, "no answer in %d ms", ms);
        if (poll(&p, 1, left) <= 0) continue;
        ssize_t n = read(r->from, r->pending + r->pending_len, sizeof r->pending - r->pending_len);
        cr_assert(n > 0, "the server is gone");
        r->pending_len += (size_t)n;
    }
    return r->line;
}

#define FORMATTED(line, format)                                                                    \
    char line[RIG_LINE_MAX];                                                                       \
    va_list args;                                                                                  \
    va_start(args, format);                                                                        \
    vsnprintf(line, sizeof line, format, args);                                                    \
    va_end(args)

const char *rig_ask(struct rig *r, const char *format, ...)
{
    FORMATTED(line, format);
    rig_say(r, "%s", line);
    return rig_hear(r, 30000);
}

void rig_until(struct rig *r, const char *wanted, int ms, const char *format, ...)
{
    FORMATTED(line, format);
    for (int64_t until = now_ms() + ms;; nap(20)) {
        rig_say(r, "%s", line);
        if (strstr(rig_hear(r, 30000), wanted)) return;
        cr_assert(now_ms() < until, "no '%s' in %d ms; last: %s", wanted, ms, r->line);
    }
}

int rig_count(struct rig *r, const char *part, const char *what)
{
    int n = 0;

    rig_say(r, "%s", what);
    for (const char *at = rig_hear(r, 30000); (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

void rig_until_count(struct rig *r, int n, const char *part, int ms, const char *what)
{
    int seen;

    for (int64_t until = now_ms() + ms; (seen = rig_count(r, part, what)) < n; nap(20))
        cr_assert(now_ms() < until, "%d of %d '%s' in %d ms", seen, n, part, ms);
    cr_assert_eq(seen, n, "%d '%s' instead of %d", seen, part, n);
}

const char *rig_sim(struct rig *r, const char *method, const char *path, const char *format, ...)
{
    static char answer[256 * 1024];
    size_t length = 0;
    AUTO(buf) request = {0};
    FORMATTED(body, format);
    int fd = dial(r->control_port);

    cr_assert(fd >= 0, "the sandbox is not there");
    buf_printf(&request,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               method, path, strlen(body), body);
    cr_assert_eq(write(fd, request.data, request.len), (ssize_t)request.len);
    for (ssize_t n; length < sizeof answer - 1 &&
                    (n = read(fd, answer + length, sizeof answer - 1 - length)) > 0;)
        length += (size_t)n;
    answer[length] = '\0';
    close(fd);
    char *start = strstr(answer, "\r\n\r\n");
    cr_assert(start, "%s", answer);
    cr_assert(strncmp(answer + 9, "2", 1) == 0, "%s %s: %s", method, path, answer);
    return start + 4;
}

const char *rig_sim_until(struct rig *r, const char *wanted, int ms, const char *path)
{
    for (int64_t until = now_ms() + ms;; nap(20)) {
        const char *answer = rig_sim(r, "GET", path, "%s", "");
        if (strstr(answer, wanted)) return answer;
        cr_assert(now_ms() < until, "no '%s' in %d ms; last: %s", wanted, ms, answer);
    }
}

void rig_pair(struct rig *r, const char *number, char out[64])
{
    char code[1024], path[128];

    rig_sim(r, "POST", "/phones", "{\"number\":\"%s\",\"name\":\"Phone %s\"}", number, number);
    rig_ask(r, "pair");
    cr_assert_eq(sscanf(r->line, "pair %63s %1023s", out, code), 2, "%s", r->line);
    snprintf(path, sizeof path, "/phones/%s/scan", number);
    rig_sim(r, "POST", path, "{\"qr\":\"%s\"}", code);
    rig_until(r, "status connected", 20000, "status %s", out);
}

void rig_open_two(struct rig *r, char account[64])
{
    rig_open(r);
    rig_pair(r, RIG_ME, account);
    rig_sim(r, "POST", "/phones", "{\"number\":\"" RIG_OTHER "\",\"name\":\"Ada\"}");
}

void rig_other_writes(struct rig *r, const char *text)
{
    rig_sim(r, "POST", "/phones/" RIG_OTHER "/send", "{\"to\":\"" RIG_ME "\",\"text\":\"%s\"}",
            text);
}
