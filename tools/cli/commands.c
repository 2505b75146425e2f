/* The commands that are more than one tool. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/api/json.h"
#include "server/api/qr.h"
#include "tools/cli/cli.h"

enum { ANSWER_BYTES = 64 << 20, PAIR_PATIENCE_S = 180 };

static bool flag(int *argc, char **argv, const char *name)
{
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], name) != 0) continue;
        memmove(argv + i, argv + i + 1, (size_t)(*argc - i - 1) * sizeof(char *));
        --*argc;
        return true;
    }
    return false;
}

/* The value of "--name value", taken out of the arguments; NULL when absent. */
static const char *option(int *argc, char **argv, const char *name)
{
    for (int i = 0; i + 1 < *argc; i++) {
        if (strcmp(argv[i], name) != 0) continue;
        const char *value = argv[i + 1];
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 2) * sizeof(char *));
        *argc -= 2;
        return value;
    }
    return NULL;
}

int cli_not_taken(const char *command, int argc, char **argv)
{
    const struct cli_command *row = cli_commands;
    const char *word = argv[0];

    while (strcmp(row->name, command) != 0)
        row++;
    const char *known = strncmp(word, "--", 2) == 0 ? strstr(row->usage, word) : NULL;
    char behind = known ? known[strlen(word)] : '\0';
    if (behind == ' ' && argc == 1) return cli_usage("%s: %s wants a value", command, word);
    if (behind && strchr(" ]|", behind)) return cli_usage("%s: %s stands twice", command, word);
    if (!row->usage[0])
        return cli_usage("%s takes no arguments, not '%s'%s", command, word, cli_hint(word));
    return cli_usage("%s does not take '%s'%s; it takes %s", command, word, cli_hint(word),
                     row->usage);
}

static bool is_test_key(const char *key) { return key && strncmp(key, "parley_test_", 12) == 0; }

static struct json *parse(const struct answer *a)
{
    struct json *j = NULL;
    if (json_parse(buf_slice(&a->body), ANSWER_BYTES, &j) != OK) return NULL;
    return j;
}

/* ---- accounts ---- */

static int run_accounts(struct cli *c, int argc, char **argv)
{
    struct answer a;

    if (argc) return cli_not_taken("accounts", argc, argv);
    if (!tool_ask(c, "list_accounts", "{}", &a)) return CLI_FAILED;
    struct json *j = parse(&a);
    const struct json *items = json_get(j, "accounts");
    printf("%-28s %-14s %-16s %-16s %s\n", "ACCOUNT", "STATUS", "REASON", "PHONE", "NAME");
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json *row = json_at(items, i);
        printf("%-28.*s %-14.*s %-16.*s %-16.*s " SLICE_FMT "\n",
               SLICE_ARG(json_get_text(row, "id")), SLICE_ARG(json_get_text(row, "status")),
               SLICE_ARG(json_get_text(row, "reason")), SLICE_ARG(json_get_text(row, "phone")),
               SLICE_ARG(json_get_text(row, "display_name")));
    }
    if (!json_count(items))
        fprintf(stderr, "This key has no account yet: parleyctl pair%s\n",
                is_test_key(c->key) ? " --sandbox"
                                    : " (accounts of the sandbox want --key and a test key)");
    json_free(j);
    answer_done(&a);
    return CLI_DONE;
}

/* ---- pair ---- */

static void draw_code(struct slice code, const char *url)
{
    AUTO(buf) blocks = {0};

    if (qr_terminal(code, &blocks) == OK) printf("\n%s\n", buf_text(&blocks));
    printf("Scan it in WhatsApp: Settings > Linked devices > Link a device.\n");
    if (url[0]) printf("The same code as a page: %s\n", url);
    fflush(stdout);
}

static bool ask_sandbox(struct cli *c, const char *path, struct buf *body)
{
    struct answer a;

    if (!door_ask_sandbox(c, "POST", path, buf_text(body), &a)) return false;
    bool ok = a.status < 300 || door_problem(&a) == CLI_DONE;
    answer_done(&a);
    return ok;
}

/* Its number is of this moment, so that every call has its own. */
static bool make_phone(struct cli *c, char *number, size_t n)
{
    AUTO(buf) body = {0};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(number, n, "1555%07lu",
             (unsigned long)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) %
                 10000000);
    buf_printf(&body, "{\"number\":\"%s\",\"name\":\"Sandbox phone\"}", number);
    return ask_sandbox(c, "/phones", &body);
}

static bool scan_in_sandbox(struct cli *c, struct slice code, const char *number)
{
    AUTO(buf) body = {0};
    AUTO(buf) path = {0};
    struct pen p = pen_on(&body);

    pen_object(&p, NULL);
    pen_text(&p, "qr", code);
    pen_end(&p);
    buf_printf(&path, "/phones/%s/scan", number);
    return ask_sandbox(c, buf_text(&path), &body);
}

/* ---- a pairing that is stopped ---- */

static volatile sig_atomic_t stopped_by, awaits_code;

/* Who stops it while the server looks for a code would wait without knowing what for. */
static void on_stop(int signal)
{
    static const char words[] =
        "\nparleyctl: stops when the server has answered, within some 20 s. Ctrl-C again stops it "
        "now; a new account may stay then (parleyctl accounts).\n";
    int kept = errno;

    stopped_by = signal;
    if (awaits_code && write(STDERR_FILENO, words, sizeof(words) - 1) < 0) awaits_code = 0;
    errno = kept;
}

/* Once each: who insists ends us at once. */
static void hear_stops(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction new = {.sa_handler = on_stop, .sa_flags = SA_RESTART | (int)SA_RESETHAND}, old;

    for (size_t i = 0; i < ARRAY_LEN(stops); i++)
        if (sigaction(stops[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(stops[i], &new, NULL);
}

struct pairing {
    bool is_ours; /* its account was made for it */
    char account[64], code[1200], url[600], status[32];
};

static void copy(char *out, size_t n, struct slice s) { snprintf(out, n, SLICE_FMT, SLICE_ARG(s)); }

static bool read_pairing(const struct answer *a, struct pairing *out)
{
    struct json *j = parse(a);
    const struct json *inner = json_get(j, "pairing");

    copy(out->account, sizeof(out->account), json_get_text(j, "account_id"));
    copy(out->status, sizeof(out->status), json_get_text(j, "status"));
    copy(out->code, sizeof(out->code), json_get_text(inner ? inner : j, "code"));
    copy(out->url, sizeof(out->url), json_get_text(inner ? inner : j, "url"));
    json_free(j);
    return out->status[0] != '\0';
}

static bool ask_status(struct cli *c, struct pairing *p)
{
    AUTO(buf) args = {0};
    struct answer a;
    char account[64];

    copy(account, sizeof(account), slice_text(p->account));
    buf_printf(&args, "{\"account_id\":\"%s\"}", account);
    if (!tool_ask(c, "get_account_status", buf_text(&args), &a)) return false;
    bool ok = read_pairing(&a, p);
    if (!p->account[0]) copy(p->account, sizeof(p->account), slice_text(account));
    answer_done(&a);
    return ok;
}

static bool ask_for_code(struct cli *c, const char *account, struct pairing *out)
{
    AUTO(buf) args = {0};
    struct pen pen = pen_on(&args);
    struct answer a;

    pen_object(&pen, NULL);
    if (account) pen_text(&pen, "account_id", slice_text(account));
    pen_end(&pen);
    fprintf(stderr, "parleyctl: asking %s for a code …\n",
            c->wants_test || is_test_key(c->key) ? "the sandbox" : "WhatsApp");
    awaits_code = 1;
    bool is_answered = tool_ask(c, "pair_account", buf_text(&args), &a);
    awaits_code = 0;
    if (!is_answered) return false;
    bool ok = read_pairing(&a, out) && out->code[0];
    answer_done(&a);
    if (!ok) cli_failed("the server gave no code");
    return ok;
}

static bool is_scanned(const struct pairing *p)
{
    return strcmp(p->status, "pairing") != 0 && strcmp(p->status, "expired") != 0;
}

static bool delete_account(struct cli *c, const struct pairing *p)
{
    AUTO(buf) args = {0};
    struct answer a;

    buf_printf(&args, "{\"account_id\":\"%s\"}", p->account);
    if (!tool_ask(c, "delete_account", buf_text(&args), &a)) return false;
    answer_done(&a);
    return true;
}

/* An account that was made for this pairing goes with it, unless a phone was faster. */
static void give_up(struct cli *c, struct pairing *p)
{
    if (!ask_status(c, p)) return;
    if (is_scanned(p))
        cli_failed("stopped, but a phone has scanned the code: %s is %s", p->account, p->status);
    else if (p->is_ours && delete_account(c, p))
        cli_failed("stopped before a phone scanned the code; nothing is left of it");
    else
        cli_failed("stopped before a phone scanned the code; parleyctl pair --account %s goes on",
                   p->account);
}

/* As the signal would have. */
static int end_stopped(struct cli *c, struct pairing *p)
{
    give_up(c, p);
    raise(stopped_by);
    return CLI_FAILED;
}

/* Until a phone has scanned. Where a person scans (no `number`), every new code is drawn. */
static int await_scan(struct cli *c, struct pairing *p, const char *number)
{
    char shown[sizeof(p->code)];

    copy(shown, sizeof(shown), slice_text(p->code));
    for (int waited = 0; waited < PAIR_PATIENCE_S * 5; waited++) {
        usleep(200 * 1000);
        if (stopped_by) return end_stopped(c, p);
        if (!ask_status(c, p)) return CLI_FAILED;
        if (strcmp(p->status, "connected") == 0) {
            printf("%s is connected%s%s\n", p->account, number ? " as +" : "",
                   number ? number : "");
            return CLI_DONE;
        }
        if (strcmp(p->status, "expired") == 0)
            return cli_failed(
                "no phone scanned the code in time; parleyctl pair --account %s shows new ones",
                p->account);
        if (!number && p->code[0] && strcmp(shown, p->code) != 0) {
            copy(shown, sizeof(shown), slice_text(p->code));
            draw_code(slice_text(p->code), p->url);
        }
    }
    if (is_scanned(p))
        return cli_failed("%s is still %s; parleyctl accounts shows when it is connected",
                          p->account, p->status);
    return cli_failed("%s is still %s; parleyctl pair --account %s goes on", p->account, p->status,
                      p->account);
}

static int run_pair(struct cli *c, int argc, char **argv)
{
    bool sandbox = flag(&argc, argv, "--sandbox");
    const char *account = option(&argc, argv, "--account");
    struct pairing p = {0};
    char number[32];

    if (argc) return cli_not_taken("pair", argc, argv);
    c->wants_test = c->wants_test || sandbox;
    if (sandbox && c->key && !is_test_key(c->key))
        return cli_usage("pair --sandbox wants a test key (parley_test_…)");
    /* First of all, so that without a sandbox no account is left behind. */
    if (sandbox && !make_phone(c, number, sizeof(number))) return CLI_FAILED;
    p.is_ours = !account;
    hear_stops();
    if (!ask_for_code(c, account, &p)) {
        if (stopped_by) raise(stopped_by); /* what the server said of it stands above */
        return CLI_FAILED;
    }
    if (!sandbox) {
        draw_code(slice_text(p.code), p.url);
        return await_scan(c, &p, NULL);
    }
    if (scan_in_sandbox(c, slice_text(p.code), number)) return await_scan(c, &p, number);
    if (p.is_ours) delete_account(c, &p);
    return CLI_FAILED;
}

/* ---- send ---- */

static int run_send(struct cli *c, int argc, char **argv)
{
    const char *account = option(&argc, argv, "--account");
    AUTO(buf) args = {0};
    struct pen p = pen_on(&args);
    struct answer a;

    if (argc > 2) return cli_not_taken("send", argc - 2, argv + 2);
    if (argc < 2)
        return cli_usage("send wants a number (+1…) or a chat_… and a text: parleyctl send "
                         "+14155550198 \"hello\"");
    pen_object(&p, NULL);
    pen_text(&p, strncmp(argv[0], "chat_", 5) == 0 ? "chat_id" : "to", slice_text(argv[0]));
    if (account) pen_text(&p, "account_id", slice_text(account));
    pen_text(&p, "text", slice_text(argv[1]));
    pen_end(&p);
    bool ok = tool_ask(c, "send_message", buf_text(&args), &a);
    if (ok) printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&a.body)));
    answer_done(&a);
    return ok ? CLI_DONE : CLI_FAILED;
}

/* ---- events ---- */

struct watch {
    int64_t left; /* events still wanted; negative: no end */
};

static bool print_event(void *context, const char *id, const char *event, struct slice data)
{
    struct watch *w = context;

    if (strcmp(event, "gap") == 0) { /* no event, so it is not counted */
        fprintf(stderr, SLICE_FMT "\n", SLICE_ARG(data));
        return true;
    }
    printf(SLICE_FMT "\n", SLICE_ARG(data));
    fflush(stdout);
    return w->left < 0 || --w->left > 0;
}

/* One page of the log; *more says whether another one may follow, from `cursor` on. */
static int print_page(struct cli *c, struct buf *cursor, const char *names, struct watch *w,
                      bool *more)
{
    AUTO(buf) args = {0};
    struct pen p = pen_on(&args);
    struct answer a;

    pen_object(&p, NULL);
    if (cursor->len) pen_text(&p, "cursor", buf_slice(cursor));
    if (names) tool_put_list(&p, "events", names);
    pen_end(&p);
    if (!tool_ask(c, "list_events", buf_text(&args), &a)) return CLI_FAILED;
    struct json *j = parse(&a);
    const struct json *events = json_get(j, "events");
    struct slice next = json_get_text(j, "next_cursor");
    bool wanted = true, truncated = false;
    *more = false;
    if (json_bool(json_get(j, "truncated"), &truncated) && truncated)
        fprintf(
            stderr,
            "events behind that position are not in the log (any more), or cannot be read there\n");
    json_bool(json_get(j, "has_more"), more);
    *more = *more && !slice_eq(next, buf_slice(cursor));
    for (size_t i = 0; wanted && i < json_count(events); i++) {
        AUTO(buf) line = {0};
        json_write(&line, json_at(events, i));
        wanted = print_event(w, "", "", buf_slice(&line));
    }
    *more = *more && wanted;
    buf_reset(cursor);
    buf_put(cursor, next);
    json_free(j);
    answer_done(&a);
    return CLI_DONE;
}

static int print_log(struct cli *c, const char *after, const char *names, struct watch *w)
{
    AUTO(buf) cursor = {0};
    bool more = true;
    int result = CLI_DONE;

    if (after) buf_put_text(&cursor, after);
    while (more && result == CLI_DONE)
        result = print_page(c, &cursor, names, w, &more);
    return result;
}

static int run_events(struct cli *c, int argc, char **argv)
{
    bool follow = flag(&argc, argv, "--follow");
    const char *after = option(&argc, argv, "--after");
    const char *count = option(&argc, argv, "--count");
    const char *names = option(&argc, argv, "--events");
    struct watch w = {.left = -1};
    AUTO(buf) path = {0};
    uint64_t seq;

    if (argc) return cli_not_taken("events", argc, argv);
    if (count && (text_i64(slice_text(count), &w.left) != OK || w.left < 1))
        return cli_usage("--count wants a number from 1 on, not '%s'", count);
    if (after && text_u64(slice_text(after), &seq) != OK)
        return cli_usage("--after wants the number (seq) of an event, or 0 for all, not '%s'",
                         after);
    if (follow) {
        buf_put_text(&path, "/v1/events");
        if (names) {
            buf_put_text(&path, "?events=");
            door_escape(&path, names);
        }
        return door_follow(c, buf_text(&path), after, print_event, &w);
    }
    return print_log(c, after, names, &w);
}

/* ---- keys ---- */

static int print_first_key(struct cli *c, bool test)
{
    char key[256];

    c->wants_test = test;
    if (!door_first_key(c, key, sizeof(key))) {
        if (cli_may_not_read(c->data, "first-keys")) return CLI_FAILED;
        return cli_failed("there is no first-keys in %s; name the server's folder with --data",
                          c->data);
    }
    printf("%s\n", key);
    return CLI_DONE;
}

/* Asks the operator's door; of a new key only the key itself is printed. */
static int change_keys(struct cli *c, const char *method, const char *path, const char *body)
{
    struct answer a;

    if (!door_ask(c, method, path, body, &a)) return CLI_FAILED;
    int result = a.status < 300 ? CLI_DONE : door_problem(&a);
    struct json *j = result == CLI_DONE ? parse(&a) : NULL;
    struct slice key = json_get_text(j, "key");
    struct slice shown = key.len && !c->json ? key : buf_slice(&a.body);
    if (result == CLI_DONE) printf(SLICE_FMT "\n", SLICE_ARG(shown));
    json_free(j);
    answer_done(&a);
    return result;
}

static int make_key(struct cli *c, bool live, const char *name, const char *rights)
{
    AUTO(buf) body = {0};
    struct pen p = pen_on(&body);

    pen_object(&p, NULL);
    pen_word(&p, "world", live ? "live" : "test");
    if (name) pen_text(&p, "name", slice_text(name));
    if (rights) tool_put_list(&p, "rights", rights);
    pen_end(&p);
    return change_keys(c, "POST", "/v1/keys", buf_text(&body));
}

static int run_key(struct cli *c, int argc, char **argv)
{
    bool live = flag(&argc, argv, "--live"), test = flag(&argc, argv, "--test");
    const char *name = option(&argc, argv, "--name"), *rights = option(&argc, argv, "--rights");
    const char *verb = argc ? argv[0] : "", *last = argc ? argv[argc - 1] : "";
    AUTO(buf) path = {0};

    if (strncmp(last, "--", 2) == 0) return cli_not_taken("key", 1, &argv[argc - 1]);
    if (argc == 1 && strcmp(verb, "list") == 0) return change_keys(c, "GET", "/v1/keys", NULL);
    if (argc == 1 && strcmp(verb, "first") == 0 && live != test) return print_first_key(c, test);
    if (argc == 1 && strcmp(verb, "new") == 0 && live != test)
        return make_key(c, live, name, rights);
    if (argc != 2 || strcmp(verb, "revoke") != 0)
        return cli_usage("key new --live|--test [--name NAME] [--rights read,write,delete], "
                         "key first --live|--test, key list, or key revoke KEY_ID");
    buf_put_text(&path, "/v1/keys/");
    door_escape(&path, argv[1]);
    return change_keys(c, "DELETE", buf_text(&path), NULL);
}

const struct cli_command cli_commands[] = {
    {"accounts", "", "accounts with their states", run_accounts},
    {"pair", "[--sandbox] [--account ID]",
     "pairs an account, or again one that ended: draws the code. Stopped while a code is shown it "
     "leaves no new account behind; when no code came or nobody scanned in time, the account stays "
     "and is named. With --sandbox a virtual phone scans",
     run_pair},
    {"send", "[--account ID] TO TEXT", "sends a text to a number or a chat", run_send},
    {"events", "[--follow] [--after SEQ] [--count N] [--events NAMES]",
     "prints the event log, or what arrives", run_events},
    {"key",
     "new --live|--test [--name NAME] [--rights read,write,delete] | first --live|--test | list | "
     "revoke KEY_ID",
     "makes a key, prints one of those made at first start, lists or revokes them", run_key},
    {"check", "[DIR]", "verifies a database: checksums and row counts", cli_check},
    {NULL, NULL, NULL, NULL},
};
