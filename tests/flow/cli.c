/* parleyctl against a running parleyd and its sandbox, as somebody types it: each line of the
 * table must end with its exit code and print its words. */
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/flow/rig_door.h"

#define FRIEND "15550007777"

static struct door door;
static char printed[1 << 18], new_test[160], new_live[160], leaked[160], looking[160];

struct step {
    const char *line; /* $TEST, $LIVE: keys that this test made; $DATA: the data folder; $URL */
    int code;
    const char *prints, *never;
};

static const struct step steps[] = {
    {"", 0, "usage: parleyctl", NULL},
    {"--version", 0, "parleyctl ", NULL},
    {"nonsense", 2, "no command 'nonsense'", NULL},
    {"--nonsense accounts", 2, "unknown option --nonsense", NULL},
    {"--url=http://x accounts", 2, "a value stands apart from its name", NULL},
    {"--url", 2, "--url wants a value", NULL},
    {"--url nonsense accounts", 2, "an address such as http://127.0.0.1:8790, not 'nonsense'",
     NULL},
    {"--sandbox-control http:// accounts", 2, "an address such as http://127.0.0.1:7801", NULL},
    {"accounts extra", 2, "accounts takes no arguments, not 'extra'", NULL},
    {"accounts --json", 2, "--json'; it stands before the command", NULL},
    {"list_chats --json", 2, "--json; it stands before the command", NULL},
    {"list_chats --limit", 2, "--limit wants a value", NULL},
    {"events extra", 2, "events does not take 'extra'; it takes [--follow]", NULL},
    {"events --count", 2, "events: --count wants a value", NULL},
    {"events --count 1 --count 2", 2, "events: --count stands twice", NULL},
    {"events --follow --follow", 2, "events: --follow stands twice", NULL},
    {"events --count none", 2, "--count wants a number from 1 on, not 'none'", NULL},
    {"events --after x", 2, "--after wants the number (seq) of an event", NULL},
    {"events --follow --after -1", 2, "--after wants the number (seq) of an event", NULL},
    {"send +" FRIEND, 2, "send wants a number", NULL},
    {"send +" FRIEND " a b", 2, "send does not take 'b'", NULL},
    {"pair --account", 2, "pair: --account wants a value", NULL},
    {"check /a /b", 2, "check does not take '/b'", NULL},
    {"check --foo", 2, "check does not take '--foo'; it takes [DIR]", NULL},
    {"key new --live --name", 2, "key: --name wants a value", "parley_live_"},
    {"get_chat", 2, "chat_id", NULL},
    {"list_chats --colour red", 2, "colour", NULL},
    {"key new", 2, "--live|--test", NULL},
    {"key new --live --test", 2, "--live|--test", NULL},
    {"key list", 0, "\"desk\"", "parley_live_"},
    {"key new --test --name reader --rights read", 0, "parley_test_", NULL},
    {"key list", 0, "\"name\":\"reader\",\"world\":\"test\",\"rights\":[\"read\"]", NULL},
    {"key new --test --rights nonsense", 1, "rights are read, write and delete", "parley_test_"},
    {"key revoke key_nonsense", 1, "not_found", NULL},
    {"key revoke", 2, "key revoke KEY_ID", NULL},
    {"--data /nowhere --key $TEST key new --test", 1, "operator's socket", "parley_test_"},
    {"--key parley_test_wrong accounts", 1, "parleyctl key new", NULL},
    {"--url $URL/ --key $TEST accounts", 0, "no account yet", NULL},
    {"--url $URL/x --key $TEST accounts", 1, "/openapi.json", NULL},
    {"--data /nowhere accounts", 1, "operator.sock in /nowhere", NULL},
    {"--data /nowhere key list", 1, "parleyd --data /nowhere", NULL},
    {"--key $TEST --sandbox-control http://127.0.0.1:9 pair --sandbox", 1,
     "the sandbox does not answer at http://127.0.0.1:9", NULL},
    {"--key $TEST accounts", 0, "no account yet", NULL}, /* no account was left behind */
    {"--key $LIVE pair --sandbox", 2, "test key", NULL},
    {"--key $TEST search_messages --query x", 1, "parleyctl pair [--account ID]", NULL},
    {"pair --help", 0, "the account stays and is named", NULL},
    {"--key $TEST pair --sandbox", 0, "is connected as +1555", NULL},
    {"--key $TEST accounts", 0, " connected ", NULL},
    {"--key $LIVE accounts", 0, "no account yet", "connected"},
    {"--key $TEST send +" FRIEND " hello", 0, "\"msg_", NULL},
    {"--key $TEST events --events message.sent", 0, "\"hello\"", "account.paired"},
    {"--key $TEST events --follow --after 0 --count 1", 0, "\"seq\":1,", "\"seq\":2,"},
    {"--key $TEST events --after 900000", 0, "are not in the log", "\"seq\":"},
    {"send_message --help", 0, "--idempotency_key TEXT", NULL},
    {"list_chats --help", 0, "(1 to 200)", "--idempotency_key"},
    {"--key $TEST list_chats --limit 5", 0, "+" FRIEND, NULL},
    {"--key $LIVE search_messages --query hello", 1, "account", "\"hello\""},
    {"--key $TEST search_messages --query hello", 0, "\"hello\"", NULL},
    {"--key $TEST search_messages --query hello", 0, ".000Z\",\"status\":", NULL}, /* sent_at */
    {"check $DATA", 0, " 0 damaged, 0 hidden, 0 out of order", NULL},
    {"check /nowhere/at/all", 1, "no database", NULL},
};

static const char *const tools[] = {
#define TOOL(name, category, flags, method, route, title, description, args, shape) #name,
#include "server/api/tools.def"
#undef TOOL
};

static void fill_in(const char *line, char *out, size_t n)
{
    char data[96];
    const struct {
        const char *word, *value;
    } words[] = {
        {"$TEST", new_test}, {"$LIVE", new_live}, {"$DATA", data}, {"$URL", getenv("PARLEY_URL")}};
    size_t length = (size_t)snprintf(out, n, "%s 2>&1 ", PARLEYCTL);

    snprintf(data, sizeof(data), "%s/data", door.folder);
    while (*line && length + 1 < n) {
        size_t i = 0;
        while (i < 4 && strncmp(line, words[i].word, strlen(words[i].word)) != 0)
            i++;
        if (i < 4) {
            length += (size_t)snprintf(out + length, n - length, "%s", words[i].value);
            line += strlen(words[i].word);
        } else {
            out[length++] = *line++;
        }
    }
    out[length] = '\0';
}

/* The exit code; what it printed, both streams, is in `printed`. */
static int type(const char *line)
{
    char command[1024];
    size_t n = 0, got;

    fill_in(line, command, sizeof(command));
    FILE *f = popen(command, "r");
    if (!f) door_failed("popen", command);
    while ((got = fread(printed + n, 1, sizeof(printed) - 1 - n, f)) > 0)
        n += got;
    printed[n] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void check(const struct step *s)
{
    int code = type(s->line);

    if (code == s->code && strstr(printed, s->prints) && !(s->never && strstr(printed, s->never)))
        return;
    fprintf(stderr, "parleyctl %s: ended with %d, wanted %d and \"%s\"\n", s->line, code, s->code,
            s->prints);
    door_failed("it printed", printed);
}

static void make_key(const char *line, const char *begins, char *out)
{
    check(&(struct step){line, 0, begins, NULL});
    if (sscanf(printed, "%159[A-Za-z0-9_-]", out) != 1 || strncmp(out, begins, strlen(begins)) != 0)
        door_failed(line, printed);
}

/* A key that is revoked opens nothing any more. */
static void revoke_key(void)
{
    char line[300], id[64] = "";
    const char *at;

    make_key("key new --live --name leaked", "parley_live_", leaked);
    check(&(struct step){"key list", 0, "\"name\":\"leaked\"", leaked});
    at = strstr(printed, "\"name\":\"leaked\"");
    while (at > printed && strncmp(at, "key_", 4) != 0)
        at--;
    sscanf(at, "%63[a-z0-9_]", id);
    snprintf(line, sizeof(line), "--key %s accounts", leaked);
    check(&(struct step){line, 0, "no account yet", NULL});
    snprintf(line, sizeof(line), "key revoke %s", id);
    check(&(struct step){line, 0, "\"revoked\":true", NULL});
    snprintf(line, sizeof(line), "--key %s accounts", leaked);
    check(&(struct step){line, 1, "or was revoked", NULL});
}

/* A copy of the database in which the first row of every leaf says that its value is longer than
 * the file: LMDB believes it. */
static void spoil_copy(const char *folder)
{
    enum { PAGE = 4096, KIND = 10, LEAF = 2, PLACES = 16 };
    uint8_t page[PAGE];
    char from[200], to[200];

    snprintf(from, sizeof(from), "%s/data/data.mdb", door.folder);
    snprintf(to, sizeof(to), "%s/data.mdb", folder);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (!in || !out) door_failed("copy", to);
    for (size_t n = 0; fread(page, 1, PAGE, in) == PAGE; n++) {
        size_t at = page[PLACES] + 256u * page[PLACES + 1];
        if (n > 1 && page[KIND] == LEAF && at < PAGE - 8) memset(page + at, 0x7f, 4);
        if (fwrite(page, 1, PAGE, out) != PAGE) door_failed("copy", to);
    }
    fclose(in);
    fclose(out);
}

/* Says what it found, whatever becomes of it. */
static void check_what_is_damaged(void)
{
    char folder[120], line[200];

    snprintf(folder, sizeof(folder), "%s/spoiled", door.folder);
    if (mkdir(folder, 0700) != 0) door_failed("mkdir", folder);
    spoil_copy(folder);
    snprintf(line, sizeof(line), "check %s", folder);
    check(&(struct step){line, 1, "pages: ", NULL});
    if (!strstr(printed, "ended the check (signal ")) door_failed("words after a check", printed);
    snprintf(line, sizeof(line), "rm -r %s", folder);
    if (system(line) != 0) door_failed("rm", folder);
}

static void make_folder(char *out, size_t n, const char *name, mode_t mode)
{
    snprintf(out, n, "%s/%s", door.folder, name);
    if (mkdir(out, mode) != 0) door_failed("mkdir", out);
}

static void write_file(const char *folder, const char *bytes, size_t n)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/data.mdb", folder);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) door_failed("write", path);
}

/* Files in which there is nothing to check: what is said is what to do. */
static void check_what_is_none(void)
{
    char folder[120], line[200];

    make_folder(folder, sizeof(folder), "none", 0700);
    snprintf(line, sizeof(line), "check %s", folder);
    write_file(folder, "", 0);
    check(&(struct step){line, 1, "data.mdb is empty", "descriptor"});
    write_file(folder, line, sizeof(line));
    check(&(struct step){line, 1, "Bring back a backup", "tells more"});
    snprintf(line, sizeof(line), "rm -r %s", folder);
    if (system(line) != 0) door_failed("rm", folder);
}

/* The programs that are started from here on are held to file modes, also when root starts them. */
static void obey_modes(void)
{
    if (geteuid() != 0) return;
    if (prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE) != 0 ||
        prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH) != 0)
        door_failed("prctl", NULL);
}

/* A folder of somebody else is not taken for an empty one. */
static void read_what_is_closed(void)
{
    static const char *const lines[] = {"--data %s accounts", "--data %s key list",
                                        "--data %s key first --test", "check %s"};
    char folder[120], line[200];

    obey_modes();
    make_folder(folder, sizeof(folder), "closed", 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(line, sizeof(line), lines[i], folder);
        check(&(struct step){line, 1, "permission denied: ", "there is no"});
    }
    rmdir(folder);
}

/* What ends the check from outside is no damage: here nobody reads what it prints. */
static void check_for_nobody(void)
{
    char line[200];
    int to[2];

    if (pipe(to) != 0) door_failed("pipe", NULL);
    close(to[0]);
    signal(SIGPIPE, SIG_DFL);
    snprintf(line, sizeof(line), "check %s/data >&%d", door.folder, to[1]);
    check(&(struct step){line, 1, "the check was ended by signal 13", "damaged"});
    signal(SIGPIPE, SIG_IGN);
    close(to[1]);
}

/* A key that only looks may not write. */
static void look_and_write(void)
{
    char line[300];

    make_key("key new --test --name looker --rights read", "parley_test_", looking);
    snprintf(line, sizeof(line), "--key %s list_chats", looking);
    check(&(struct step){line, 0, "+" FRIEND, NULL});
    snprintf(line, sizeof(line), "--key %s send +" FRIEND " never", looking);
    check(&(struct step){line, 1, "forbidden", "msg_"});
}

/* Ctrl-C while the code is shown. */
static void stop_pairing(const char *account)
{
    int ends[2];
    size_t n = 0;
    ssize_t got;
    int status;
    bool is_stopped = false;

    if (pipe(ends) != 0) door_failed("pipe", "");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        execl(PARLEYCTL, "parleyctl", "--key", new_test, "pair", account ? "--account" : NULL,
              account, NULL);
        _exit(127);
    }
    close(ends[1]);
    while ((got = read(ends[0], printed + n, sizeof(printed) - 1 - n)) > 0) {
        printed[n += (size_t)got] = '\0';
        if (is_stopped || !strstr(printed, "Scan it in WhatsApp")) continue;
        is_stopped = true;
        kill(child, SIGINT);
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGINT) door_failed("Ctrl-C", printed);
}

/* Somebody who listens and is not parleyd; his port. */
static int listen_alone(int *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 60};
    socklen_t length = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (void *)&at, &length) != 0)
        door_failed("listen", NULL);
    *out_port = ntohs(at.sin_port);
    return fd;
}

/* SIGTERM before the server answers, and then there is no code: it ends by the signal all the same,
 * and its words are the server's. */
static void stop_without_code(void)
{
    static const char answer[] = "HTTP/1.1 504 x\r\nContent-Length: 63\r\nConnection: close\r\n\r\n"
                                 "{\"code\":\"server_error\",\"message\":\"later pair_account: "
                                 "acc_one\"}";
    static const char *const said[] = {"asking the sandbox for a code", "stops when the server has",
                                       "later pair_account: acc_one", "pair --account acc_one\n"};
    char url[64], request[4096];
    int port, status, fd = listen_alone(&port), ends[2];

    snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
    if (pipe(ends) != 0) door_failed("pipe", "");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        execl(PARLEYCTL, "parleyctl", "--url", url, "--key", new_test, "pair", NULL);
        _exit(127);
    }
    close(ends[1]);
    int peer = accept(fd, NULL, NULL);
    if (read(peer, request, sizeof(request)) <= 0) door_failed("no request", NULL);
    kill(child, SIGTERM);
    if (write(peer, answer, sizeof(answer) - 1) != sizeof(answer) - 1) door_failed("write", NULL);
    shutdown(peer, SHUT_WR);
    while (read(peer, request, sizeof(request)) > 0) {
    }
    close(peer);
    close(fd);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], printed + n, sizeof(printed) - 1 - n)) > 0;)
        n += (size_t)got;
    printed[n] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
        door_failed("SIGTERM before the code", printed);
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        if (!strstr(printed, said[i])) door_failed(said[i], printed);
}

/* No account is left that nobody asked for; one that was named stays. */
static void stop_pairings(void)
{
    char line[300], id[64] = "";
    const char *at;

    stop_pairing(NULL);
    if (!strstr(printed, "nothing is left of it")) door_failed("a stopped pairing", printed);
    check(&(struct step){"--key $TEST accounts", 0, " connected ", "pairing"});
    check(&(struct step){"--key $TEST accounts", 0, " connected ", "expired"});

    check(&(struct step){"--key $TEST pair_account", 0, "\"acc_", NULL});
    at = strstr(printed, "\"acc_");
    sscanf(at + 1, "%63[a-z0-9_]", id);
    stop_pairing(id);
    snprintf(line, sizeof(line), "parleyctl pair --account %s goes on", id);
    if (!strstr(printed, line)) door_failed("a stopped pairing of a named account", printed);
    check(&(struct step){"--key $TEST accounts", 0, id, NULL});
    snprintf(line, sizeof(line), "--key $TEST delete_account --account_id %s", id);
    check(&(struct step){line, 0, "\"deleted\":true", NULL});
}

/* At /metrics/accounts, of the one account there is. */
static long figure(struct line *l, const char *name)
{
    char head[80];
    const char *at;
    long value;

    snprintf(head, sizeof(head), "\n%s{account=\"acc_", name);
    at = strstr(l->answer, head);
    if (!at || strstr(at + 1, head) || sscanf(at, "%*[^}]} %ld", &value) != 1)
        door_failed(name, l->answer);
    return value;
}

static void ask_figures(void)
{
    static struct line l;

    l.fd = door_dial(door.port);
    line_say(&l, "GET /metrics/accounts", "", NULL);
    line_hear(&l);
    if (l.status != 200 || figure(&l, "parley_account_memory_bytes") < 1000 ||
        figure(&l, "parley_account_links_total") < 1 || /* the restart after pairing is another */
        figure(&l, "parley_account_undurable_turns") < 0 || figure(&l, "parley_account_lag_ms") < 0)
        door_failed("/metrics/accounts", l.answer);
    close(l.fd);
}

/* Of an account that is not connected the listing says why. */
static void see_why_it_ended(void)
{
    char line[300], id[64] = "";

    check(&(struct step){"--key $TEST accounts", 0, "REASON", NULL});
    const char *at = strstr(printed, "acc_");
    if (!at || sscanf(at, "%63[a-z0-9_]", id) != 1) door_failed("no account", printed);
    snprintf(line, sizeof(line), "--key $TEST logout_account --account_id %s", id);
    check(&(struct step){line, 0, id, NULL});
    /* The answer says that it is under way. */
    for (int tries = 0; tries < 150; tries++) {
        if (type("--key $TEST accounts") == 0 && strstr(printed, " logged_out     by_user "))
            return;
        usleep(200 * 1000);
    }
    door_failed("parleyctl accounts after a logout", printed);
}

static void point_it_there(void)
{
    char data[96], url[64], control[64];

    snprintf(data, sizeof(data), "%s/data", door.folder);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", door.port);
    snprintf(control, sizeof(control), "http://127.0.0.1:%d", door.control_port);
    setenv("PARLEY_DATA", data, 1);
    setenv("PARLEY_URL", url, 1);
    setenv("PARLEY_SANDBOX_CONTROL_URL", control, 1);
    unsetenv("PARLEY_API_KEY");
    unsetenv("WUSE_API_KEY");
}

/* The next connection asks with these words, hears that stream, and is cut off. */
static void serve_once(int listener, const char *wanted, const char *stream)
{
    char asked[4096] = "";
    size_t n = 0;
    ssize_t got;
    int fd = accept(listener, NULL, NULL);

    while (!strstr(asked, "\r\n\r\n") && n < sizeof(asked) - 1 &&
           (got = read(fd, asked + n, sizeof(asked) - 1 - n)) > 0) {
        n += (size_t)got;
        asked[n] = '\0';
    }
    if (fd < 0 || !strstr(asked, wanted)) _exit(1);
    dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n%s", stream);
    close(fd);
}

/* A server that breaks before it has told anything, and in the middle of an event. */
static void follow_what_breaks(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
    char line[160];

    if (bind(listener, (struct sockaddr *)&at, size) != 0 || listen(listener, 4) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) != 0)
        door_failed("listen", "for parleyctl events");
    pid_t server = fork();
    if (server == 0) {
        alarm(60); /* when nobody asks */
        serve_once(listener, "/v1/events", "retry: 1000\nid: 7\n\n");
        serve_once(listener, "Last-Event-ID: 7\r\n", "id: 8\nevent: x\ndata: {\"cut\":");
        serve_once(listener, "Last-Event-ID: 7\r\n", "id: 8\ndata: {\"seq\":8}\n\n");
        _exit(0);
    }
    close(listener);
    snprintf(line, sizeof(line), "--url http://127.0.0.1:%d --key parley_test_x events %s",
             ntohs(at.sin_port), "--follow --count 1");
    check(&(struct step){line, 0, "{\"seq\":8}", "cut"});
    if (waitpid(server, &status, 0) != server || status != 0)
        door_failed("parleyctl events --follow", "asks for another place than it was told");
}

int main(void)
{
    char line[128];

    door_open_with(&door, "1", (const char *[]){"--metrics-accounts", "10", NULL});
    point_it_there();
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" FRIEND "\",\"name\":\"Ada\"}");
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        check(&(struct step){"--help", 0, tools[i], NULL});
        snprintf(line, sizeof(line), "%s --help", tools[i]);
        check(&(struct step){line, 0, tools[i], NULL});
    }
    make_key("key new --live --name desk", "parley_live_", new_live);
    make_key("key new --test", "parley_test_", new_test);
    check(&(struct step){"key first --test", 0, door.key, NULL});
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        check(&steps[i]);
    revoke_key();
    look_and_write();
    stop_pairings();
    stop_without_code();
    ask_figures();
    check_what_is_damaged();
    check_what_is_none();
    check_for_nobody();
    follow_what_breaks();
    see_why_it_ended();
    read_what_is_closed();
    door_close(&door);
    check(
        &(struct step){"--key x accounts", 1, "parleyctl: parleyd does not answer at http", NULL});
    printf("%zu command lines\n", sizeof(steps) / sizeof(steps[0]));
    return 0;
}
