/* parleyd between two WhatsApps: an honest one and one that turns against its account. Everything
 * runs on one worker, so what the hostile server costs falls on the honest account first. A strike
 * is repeated until the honest account has got its messages and answers beside it: who starves is
 * seen by what does not come; by the clock only who waited ten seconds for one. After each strike
 * the struck account is well again. Then a person who is known to the honest account writes what no
 * person writes.
 *
 *     flow_siege [BEATS [PART OF A NAME]]     (6) messages of the honest account during each strike
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/client/pair_qr.h"
#include "server/api/json.h"
#include "tests/flow/rig_door.h"
#include "tests/flow/rig_hostile.h"
#include "tests/support/arguments.h"
#include "tests/support/clock.h"

enum {
    BEATS_ALONE = 100,
    BEATS_MAX = 100000,
    GROWTH_MAX = 192 << 20, /* RssAnon: a frame of 16 MiB as it came, opened and read into nodes of
                             * at most 64 MiB, and what a sanitizer keeps */
    PATIENCE_MS = 60000,
    LATE_MS_MAX = 10000, /* for one message or answer, whatever the machine does besides */
};

#define OTHER "15550002222"
#define MALLORY "15550004444"
#define VICTIM "15550009999"

static struct door door;
static struct hostile hostile;
static struct line control; /* the live account's owner */
static char honest_headers[192], live_headers[192], victim_id[64];
char hostile_message_id[64];

/* ---- the honest account: a message in, an answer, and its measure, over and over ---- */

static int64_t message_us[BEATS_MAX], answer_us[BEATS_MAX];
static atomic_uint beats;
static atomic_bool over;
static atomic_long most_kb;

static void note_memory(void)
{
    long kb = door_anon_kb(&door);
    if (kb > atomic_load(&most_kb)) atomic_store(&most_kb, kb);
}

static int64_t one_answer(struct line *l)
{
    int64_t from = now_us();

    line_say(l, "GET /livez", "", NULL);
    line_hear(l);
    if (l->status != 200) door_failed("/livez", l->answer);
    return now_us() - from;
}

static void *live_honestly(void *arg)
{
    static struct line stream, asking;

    stream.fd = door_dial(door.port);
    asking.fd = door_dial(door.port);
    line_say(&stream, "GET /v1/events?events=message.received", honest_headers, NULL);
    line_hear(&stream);
    while (!atomic_load(&over)) {
        unsigned n = atomic_load(&beats);
        message_us[n % BEATS_MAX] = door_beat(&door, &stream, OTHER, HOSTILE_HONEST, n);
        answer_us[n % BEATS_MAX] = one_answer(&asking);
        note_memory();
        atomic_store(&beats, n + 1);
        nap(10);
    }
    close(stream.fd);
    close(asking.fd);
    return NULL;
}

/* In ms: the middle and the worst of what was measured from beat `from` on. */
static double spread(const int64_t *us, unsigned from, unsigned to, double *out_max)
{
    static int64_t sorted[BEATS_MAX];
    unsigned n = to - from;

    if (!n) return *out_max = 0;
    memcpy(sorted, us + from, n * sizeof(*us));
    qsort(sorted, n, sizeof(*sorted), by_time);
    *out_max = (double)sorted[n - 1] / 1000;
    return (double)sorted[n / 2] / 1000;
}

/* ---- the account that is struck ---- */

static struct json *status_of(const char *id)
{
    char head[128];
    struct json *j;

    snprintf(head, sizeof(head), "GET /v1/accounts/%s/status", id);
    line_say(&control, head, live_headers, NULL);
    const char *answer = line_hear(&control);
    if (json_parse(slice_text(answer), DOOR_ANSWER_MAX, &j) != OK) door_failed(head, answer);
    return j;
}

static bool shows(const char *id, const char *status, const char *reason)
{
    struct json *j = status_of(id);
    bool does = slice_is(json_get_text(j, "status"), status) &&
                (!reason || slice_is(json_get_text(j, "reason"), reason));
    json_free(j);
    return does;
}

static void await(const char *id, const char *status, const char *reason, const char *name)
{
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        if (shows(id, status, reason)) return;
        nap(20);
    }
    fprintf(stderr, "%s: not %s%s%s\n", name, status, reason ? ", " : "", reason ? reason : "");
    door_failed("the struck account does not show it", control.answer);
}

static void reconnect(const char *id)
{
    char head[128];

    snprintf(head, sizeof(head), "POST /v1/accounts/%s/reconnect", id);
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        line_say(&control, head, live_headers, "{}");
        line_hear(&control);
        if (control.status == 200) return;
        if (control.status != 429) break; /* its turns are still being written */
        nap(20);
    }
    door_failed(head, control.answer);
}

/* ---- striking ---- */

struct order {
    const struct strike *how;
    char id[32]; /* of the ping behind it */
    bool done;
};

static void strike_once(struct hostile *h, void *arg)
{
    struct order *o = arg;
    struct sim_conn *c = hostile_victim(h, o->how->phase == SIM_PAIRING ? SIM_PAIRING : SIM_OPEN);

    o->done = c != NULL;
    if (!c) return;
    h->sim.relay.now_ms = sim_server_now(&h->sim);
    o->how->strike(c);
    if (!o->how->is_silent && !o->how->reason) hostile_ping(c, o->id);
}

static void listen_for(struct hostile *h, void *arg)
{
    struct order *o = arg;
    o->done = hostile_heard(h, o->id);
}

/* Until parleyd has done with it. */
static void await_pong(struct order *o)
{
    o->done = false;
    for (int i = 0; i < PATIENCE_MS / 5 && !o->done; i++) {
        nap(5);
        hostile_do(&hostile, listen_for, o);
    }
    if (!o->done) door_failed("the struck account hears nothing any more", o->how->name);
}

static void arm(struct hostile *h, void *arg)
{
    const struct strike *how = arg;

    h->mangle = how->mangle;
    if (how->chain) how->chain(&h->sim.relay);
}

static void disarm(struct hostile *h, void *arg)
{
    struct sim_keys keys = h->sim.relay.keys;

    h->mangle = NULL;
    sim_relay_keys(&h->sim.relay, &keys);
}

/* One blow, and what the account must say of it. */
static bool blow(const struct strike *how)
{
    static unsigned number;
    struct order order = {.how = how};

    snprintf(order.id, sizeof(order.id), "strike %u.", number++);
    if (how->strike)
        hostile_do(&hostile, strike_once, &order);
    else
        reconnect(victim_id);
    if (how->reason) await(victim_id, "disconnected", how->reason, how->name);
    if (how->reason || !order.done || how->is_silent) return how->reason || order.done;
    await_pong(&order);
    return true;
}

static void heal(void)
{
    hostile_do(&hostile, disarm, NULL);
    reconnect(victim_id);
    await(victim_id, "connected", NULL, "healing");
}

static bool is_over(const struct strike *how, unsigned times, unsigned beats_so_far, unsigned want)
{
    return times >= (how->times ? how->times : 2) && beats_so_far >= want;
}

static void print(const char *name, unsigned times, unsigned from, double base)
{
    double message_max, answer_max;
    unsigned to = atomic_load(&beats);
    double message = spread(message_us, from, to, &message_max),
           answer = spread(answer_us, from, to, &answer_max);

    printf("%-40s %4u times, %3u beats: message p50 %7.1f ms (x%5.1f) max %7.1f, /livez p50 %6.1f "
           "max %6.1f\n",
           name, times, to - from, message, base > 0 ? message / base : 1, message_max, answer,
           answer_max);
    fflush(stdout);
    if (message_max > LATE_MS_MAX || answer_max > LATE_MS_MAX)
        door_failed("the honest account waited too long", name);
}

static void besiege(const struct strike *how, unsigned want, double base)
{
    unsigned from = atomic_load(&beats), times = 0;
    int64_t until = now_us() + PATIENCE_MS * 1000LL;

    hostile_do(&hostile, arm, (void *)(uintptr_t)how);
    while (!is_over(how, times, atomic_load(&beats) - from, want)) {
        if (now_us() > until) {
            print(how->name, times, from, base);
            door_failed("somebody starves", how->name);
        }
        if (!how->is_silent || times < how->times) times += blow(how);
        note_memory();
        if (how->reason && how->strike) heal();
        nap(5);
    }
    print(how->name, times, from, base);
    if (how->phase != SIM_PAIRING) heal();
}

/* ---- a pairing that never ends ---- */

static void pairing(const struct strike *how, unsigned want, double base)
{
    struct json *j;
    char id[64], head[128];
    int64_t left = 0;

    line_say(&control, "POST /v1/accounts", live_headers, "{}");
    if (json_parse(slice_text(line_hear(&control)), DOOR_ANSWER_MAX, &j) != OK)
        door_failed(how->name, control.answer);
    struct slice account = json_get_text(j, "account_id");
    snprintf(id, sizeof(id), SLICE_FMT, SLICE_ARG(account));
    json_free(j);
    besiege(how, want, base);
    nap(200);
    j = status_of(id);
    json_int(json_get(j, "codes_left"), &left);
    if (left > WA_REFS_MAX) door_failed("codes without end", control.answer);
    json_free(j);
    snprintf(head, sizeof(head), "DELETE /v1/accounts/%s", id);
    line_say(&control, head, live_headers, NULL);
    line_hear(&control);
    if (control.status != 200) door_failed(head, control.answer);
}

/* ---- hostile people: what they write reaches the honest account itself ---- */

static void pester(const struct peer *p, unsigned want, double base)
{
    unsigned from = atomic_load(&beats), times = 0;
    int64_t until = now_us() + PATIENCE_MS * 1000LL;

    for (unsigned done = 0; done < want; done = atomic_load(&beats) - from) {
        if (now_us() > until) door_failed("somebody starves", p->name);
        /* No faster than the account reads: what waits, waits in order. */
        for (; times < 3 * (done + 1); times++)
            peer_send(&door, p, MALLORY, HOSTILE_HONEST);
        note_memory();
        nap(5);
    }
    print(p->name, times, from, base);
}

/* ---- the story ---- */

static void headers_of(const char *key, char out[192])
{
    snprintf(out, 192, "Authorization: Bearer %s\r\n", key);
}

/* What no other server may touch: a message that waits for its reader. */
static void write_to_friend(void)
{
    struct json *j;

    door_ask_sim(&door, "POST /phones", "{\"number\":\"" HOSTILE_FRIEND "\",\"name\":\"Eve\"}");
    door_ask_sim(&door, "POST /phones/" HOSTILE_FRIEND "/offline", "{}");
    line_say(&control, "POST /v1/messages", honest_headers,
             "{\"to\":\"+" HOSTILE_FRIEND "\",\"text\":\"until you are back\"}");
    if (json_parse(slice_text(line_hear(&control)), DOOR_ANSWER_MAX, &j) != OK ||
        control.status != 200)
        door_failed("send", control.answer);
    struct slice id = json_get_text(j, "whatsapp_id");
    if (!id.len) id = json_get_text(json_get(j, "message"), "whatsapp_id");
    snprintf(hostile_message_id, sizeof(hostile_message_id), SLICE_FMT, SLICE_ARG(id));
    if (!id.len) door_failed("no id", control.answer);
    json_free(j);
}

static void check_untouched(void)
{
    line_say(&control, "GET /v1/search?query=until", honest_headers, NULL);
    const char *answer = line_hear(&control);
    if (!strstr(answer, hostile_message_id) || strstr(answer, "\"read\""))
        door_failed("a message of the honest account was touched", answer);
}

static void open_all(void)
{
    char url[64], key[128];

    hostile_open(&hostile);
    snprintf(url, sizeof(url), "ws://127.0.0.1:%d/ws/chat", hostile.port);
    door_open_with(&door, "1",
                   (const char *[]){"--wa-url", url, "--wa-root-key", hostile.root_key, NULL});
    headers_of(door.key, honest_headers);
    door_read_key(&door, "parley_live_", key);
    headers_of(key, live_headers);
    control.fd = door_dial(door.port);
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" OTHER "\",\"name\":\"Ada\"}");
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" MALLORY "\",\"name\":\"Mallory\"}");
    door_pair(&control, honest_headers, door.control_port, HOSTILE_HONEST, NULL);
    door_pair(&control, live_headers, hostile.control_port, VICTIM, victim_id);
    write_to_friend();
}

static bool is_known(const char *part)
{
    bool known = false;

    for (size_t i = 0; i < strike_count; i++)
        known |= strstr(strikes[i].name, part) != NULL;
    for (size_t i = 0; i < peer_count; i++)
        known |= strstr(peers[i].name, part) != NULL;
    return known;
}

int main(int argc, char **argv)
{
    static const char usage[] = "flow_siege [BEATS [PART OF A NAME]]";
    unsigned want = argc > 1 ? (unsigned)argument_number(usage, "BEATS", argv[1], 1, 10000) : 6;
    const char *name = argc > 2 ? argv[2] : "";
    pthread_t honest;
    double worst;

    argument_end(usage, argc, argv, 2);
    if (!is_known(name))
        argument_refuse(usage, "NAME", "a part of a strike's or peer's name", name);
    open_all();
    if (pthread_create(&honest, NULL, live_honestly, NULL)) door_failed("thread", NULL);
    while (atomic_load(&beats) < BEATS_ALONE)
        nap(20);
    double base = spread(message_us, 0, BEATS_ALONE, &worst);
    print("alone", 0, 0, base);
    long before = door_anon_kb(&door);
    for (size_t i = 0; i < strike_count; i++)
        if (strstr(strikes[i].name, name))
            (strikes[i].phase == SIM_PAIRING ? pairing : besiege)(&strikes[i], want, base);
    for (size_t i = 0; i < peer_count; i++)
        if (strstr(peers[i].name, name)) pester(&peers[i], want, base);
    check_untouched();
    atomic_store(&over, true);
    pthread_join(honest, NULL);
    long growth = atomic_load(&most_kb) - before;
    printf("memory: %ld KB before, at most %ld KB more, %ld KB more at the end\n", before, growth,
           door_anon_kb(&door) - before);
    if (growth * 1024L > GROWTH_MAX) door_failed("memory is not bounded", NULL);
    close(control.fd);
    door_close(&door);
    hostile_close(&hostile);
    return 0;
}
