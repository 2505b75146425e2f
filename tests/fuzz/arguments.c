/* The arguments of every tool, with the tool and all behind it: byte 0 is the tool's number and
 * what WhatsApp says to a message, the rest its arguments as JSON, called through the MCP door of a
 * house with accounts, chats and messages, whose ids have names (furnished.h). Whatever they say,
 * the answer is a JSON-RPC answer. A call with an idempotency key is made three times: it acts
 * once, and all three get the answer of the first. */
#include "server/api/tools.h"
#include "tests/fuzz/furnished.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 2000, /* then a fresh house */ ARGUMENTS_MAX = 64 * 1024 };

static size_t tool_count(void)
{
    size_t n = 0;

    while (tool_at(n))
        n++;
    return n;
}

static bool is_object(struct slice in)
{
    struct json *j;

    if (json_parse(in, ARGUMENTS_MAX, &j) != OK) return false;
    bool is = json_kind(j) == JSON_OBJ;
    json_free(j);
    return is;
}

/* Of the answer's head; a stream's text may hold any words. */
static bool is_json(struct agent *a, const char *body)
{
    const char *type = strstr(text_of(a), "Content-Type: application/json");

    return type && type < body;
}

static void check(struct agent *a)
{
    const char *body = strstr(text_of(a), "\r\n\r\n");
    struct json *j;

    if (a->got.len == 0) return; /* still at work */
    if (status_of_agent(a) != 200 || !body) abort();
    if (!is_json(a, body) || !a->closed) return;
    if (json_parse(slice_text(body + 4), SIZE_MAX, &j) != OK) abort();
    if (!json_get(j, "result") && !json_get(j, "error")) abort();
    json_free(j);
}

static void end_of(struct agent *a)
{
    hear(a);
    check(a);
}

static void call_once(const char *body)
{
    struct agent a = post(body);

    tidy_up(); /* who waits for WhatsApp is answered */
    end_of(&a);
    leave(&a);
}

/* ---- the same call again ---- */

static bool has_key(const struct tool *t, struct slice arguments)
{
    struct json *j;

    if (json_parse(arguments, ARGUMENTS_MAX, &j) != OK) return false;
    bool has = t->flags & TOOL_TAKES_KEY && json_get_text(j, "idempotency_key").len;
    json_free(j);
    return has;
}

/* A pairing's code is another every time; of the rest the reply is kept. */
static bool is_kept(const struct tool *t, struct agent *first)
{
    return strcmp(t->name, "pair_account") != 0 && first->closed && has(first, "\"isError\":false");
}

static void check_same(struct agent *first, struct agent *a)
{
    if (a->got.len == 0 || strcmp(body_of(first), body_of(a)) != 0) abort();
}

/* What nobody had answered for yet was refused after all. */
static void refuse_late(struct place place)
{
    struct account *a = &H.accounts[0];
    struct turn *t = open_turn(a);

    set_status(a, t, place, MESSAGE_FAILED, 463);
    close_turn(t, true);
}

/* At once, so that it joins the first, and when that has ended. */
static void call_again(const struct tool *t, const char *body, bool refused_late)
{
    size_t sends = H.sends;
    struct agent first = post(body), joined = post(body);

    tidy_up();
    end_of(&first);
    end_of(&joined);
    if (refused_late && H.sends > sends) refuse_late(H.unacked_place[0]);
    struct agent later = post(body);
    tidy_up();
    end_of(&later);
    if (is_kept(t, &first)) {
        check_same(&first, &joined);
        if (!refused_late) check_same(&first, &later);
        if (H.sends > sends + 1) abort();
    }
    leave(&first);
    leave(&joined);
    leave(&later);
}

static void put_body(const struct tool *t, struct slice arguments, struct buf *out)
{
    buf_put_text(out, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{"
                      "\"name\":\"");
    buf_put_text(out, t->name);
    buf_put_text(out, "\",\"arguments\":");
    buf_put(out, arguments);
    buf_put_text(out, "}}");
}

static void call(uint8_t what, struct slice arguments)
{
    const struct tool *t = tool_at(what % tool_count());
    unsigned said = what / (unsigned)tool_count() % (ACK_LATER + 1);
    AUTO(buf) body = {0};

    H.ack = said == ACK_LATER ? ACK_PENDING : (enum house_ack)said;
    put_body(t, arguments, &body);
    if (has_key(t, arguments))
        call_again(t, buf_text(&body), said == ACK_LATER);
    else
        call_once(buf_text(&body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned calls;
    AUTO(buf) arguments = {0};

    if (size < 3 || size > ARGUMENTS_MAX) return 0;
    if (!is_object(slice_of(data + 1, size - 1))) return 0;
    if (calls % CALLS == 0) {
        if (calls) clear_out();
        furnish();
    }
    calls++;
    fill_in(slice_of(data + 1, size - 1), &arguments);
    if (is_object(buf_slice(&arguments))) call(data[0], buf_slice(&arguments));
    return 0;
}
