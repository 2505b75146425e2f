/* The flows of a server that take more than one stanza or one call, each from its first input to
 * what its user sees, and each so that it can be lived through again: world_loops.c fails one point
 * of them after the other, and prints how many each has.
 *
 * A flow is patient as its users are: a call that got no answer is made again with its key, and a
 * letter is waited for. It gives up after some minutes of the world's time. */
#include "tests/flow/world_loops.h"

enum { ME = 0, FRIEND = RESIDENTS, OTHER_FRIEND = RESIDENTS + 1 };

static bool wait_for(struct town *w, bool (*is_so)(struct town *w, void *arg), void *arg)
{
    enum { PATIENCE_MS = 300 * 1000, STEP_MS = 200 };

    for (int64_t ms = 0; ms < PATIENCE_MS; ms += STEP_MS) {
        if (is_so(w, arg)) return true;
        world_pass(w, STEP_MS);
        streams_act_once(w);
    }
    return false;
}

static bool is_connected(struct town *w, void *arg)
{
    struct account_status status;

    return resident_is_connected(w, ME, &status);
}

static bool is_held(struct town *w, void *arg) { return judge_holds(w, ME, arg); }

/* Until somebody is there to take it. */
static bool be_connected(struct town *w) { return wait_for(w, is_connected, NULL); }

static bool receive(struct town *w, const struct letter *l)
{
    return l && wait_for(w, is_held, (void *)(uintptr_t)l);
}

/* A call with an idempotency key, again until it has an answer that is one. */
static bool send_to(struct town *w, unsigned person)
{
    enum { TRIES = 6 };
    struct promise *p = calls_promise(w, ME, person);

    for (int i = 0; i < TRIES && !p->answered_sent; i++) {
        if (!be_connected(w)) return false;
        calls_ask(w, p);
    }
    return p->answered_sent;
}

static bool use(struct town *w, const char *tool, const char *args)
{
    enum { TRIES = 6 };

    for (int i = 0; i < TRIES; i++) {
        if (calls_use(w, tool, args) == OK) return true;
        world_pass(w, 10 * 1000);
    }
    return false;
}

/* ---- the flows ---- */

static bool pair(struct town *w)
{
    enum { TRIES = 8 };
    bool home = false;

    if (!w->residents[ME].unlinked) sim_device_unlink(&w->relay, resident_device(w, ME));
    for (int i = 0; i < 600 && !w->residents[ME].unlinked; i++)
        world_pass(w, 500);
    for (int i = 0; i < TRIES && !home; i++)
        home = traffic_pair(w, ME);
    return home;
}

static bool login(struct town *w)
{
    char args[100];

    snprintf(args, sizeof args, "{\"account_id\":\"%s\"}", w->residents[ME].id);
    return use(w, "reconnect_account", args) && be_connected(w);
}

/* The first letter of somebody makes a session: a pkmsg. */
static bool receive_first(struct town *w)
{
    unsigned from = w->letter_count ? OTHER_FRIEND : FRIEND;

    return be_connected(w) && receive(w, traffic_letter(w, from, ME));
}

/* We answer, so that what comes then is a msg. */
static bool receive_next(struct town *w)
{
    return be_connected(w) && receive(w, traffic_letter(w, FRIEND, ME)) && send_to(w, FRIEND) &&
           receive(w, traffic_letter(w, FRIEND, ME));
}

static bool receive_group(struct town *w)
{
    return be_connected(w) && receive(w, traffic_group_letter(w, FRIEND)) &&
           receive(w, traffic_group_letter(w, FRIEND));
}

/* It cannot be read, is asked for again, and comes. */
static bool retry(struct town *w)
{
    struct sim_device *dev = resident_device(w, ME);
    struct sim_fault f = {.kind = SIM_FAULT_WRONG_MAC, .count = 1};

    if (!be_connected(w) || !dev) return false;
    sim_device_name(dev, f.device);
    snprintf(f.tag, sizeof f.tag, "message");
    if (sim_fault_put(&w->relay, &f) != OK) return false;
    return receive(w, traffic_letter(w, FRIEND, ME));
}

/* To who has companions: usync, bundles, sessions with every device. */
static bool send_first(struct town *w)
{
    sim_notify_identity(&w->relay, w->people[1]->account);
    return send_to(w, 1);
}

static bool send_again(struct town *w) { return send_to(w, FRIEND) && send_to(w, FRIEND); }

/* The ack gets lost and the process with it: the outbox sends the same bytes again. */
static bool resend(struct town *w)
{
    enum { TRIES = 6 };
    struct sim_fault f = {.kind = SIM_FAULT_DROP_ACK, .count = 1};
    struct promise *p = calls_promise(w, ME, FRIEND);
    struct sim_device *dev = resident_device(w, ME);

    if (!be_connected(w) || !dev) return false;
    sim_device_name(dev, f.device);
    if (sim_fault_put(&w->relay, &f) != OK) return false;
    calls_ask(w, p);
    house_kill(w);
    for (int i = 0; i < TRIES && !p->answered_sent; i++) {
        if (!be_connected(w)) return false;
        calls_ask(w, p);
    }
    return p->answered_sent;
}

static bool has_prekeys(struct town *w, void *arg)
{
    const struct sim_device *dev = resident_device(w, ME);

    return dev && dev->bundle.prekey_count > 0;
}

/* All one-time prekeys are given out, and the server says so. */
static bool replenish(struct town *w)
{
    struct sim_device *dev = resident_device(w, ME);

    if (!be_connected(w) || !dev) return false;
    dev->bundle.prekey_count = 0;
    sim_tell_prekeys(&w->relay, dev, 0);
    return wait_for(w, has_prekeys, NULL);
}

static bool is_read(struct town *w, void *arg) { return judge_is_read(w, ME, arg); }

/* We read theirs, they read ours. */
static bool receipts(struct town *w)
{
    char args[100];
    const struct letter *l = be_connected(w) ? traffic_letter(w, FRIEND, ME) : NULL;

    if (!receive(w, l) || !send_to(w, FRIEND)) return false;
    const struct promise *p = LIST_ENTRY(w->promises.prev, struct promise, node);
    snprintf(args, sizeof args, "{\"chat_id\":\"%s\"}", w->residents[ME].chat);
    if (!use(w, "mark_chat_read", args)) return false;
    traffic_read_all(w, FRIEND);
    return wait_for(w, is_read, (void *)(uintptr_t)p->text);
}

/* What came while nobody was there. */
static bool offline_batch(struct town *w)
{
    enum { MANY = 12 };
    const struct letter *letters[MANY];
    bool all = true;

    house_kill(w);
    for (int i = 0; i < MANY; i++)
        letters[i] = traffic_letter(w, i % 2 ? FRIEND : OTHER_FRIEND, ME);
    for (int i = 0; i < MANY; i++)
        all = all && receive(w, letters[i]);
    return all && be_connected(w);
}

static bool log_out(struct town *w)
{
    char args[100];

    if (!w->residents[ME].unlinked) {
        snprintf(args, sizeof args, "{\"account_id\":\"%s\"}", w->residents[ME].id);
        err_t e = calls_use(w, "logout_account", args);
        if (e == OK) traffic_look(w);
        world_pass(w, 5000);
    }
    return w->residents[ME].unlinked && traffic_pair(w, ME);
}

static bool has_seen_all(struct town *w, void *arg)
{
    calls_follow(w);
    return streams_are_at_end(w) && calls_are_over(w);
}

/* A subscription, streams from the beginning, a slow reader, an agent that waits. */
static bool follow(struct town *w)
{
    streams_cut(w);
    if (!use(w, "subscribe_events", "{\"events\":[\"message.*\"]}")) return false;
    streams_rewind(w);
    streams_open(w);
    if (!receive(w, traffic_letter(w, FRIEND, ME))) return false;
    streams_resume(w);
    return wait_for(w, has_seen_all, NULL);
}

const struct flow flows[] = {
    {"pair", pair},
    {"login", login},
    {"receive_first", receive_first},
    {"receive_next", receive_next},
    {"receive_group", receive_group},
    {"retry", retry},
    {"send_first", send_first},
    {"send_again", send_again},
    {"resend", resend},
    {"replenish", replenish},
    {"receipts", receipts},
    {"offline_batch", offline_batch},
    {"log_out", log_out},
    {"follow", follow},
};
const size_t flow_count = ARRAY_LEN(flows);
