/* The house behind the MCP door with somebody in it: accounts of the key's world, chats, messages,
 * events, a session. What a fuzzer could not guess has a name that is put in its place: $a an
 * account, $c a chat, $m a message, $s a subscription, $d the session, $e one that takes batches,
 * $i the id of the stream at GET /sse, $r the number of what the client was asked last, $q the
 * state it was given, $k the last event of an answer that can be fetched, $y the newest API key;
 * $[c 1 0 5] is a cursor of these numbers. */
#pragma once
#define main main_of_the_tests /* libFuzzer has its own */
int main_of_the_tests(void);
#include "proto/base/text.h"
#include "tests/unit/server/mcp/agent.h"
#undef main

enum { RESIDENTS = 2 };
#define ABILITIES "{\"elicitation\":{},\"sampling\":{},\"roots\":{}}"

static struct residence {
    char chat[ID_TEXT_MAX], message[ID_TEXT_MAX], subscription[64], speaker[64];
    char question[64], state[512], kept[64], key[64];
    char older[SESSION_TEXT_MAX]; /* a session that takes batches, and our own notifications */
    struct agent stream;          /* GET /sse, open as long as the house stands */
} R;

static inline void note_after(const char *text, const char *mark, char *out, size_t room)
{
    const char *at = strstr(text, mark);
    size_t n = at ? strcspn(at + strlen(mark), "\"\\\n\r") : 0;

    snprintf(out, room, "%.*s", (int)(n < room ? n : 0), at ? at + strlen(mark) : "");
}

static inline void open_stream(void)
{
    R.stream = say_raw("GET /sse", with(ACCEPT_SSE), NULL);
    note_after(text_of(&R.stream), "sessionId=", R.speaker, sizeof(R.speaker));
    if (!R.speaker[0]) abort();
}

static inline void furnish(void)
{
    char jid[64], chat[ID_TEXT_MAX], message[ID_TEXT_MAX];

    H.f.without_sync = true;
    agent_setup();
    H.ack = ACK_OK;
    for (int i = 0; i < RESIDENTS; i++)
        add_account(i == 0, ACCOUNT_CONNECTED); /* the second is in the other world */
    for (unsigned i = 0; i < 12; i++) {
        snprintf(jid, sizeof(jid), "1555000%04u@s.whatsapp.net", 2000 + i % 4);
        receive(&H.accounts[i % RESIDENTS], jid, i % 5 == 4, 100 + i, "good morning to you",
                message, chat);
        log_event(&H.accounts[i % RESIDENTS], EVENT_ACCOUNT_CONNECTED, 1);
        if (i == 0) memcpy(R.chat, chat, sizeof(chat));
        if (i == 0) memcpy(R.message, message, sizeof(message));
    }
    open_session_with("2025-03-26", "{\"experimental\":{\"" MCP_EVENTS_EXTENSION "\":{}}}");
    memcpy(R.older, agent_session, sizeof(R.older));
    open_session_with("2025-11-25", ABILITIES);
    struct agent a =
        post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"subscribe_events\",\"arguments\":{\"events\":[\"*\"]}}}");
    note_after(text_of(&a), "\"structuredContent\":{\"id\":\"", R.subscription,
               sizeof(R.subscription));
    leave(&a);
    if (!R.subscription[0]) abort();
    open_stream();
}

static inline void clear_out(void)
{
    leave(&R.stream);
    agent_teardown();
    H = (struct house){0};
    R = (struct residence){0};
}

/* Sends end, nobody stays logged out or deleted, and the stream is read. */
static inline void tidy_up(void)
{
    struct account_status status;

    house_ack_all(H.ack);
    for (int i = 0; i < RESIDENTS; i++) {
        struct account *a = &H.accounts[i];
        a->status.state = ACCOUNT_CONNECTED;
        if (directory_status(H.server.directory, slice_text(a->status.id), &status))
            directory_update(H.server.directory, &a->status);
        else
            directory_add(H.server.directory, &a->status, &H.worker, 1, true);
    }
    hear(&R.stream);
    buf_reset(&R.stream.got);
}

static inline const char *name_is(char name)
{
    const struct {
        char name;
        const char *is;
    } names[] = {{'a', H.accounts[0].status.id},
                 {'c', R.chat},
                 {'m', R.message},
                 {'s', R.subscription},
                 {'i', R.speaker},
                 {'r', R.question},
                 {'q', R.state},
                 {'k', R.kept},
                 {'y', R.key},
                 {'d', agent_session},
                 {'e', R.older}};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].name == name) return names[i].is;
    return NULL;
}

static inline void put_cursor(struct slice in, struct buf *out)
{
    AUTO(buf) raw = {0};
    struct slice word;
    uint64_t n;

    buf_put(&raw, slice_sub(in, 0, 1));
    in = slice_from(in, 2);
    while (slice_split(&in, ' ', &word))
        if (text_u64(word, &n) == OK) buf_put_varint(&raw, n);
    err_clear();
    text_base64url(buf_slice(&raw), out);
}

/* `in` with the names replaced, NUL-terminated. */
static inline void fill_in(struct slice in, struct buf *out)
{
    while (in.len) {
        const char *is = in.data[0] == '$' && in.len > 1 ? name_is((char)in.data[1]) : NULL;
        size_t end = slice_starts_with(in, SLICE("$[")) ? slice_find(in, ']') : in.len;

        if (is)
            buf_put_text(out, is);
        else if (end < in.len)
            put_cursor(slice_sub(in, 2, end), out);
        else
            buf_put_u8(out, in.data[0]);
        in = slice_from(in, is ? 2 : end < in.len ? end + 1 : 1);
    }
}
