/* The arguments of every tool, with the tool and all behind it: byte 0 is the tool's number, the
 * rest its arguments as JSON, called through the MCP door of a house with accounts, chats and
 * messages, whose ids have names (furnished.h). Whatever they say, the answer is a JSON-RPC answer.
 */
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

/* The house has room for a few accounts. */
static bool is_full(const struct tool *t)
{
    return strcmp(t->name, "pair_account") == 0 && H.account_count == ARRAY_LEN(H.accounts);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned calls;
    AUTO(buf) body = {0}, filled = {0};

    if (size < 3 || size > ARGUMENTS_MAX) return 0;
    struct slice arguments = slice_of(data + 1, size - 1);
    if (!is_object(arguments)) return 0;
    if (calls % CALLS == 0) {
        if (calls) clear_out();
        furnish();
    }
    calls++;
    const struct tool *t = tool_at(data[0] % tool_count());
    if (is_full(t)) return 0;
    buf_put_text(&body, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{"
                        "\"name\":\"");
    buf_put_text(&body, t->name);
    buf_put_text(&body, "\",\"arguments\":");
    fill_in(arguments, &filled);
    buf_put(&body, buf_slice(&filled));
    buf_put_text(&body, "}}");
    struct agent a = post(buf_text(&body));
    tidy_up(); /* who waits for WhatsApp is answered */
    hear(&a);
    check(&a);
    leave(&a);
    return 0;
}
