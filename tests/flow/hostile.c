/* parleyd among hostile HTTP clients: by the table below, all at once, while a good client keeps
 * asking and an account receives messages. Each attacker must get the answer that its row says,
 * within its time; the good client is always answered, and the account's messages are shown as
 * before; memory stays bounded. Then connections until the server takes no more: what is refused is
 * told so, and who was there is served. The end is clean.
 *
 *     flow_hostile [SECONDS [IDLE CONNECTIONS]]     (18 10000) */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/api/json.h"
#include "server/http/http.h"
#include "tests/flow/rig_door.h"
#include "tests/support/arguments.h"
#include "tests/support/clock.h"

enum {
    MESSAGES = 300,
    TEXT_BYTES = 8000,
    FLOOD_BYTES = 256 * 1024,
    GROWTH_MAX = 160 << 20, /* RssAnon, with a sanitizer's own; they could ask for gigabytes */
    GOOD_MS_MAX = 10000,    /* the slowest answer; a message may come as late as DOOR_PATIENCE_S */
    KEPT_TIMES = 20, /* the middle answer and message, as multiples of what they take alone; */
#ifdef __SANITIZE_THREAD__
    KEPT_MS = 10000, /* its own cost is most of it */
#else
    KEPT_MS = 100, /* what is faster is fast enough */
#endif
    BEATS_MAX = 20000,
    LOOK_AT_IDLE = 25, /* rounds: who says nothing is seldom spoken to */
    CROWD_STEP = 200,
    CROWD_MAX = HTTP_CONNECTIONS_MAX + 2 * CROWD_STEP,
};

#define ME "15550001111"
#define OTHER "15550002222"
#define FRIEND "15550003333"
#define HOST "Host: localhost\r\n"

static struct door door;

struct attack {
    const char *name;
    unsigned count;
    const char *first;  /* sent at once; %s: the authorisation */
    const char *repeat; /* then this, up to FLOOD_BYTES; NULL: nothing */
    unsigned drip_ms;   /* a byte of `repeat` now and then instead */
    int status;         /* what the server must say, read or not; 0: it may stay silent */
    unsigned within_ms; /* and close; 0: it may keep the connection */
    bool reads;         /* takes what comes */
};

static const struct attack attacks[] = {
    {"slow headers", 150, "GET /livez HTTP/1.1\r\n" HOST "X: ", "a", 400, 408, 17000, true},
    {"slow request line", 50, "GET /", "a", 700, 408, 17000, true},
    {"headers without end", 60, "GET /livez HTTP/1.1\r\n" HOST, "X-Flood: 0123456789\r\n", 0, 431,
     12000, true},
    {"an endless target", 30, "GET /", "aaaaaaaaaaaaaaaa", 0, 414, 12000, true},
    {"garbage", 60, "\x16\x03\x01\x02 \x80\xff\x01\x01\r\n", "\xfe\r\n", 0, 400, 12000, true},
    {"a body too large", 30,
     "POST /v1/accounts HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", NULL, 0, 413, 6000,
     true},
    {"a chunk too large", 30,
     "POST /v1/accounts HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
     NULL, 0, 400, 12000, true},
    {"two lengths", 30,
     "POST /v1/accounts HTTP/1.1\r\n" HOST
     "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     NULL, 0, 400, 12000, true},
    {"pipelined, never read", 20, "", "GET /livez HTTP/1.1\r\n" HOST "\r\n", 0, 200, 0, false},
    {"slow bodies", 100, "POST /v1/accounts HTTP/1.1\r\n" HOST "Content-Length: 4000000\r\n\r\n",
     "x", 300, 0, 0, true},
    {"streams never read", 60, "GET /v1/events?after=0 HTTP/1.1\r\n" HOST "%s\r\n", NULL, 0, 200, 0,
     false},
    {"idle connections", 10000, "", NULL, 0, 0, 0, true},
};
enum { ATTACKS = sizeof(attacks) / sizeof(attacks[0]), ATTACKERS_MAX = 12000 };
static unsigned idle_count = 10000;

static bool is_idle(const struct attack *how) { return !how->first[0] && !how->repeat; }
static unsigned count_of(const struct attack *how)
{
    return is_idle(how) ? idle_count : how->count;
}

static struct attacker {
    const struct attack *how;
    int fd;
    size_t sent;
    int64_t began, drip_at, ended; /* ms; ended: the server closed */
    char answer[16];
    size_t heard;
} attackers[ATTACKERS_MAX];
static size_t attacker_count;
static atomic_bool over;

/* ---- attackers ---- */

static void launch(const struct attack *how)
{
    struct attacker *a = &attackers[attacker_count++];
    char first[512], authorization[192];

    snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s\r\n", door.key);
    snprintf(first, sizeof(first), strstr(how->first, "%s") ? how->first : "%s",
             strstr(how->first, "%s") ? authorization : how->first);
    *a = (struct attacker){.how = how, .fd = door_dial(door.port), .began = now_ms()};
    if (a->fd < 0) door_failed("an attacker cannot connect", how->name);
    if (first[0]) send(a->fd, first, strlen(first), MSG_NOSIGNAL);
    fcntl(a->fd, F_SETFL, O_NONBLOCK);
}

static void press(struct attacker *a, int64_t now)
{
    const char *repeat = a->how->repeat;

    if (!repeat || a->ended) return;
    if (a->how->drip_ms) {
        if (now < a->drip_at) return;
        a->drip_at = now + a->how->drip_ms;
        send(a->fd, repeat, 1, MSG_NOSIGNAL);
        return;
    }
    for (int i = 0; i < 50 && a->sent < FLOOD_BYTES; i++) {
        ssize_t n = send(a->fd, repeat, strlen(repeat), MSG_NOSIGNAL);
        if (n <= 0) return;
        a->sent += (size_t)n;
    }
}

static void listen_to(struct attacker *a, int64_t now)
{
    char bytes[4096];
    ssize_t n;

    if (!a->how->reads || a->ended) return;
    while ((n = recv(a->fd, bytes, sizeof(bytes), 0)) > 0) {
        size_t room = sizeof(a->answer) - 1 - a->heard;
        size_t keep = (size_t)n < room ? (size_t)n : room;
        memcpy(a->answer + a->heard, bytes, keep);
        a->heard += keep;
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) a->ended = now;
}

static void *attack(void *arg)
{
    for (unsigned round = 0; !atomic_load(&over); round++) {
        int64_t now = now_ms();
        for (size_t i = 0; i < attacker_count; i++) {
            if (is_idle(attackers[i].how) && round % LOOK_AT_IDLE) continue;
            listen_to(&attackers[i], now);
            press(&attackers[i], now);
        }
        nap(20);
    }
    return NULL;
}

/* Also of one who never reads. */
static int status_of(struct attacker *a)
{
    if (!a->how->reads) {
        ssize_t n = recv(a->fd, a->answer, sizeof(a->answer) - 1, MSG_PEEK | MSG_DONTWAIT);
        a->heard = n > 0 ? (size_t)n : 0;
    }
    return a->heard > 9 ? atoi(a->answer + 9) : 0;
}

static unsigned judge(const struct attack *how)
{
    unsigned wrong = 0, closed = 0;
    int64_t slowest = 0;

    for (size_t i = 0; i < attacker_count; i++) {
        struct attacker *a = &attackers[i];
        if (a->how != how) continue;
        int status = status_of(a);
        int64_t took = a->ended - a->began;
        closed += a->ended != 0;
        if (a->ended && took > slowest) slowest = took;
        bool is_late = how->within_ms && (!a->ended || took > how->within_ms);
        if ((how->status && status != how->status) || is_late) {
            if (!wrong)
                fprintf(stderr, "%s: \"%s\" after %ld ms\n", how->name, a->answer, (long)took);
            wrong++;
        }
    }
    printf("%-24s %4u clients, %4u closed, the last after %5ld ms%s\n", how->name, count_of(how),
           closed, (long)slowest, wrong ? "  WRONG" : "");
    return wrong;
}

/* ---- how long it took ---- */

struct measure {
    const char *who, *what;
    double alone; /* p50 of the first time, ms */
};

/* Sorts and prints, also as multiples of the first time; the slowest, ms. */
static double tell(struct measure *m, const char *when, int64_t *us, size_t n)
{
    if (n == 0) door_failed(m->who, "nothing was measured");
    qsort(us, n, sizeof(*us), by_time);
    double p50 = (double)us[n / 2] / 1000;
    if (m->alone == 0) m->alone = p50;
    bool is_kept = p50 <= KEPT_MS || p50 <= KEPT_TIMES * m->alone;
    printf("%s %s: %zu %s, p50 %.2f ms (x%.1f), p99 %.2f ms, max %.2f ms\n", m->who, when, n,
           m->what, p50, p50 / m->alone, (double)us[n * 99 / 100] / 1000, (double)us[n - 1] / 1000);
    if (!is_kept) door_failed(m->who, "waits much longer than alone");
    return (double)us[n - 1] / 1000;
}

/* ---- the good client ---- */

static struct line good;
static char authorization_header[192];

/* Whoever comes now is told that the server lives. */
static void ask_livez(void)
{
    static struct line l;

    l.fd = door_dial(door.port);
    if (l.fd < 0) door_failed("nobody listens", NULL);
    line_say(&l, "GET /livez", "", NULL);
    line_hear(&l);
    if (l.status != 200) door_failed("/livez", l.answer);
    close(l.fd);
}

/* Asks for `ms`; the slowest answer, ms. */
static double ask_for(const char *when, int64_t ms, bool may_come)
{
    static struct measure answers = {"good client", "answers", 0};
    static int64_t took[100000];
    size_t n = 0;

    for (int64_t until = now_ms() + ms; now_ms() < until && n < 100000;) {
        int64_t from = now_us();
        line_say(&good, "GET /v1/accounts", authorization_header, NULL);
        line_hear(&good);
        if (good.status != 200) door_failed("the good client", good.answer);
        took[n++] = now_us() - from;
        if (may_come && n % 10 == 0) ask_livez();
        nap(10);
    }
    return tell(&answers, when, took, n);
}

/* ---- the account: a friend writes, and a stream shows it, over and over ---- */

static int64_t beat_us[BEATS_MAX];
static atomic_size_t beats;

static void *live_on(void *arg)
{
    static struct line stream;

    stream.fd = door_dial(door.port);
    line_say(&stream, "GET /v1/events?events=message.received", authorization_header, NULL);
    line_hear(&stream);
    if (stream.status != 200) door_failed("/v1/events", stream.answer);
    for (size_t n = 0; !atomic_load(&over) && n < BEATS_MAX; n++) {
        beat_us[n] = door_beat(&door, &stream, FRIEND, ME, n);
        atomic_store(&beats, n + 1);
        nap(20);
    }
    close(stream.fd);
    return NULL;
}

/* From beat `from` on. */
static void tell_beats(const char *when, size_t from)
{
    static struct measure messages = {"the account", "messages", 0};

    tell(&messages, when, beat_us + from, atomic_load(&beats) - from);
}

/* ---- the story ---- */

/* Bytes for the streams that nobody reads. */
static void *write_messages(void *arg)
{
    static char body[TEXT_BYTES + 64];
    size_t at = (size_t)snprintf(body, sizeof(body), "{\"to\":\"" ME "\",\"text\":\"");

    memset(body + at, 'm', TEXT_BYTES);
    memcpy(body + at + TEXT_BYTES, "\"}", 3);
    for (int i = 0; i < MESSAGES; i++)
        door_ask_sim(&door, "POST /phones/" OTHER "/send", body);
    return NULL;
}

/* Of the chat with this phone. */
static int64_t unread_of(const struct json *chats, const char *phone)
{
    int64_t n = 0;

    for (size_t i = 0; i < json_count(chats); i++)
        if (slice_is(json_get_text(json_at(chats, i), "phone"), phone))
            json_int(json_get(json_at(chats, i), "unread_count"), &n);
    return n;
}

static void wait_for_messages(void)
{
    struct json *page;
    int64_t unread = 0;

    for (int i = 0; i < 3000; i++) {
        line_say(&good, "GET /v1/chats", authorization_header, NULL);
        if (json_parse(slice_text(line_hear(&good)), DOOR_ANSWER_MAX, &page) != OK) break;
        unread = unread_of(json_get(page, "chats"), "+" OTHER);
        json_free(page);
        if (unread == MESSAGES) return;
        nap(20);
    }
    fprintf(stderr, "%ld messages of %d\n", (long)unread, MESSAGES);
    door_failed("messages were lost beside the attack", good.answer);
}

/* ---- no room ---- */

static int crowd[CROWD_MAX];
static size_t crowd_count;

/* They are taken in turn: when the newest has an answer, all of them were taken or refused. */
static void wait_for_newest(void)
{
    static const char question[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct pollfd newest = {.fd = crowd[crowd_count - 1], .events = POLLIN};

    send(newest.fd, question, sizeof(question) - 1, MSG_NOSIGNAL); /* may be closed already */
    if (poll(&newest, 1, DOOR_PATIENCE_S * 1000) != 1) door_failed("the crowd is not answered", "");
}

/* How many of the newest connections were told that there is no room. */
static unsigned refused_of_step(void)
{
    unsigned refused = 0;

    for (size_t i = crowd_count - CROWD_STEP; i < crowd_count; i++) {
        char answer[16] = "";
        ssize_t n = recv(crowd[i], answer, sizeof(answer) - 1, MSG_DONTWAIT);
        refused += n > 9 && atoi(answer + 9) == 503;
    }
    return refused;
}

static void fill_up(void)
{
    unsigned refused = 0;

    while (refused < CROWD_STEP) {
        if (crowd_count + CROWD_STEP > CROWD_MAX) door_failed("connections have no limit", NULL);
        for (int i = 0; i < CROWD_STEP; i++) {
            crowd[crowd_count] = door_dial(door.port);
            if (crowd[crowd_count++] < 0) door_failed("the crowd cannot connect", strerror(errno));
        }
        wait_for_newest();
        refused = refused_of_step();
    }
    printf("%zu connections more, and there is no room: the last %u got 503 at once\n", crowd_count,
           refused);
}

static void disperse(void)
{
    for (size_t i = 0; i < crowd_count; i++)
        close(crowd[i]);
    for (size_t i = 0; i < attacker_count; i++)
        close(attackers[i].fd);
    nap(1000);
    ask_livez();
}

/* This process needs a descriptor a connection; parleyd, which inherits the limit, another. False
 * where the system gives too few for a crowd. */
static bool raise_limit(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur >= CROWD_MAX + 100) return true;
    idle_count = 600;
    printf("%lu descriptors (ulimit -Hn): 600 idle connections, and no crowd\n",
           (unsigned long)files.rlim_cur);
    fflush(stdout);
    return false;
}

static void open_all(void)
{
    door_open(&door, "2");
    good.fd = door_dial(door.port);
    snprintf(authorization_header, sizeof(authorization_header), "Authorization: Bearer %s\r\n",
             door.key);
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" OTHER "\",\"name\":\"Ada\"}");
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" FRIEND "\",\"name\":\"Eve\"}");
    door_pair(&good, authorization_header, door.control_port, ME, NULL);
}

static void launch_all(void)
{
    for (size_t i = 0; i < ATTACKS; i++)
        for (unsigned n = 0; n < count_of(&attacks[i]); n++)
            launch(&attacks[i]);
}

/* How many of the attacks ended as they should not. */
static unsigned judge_all(void)
{
    unsigned wrong = 0;

    for (size_t i = 0; i < ATTACKS; i++)
        wrong += judge(&attacks[i]);
    return wrong;
}

static pthread_t begin(void *(*run)(void *arg))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, NULL)) door_failed("thread", NULL);
    return thread;
}

/* All of them at once for so long; the longest that the good client waited, ms. */
static double live_among_them(int seconds)
{
    size_t from = atomic_load(&beats);
    long before = door_anon_kb(&door);

    launch_all();
    pthread_t attacking = begin(attack), writing = begin(write_messages);
    double slowest = ask_for("beside them", seconds * 1000, true);
    tell_beats("beside them", from);
    long growth = door_anon_kb(&door) - before;
    pthread_join(writing, NULL);
    wait_for_messages();
    atomic_store(&over, true);
    pthread_join(attacking, NULL);
    printf("memory grew by %ld KB for %zu hostile clients and %d messages of %d KB\n", growth,
           attacker_count, MESSAGES, TEXT_BYTES / 1000);
    if (growth * 1024L > GROWTH_MAX) door_failed("memory is not bounded", NULL);
    return slowest;
}

int main(int argc, char **argv)
{
    static const char usage[] = "flow_hostile [SECONDS [IDLE CONNECTIONS]]";
    int seconds = argc > 1 ? (int)argument_number(usage, "SECONDS", argv[1], 1, 3600) : 18;

    if (argc > 2)
        idle_count = (unsigned)argument_number(usage, "IDLE CONNECTIONS", argv[2], 1, 100000);
    argument_end(usage, argc, argv, 2);
    bool has_crowd = raise_limit();
    open_all();
    pthread_t living = begin(live_on);
    ask_for("alone", 1500, true);
    tell_beats("alone", 0);
    long before = door_anon_kb(&door);
    double slowest = live_among_them(seconds);
    pthread_join(living, NULL);
    unsigned wrong = judge_all();
    if (has_crowd) fill_up();
    if (has_crowd) ask_for("without room", 1500, false);
    printf("and by %ld KB in the end\n", door_anon_kb(&door) - before);
    if (door_anon_kb(&door) - before > GROWTH_MAX / 1024)
        door_failed("memory is not bounded", NULL);
    if (slowest > GOOD_MS_MAX) door_failed("the good client waited too long", NULL);
    disperse();
    close(good.fd);
    door_close(&door);
    return wrong != 0;
}
