/* The MCP door with everything behind it: store, hub, tools, sessions. One connection carries one
 * request; the first byte says where the rest stands in it. Whatever is asked, the answer is HTTP,
 * its JSON is JSON, and nothing is left on the way once the client has gone. What cannot be guessed
 * has a name (furnished.h). */
#include "tests/fuzz/furnished.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 2000, /* then a fresh house */ BODY_LIMIT = 64 * 1024 };

#define MODERN "MCP-Protocol-Version: 2026-07-28\r\n"

/* A header's value: no line ends inside. */
static const char *as_value(struct slice in)
{
    static char text[512];
    size_t n = in.len < sizeof(text) - 1 ? in.len : sizeof(text) - 1;

    for (size_t i = 0; i < n; i++)
        text[i] = in.data[i] < ' ' || in.data[i] == 0x7f ? '.' : (char)in.data[i];
    text[n] = '\0';
    return text;
}

/* The newer era, with the headers that repeat what the body says. */
static struct agent modern(const char *body)
{
    char method[64], name[128] = "";

    note_after(body, "\"method\":\"", method, sizeof(method));
    note_after(body, strstr(body, "\"uri\":") ? "\"uri\":\"" : "\"name\":\"", name, sizeof(name));
    return say_raw("POST /mcp",
                   with(ACCEPT_BOTH JSON_BODY MODERN "Mcp-Method: %s\r\nMcp-Name: %s\r\n",
                        as_value(slice_text(method)), name),
                   body);
}

static struct agent request(uint8_t what, struct slice in)
{
    AUTO(buf) copy = {0};
    char target[160];

    fill_in(in, &copy);
    const char *body = buf_text(&copy);
    in = buf_slice(&copy);
    snprintf(target, sizeof(target), "POST /messages?sessionId=%s", R.speaker);
    switch (what % 8) {
    case 0: return post(body);
    case 1: return say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY MODERN), body);
    case 2: return listen_from(as_value(in));
    case 3: return say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY), body);
    case 4: return say_raw(target, with(JSON_BODY), body);
    case 5: return modern(body);
    case 6:
        return say_raw("GET /sse", with(ACCEPT_SSE "Last-Event-ID: %s\r\n", as_value(in)), NULL);
    default: return say_raw("DELETE /mcp", with("Mcp-Session-Id: %s\r\n", as_value(in)), NULL);
    }
}

static void check(struct agent *a)
{
    int status = status_of_agent(a);
    struct json *j;

    if (a->got.len == 0) return; /* still at work */
    if (strncmp(text_of(a), "HTTP/1.1 ", 9) != 0 || status < 200 || status > 599) abort();
    const char *body = strstr(text_of(a), "\r\n\r\n");
    if (!has(a, "Content-Type: application/json") || !body || !body[4] || !a->closed) return;
    if (json_parse(slice_text(body + 4), SIZE_MAX, &j) != OK) abort();
    json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned requests;

    if (requests % REQUESTS == 0) {
        if (requests) clear_out();
        furnish();
    }
    requests++;
    if (size == 0 || size > BODY_LIMIT) return 0;
    struct agent a = request(data[0], slice_of(data + 1, size - 1));
    log_event(&H.accounts[0], EVENT_ACCOUNT_CONNECTED, 1); /* streams have something to say */
    tidy_up();
    hear(&a);
    check(&a);
    leave(&a);
    return 0;
}
