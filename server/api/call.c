/* The steps of every call, and the two ways a tool runs: call_read() over a snapshot at home,
 * call_act() on the account's worker. A call ends in exactly one place, end(). */
#include "server/api/call.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/api/claims.h"
#include "server/api/edge.h"
#include "server/api/schema.h"
#include "server/api/tool.h"
#include "server/log.h"
#include "server/metrics.h"
#include "storage/monitor.h"

static _Thread_local struct list running; /* of this worker */
static atomic_ullong last_id;

/* ---- the end ---- */

static void write_problem(struct call *c)
{
    edge_problem(&c->problem_text, c->error, c->words, c->field, c->expected);
    c->problem = buf_slice(&c->problem_text);
}

static void log_failure(const struct call *c)
{
    const char *account = *c->ask.account ? c->ask.account : c->about;
    char subject[160];

    snprintf(subject, sizeof(subject), "call=%llu tool=%s key=%s%s%s", (unsigned long long)c->id,
             c->tool->name, c->who.key, *account ? " account=" : "", account);
    edge_log(c->error, subject, "call failed", c->trail);
}

/* Tests hold every result against its outputSchema, as clients do. */
static void check_result(const struct call *c)
{
    AUTO(buf) why = {0};
    struct json *value = NULL;

    if (!monitor_is_on()) return;
    err_t e = json_parse(buf_slice(&c->result), SIZE_MAX, &value);

    if (e == ERR_NO_MEMORY) return; /* a fault loop took it; nobody else parses a result here */
    if (e != OK || !shape_accepts(tool_result(c->tool), value, &why)) {
        LOG(ERROR, NULL, "%s gave what its schema forbids: %s " SLICE_FMT, c->tool->name,
            buf_text(&why), SLICE_ARG(buf_slice(&c->result)));
        abort();
    }
    json_free(value);
}

/* Tells the door, once. */
static void tell(struct call *c)
{
    if (c->told) return;
    c->told = true;
    timer_disarm(c->home, &c->deadline);
    metric_add(METRIC_calls, 1);
    metric_add(METRIC_calls_failed, c->error != OK);
    metric_add(METRIC_call_ms, (uint64_t)(worker_ticks(c->home) - c->started_ticks));
    if (c->error != OK) {
        write_problem(c);
        log_failure(c);
    } else {
        check_result(c);
    }
    if (c->done) c->done(c);
}

static void end(struct call *c)
{
    claim_release(c->server->claims, c);
    tell(c);
    list_remove(&c->link);
    call_free(c);
}

static void note_error(struct call *c, err_t e, const char *words, const char *trail)
{
    c->error = e;
    snprintf(c->words, sizeof(c->words), "%s", words);
    snprintf(c->trail, sizeof(c->trail), "%s", trail);
}

void call_finish(struct call *c)
{
    c->error = OK;
    end(c);
}

void call_fail(struct call *c, err_t e)
{
    if (e != c->error) note_error(c, e, err_words(), err_trail());
    end(c);
}

enum step_result call_step(struct call *c, err_t e)
{
    if (e == OK) return STEP_DONE;
    note_error(c, e, err_words(), err_trail());
    return STEP_FAILED;
}

/* ---- reading at home ---- */

enum step_result call_read(struct call *c, err_t (*read)(struct call *c, struct view *v))
{
    struct view *v;
    enum step_result r;
    err_t e = view_new(c->server->store, &v);

    if (e != OK) return call_step(c, e);
    e = view_begin(v);
    if (e == OK) e = read(c, v);
    r = call_step(c, e);
    if (e == ERR_STORE_DAMAGED) call_word_damage(c, v);
    view_end(v);
    view_free(v);
    return r;
}

/* ---- acting on the account's worker ---- */

#define CALL_OF(ask_) CONTAINER_OF(ask_, struct call, ask)

static struct slice effect_of(struct call *c)
{
    return c->act->effect ? c->act->effect(c) : slice_text(c->ask.account);
}

static err_t on_run(struct account_call *ask, struct account *a, struct turn *t)
{
    struct call *c = CALL_OF(ask);

    TRY(c->act->run(c, a, t));
    /* A verb that does not wait: effect and reply are one batch. */
    if (!c->act->ended) {
        claim_store(c, t, effect_of(c));
        if (c->act->keeps_reply) claim_store_reply(c, t, OK, buf_slice(&c->result));
    }
    return OK;
}

static void on_stored(struct account_call *ask, struct account *a, struct turn *t)
{
    struct call *c = CALL_OF(ask);

    claim_store(c, t, effect_of(c));
}

static void on_ended(struct account_call *ask, struct account *a, struct turn *t)
{
    struct call *c = CALL_OF(ask);
    err_t e = ask->error;

    if (e == OK && c->act->ended) e = c->act->ended(c, a, t);
    if (e != OK && ask->error == OK) {
        ask->error = e;
        snprintf(ask->words, sizeof(ask->words), "%s", err_words());
        snprintf(ask->trail, sizeof(ask->trail), "%s", err_trail());
    }
    /* A send that is still on its way is answered from its message until it has ended. */
    if (c->act->keeps_reply && ask->sent != ACCOUNT_SENT_PENDING)
        claim_store_reply(c, t, ask->error, buf_slice(&c->result));
}

static void on_answer(struct account_call *ask, struct worker *home)
{
    struct call *c = CALL_OF(ask);

    c->travelling = false;
    note_error(c, ask->error, ask->words, ask->trail);
    if (c->error == ERR_STORE_DAMAGED) call_word_damage(c, NULL);
    if (c->error != OK && c->act->failed) c->act->failed(c);
    if (c->error != OK) {
        end(c);
    } else if (ask->error == OK &&
               c->act->answered) { /* after the deadline too: who joined waits for the result */
        c->act->answered(c);
    } else {
        call_finish(c);
    }
}

static void prepare(struct call *c, const struct act *act)
{
    c->act = act;
    c->travelling = true;
    c->ask.home = c->home;
    c->ask.run = on_run;
    c->ask.stored = act->ended ? on_stored : NULL;
    c->ask.ended = act->ended ? on_ended : NULL;
    c->ask.done = on_answer;
    c->ask.sent = ACCOUNT_SENT_OK;
}

enum step_result call_act(struct call *c, struct slice account, const struct act *act)
{
    prepare(c, act);
    snprintf(c->ask.account, sizeof(c->ask.account), SLICE_FMT, SLICE_ARG(account));
    account_ask(c->server, &c->ask);
    return STEP_WAIT;
}

enum step_result call_act_on_new(struct call *c, const struct act *act)
{
    prepare(c, act);
    account_create(c->server, c->who.tenant, c->who.world == WORLD_TEST, &c->ask);
    return STEP_WAIT;
}

/* ---- steps ---- */

static enum step_result check_arguments(void *op)
{
    struct call *c = op;
    struct args_wrong wrong = {0};
    err_t e;

    if (c->error != OK) return STEP_FAILED; /* the JSON itself was bad */
    e = args_check(c->tool, c->args, &wrong);
    if (e == OK) return STEP_NEXT;
    memcpy(c->field, wrong.field, sizeof(c->field));
    memcpy(c->expected, wrong.expected, sizeof(c->expected));
    return call_step(c, e);
}

static const char *right_text(enum right r)
{
    return r == RIGHT_READ ? "read" : r == RIGHT_WRITE ? "write" : "delete";
}

static enum step_result authorise(void *op)
{
    struct call *c = op;

    if (principal_may(&c->who, c->tool->category)) return STEP_NEXT;
    return call_step(c, fail(FORBIDDEN, "%s needs the right to %s, which this key does not have",
                             c->tool->name, right_text(c->tool->category)));
}

static enum step_result claim(void *op)
{
    struct call *c = op;
    enum claim_outcome outcome = CLAIM_FREE;
    struct slice effect = SLICE_NONE;
    err_t e = claim_take(c->server->claims, c, &outcome, &effect);

    if (e != OK) return call_step(c, e);
    switch (outcome) {
    case CLAIM_FREE: return STEP_NEXT;
    case CLAIM_JOINED: return STEP_WAIT;
    case CLAIM_REPLY: return c->error == OK ? STEP_DONE : STEP_FAILED;
    case CLAIM_EFFECT: break;
    }
    c->effect = effect;
    return STEP_NEXT;
}

static enum step_result run(void *op)
{
    struct call *c = op;

    return c->tool->run(c);
}

static const struct step call_steps[] = {
    {"arguments", check_arguments},
    {"authorise", authorise},
    {"claim", claim}, /* may end here with the reply of an earlier call */
    {"run", run},
    {NULL, NULL},
};

static void on_deadline(struct timer *t, int64_t now)
{
    struct call *c = CONTAINER_OF(t, struct call, deadline);

    if (c->joining && !claim_leave(c->server->claims, c)) return;
    note_error(c, fail(QUERY_TIMEOUT, "%s took longer than %d s", c->tool->name, CALL_MS / 1000),
               err_words(), err_trail());
    if (c->travelling)
        tell(c); /* its work comes back and frees it */
    else if (c->on_cancel)
        c->on_cancel(c);
    else
        end(c);
}

/* ---- for the doors ---- */

struct call *call_new(struct server *s, struct worker *home, const struct principal *who,
                      const struct tool *tool)
{
    struct call *c = xcalloc(sizeof(*c));

    c->server = s;
    c->home = home;
    c->who = *who;
    c->tool = tool;
    c->id = atomic_fetch_add(&last_id, 1) + 1;
    c->deadline.fire = on_deadline;
    list_init(&c->link);
    list_init(&c->claim_link);
    return c;
}

void call_free(struct call *c)
{
    json_free(c->parsed);
    buf_done(&c->result);
    buf_done(&c->problem_text);
    arena_done(&c->arena);
    free(c);
}

void call_take_json(struct call *c, struct slice text)
{
    err_t e;

    if (text.len == 0) return;
    e = json_parse(text, CALL_ARGS_MAX, &c->parsed);
    if (e != OK) note_error(c, e, err_words(), err_trail());
    c->args = c->parsed;
}

void call_start(struct call *c, void (*done)(struct call *c), void *owner)
{
    int64_t now = worker_now(c->home);
    enum step_result r;

    if (!running.next) list_init(&running);
    list_push(&running, &c->link);
    c->done = done;
    c->owner = owner;
    c->started_ticks = worker_ticks(c->home);
    timer_arm(c->home, &c->deadline, now + CALL_MS);
    steps_init(&c->steps, call_steps, now);
    r = steps_run(&c->steps, c, now);
    if (r != STEP_WAIT) end(c);
}

void call_cancel(struct call *c)
{
    if (c->travelling || c->told) return;
    if (c->joining && !claim_leave(c->server->claims, c)) return;
    note_error(c, fail(CANCELLED, "%s was cancelled", c->tool->name), err_words(), err_trail());
    if (c->on_cancel)
        c->on_cancel(c);
    else
        end(c);
}

void call_abandon(struct call *c)
{
    c->done = NULL;
    call_cancel(c); /* what only waits for its caller ends; what is on its way goes on */
}

struct call *call_find(struct worker *home, uint64_t id)
{
    if (!running.next) return NULL;
    LIST_EACH(node, &running)
    {
        struct call *c = LIST_ENTRY(node, struct call, link);
        if (c->id == id) return c;
    }
    return NULL;
}
