/* The house behind the MCP door with somebody in it: accounts of the key's world, chats, messages,
 * events, a session. What a fuzzer could not guess has a name that is put in its place: $a an
 * account, $c a chat, $m a message, $s a subscription, $i the id of the stream at GET /sse. */
#pragma once
#define main main_of_the_tests /* libFuzzer has its own */
int main_of_the_tests(void);
#include "tests/unit/server/mcp/agent.h"
#undef main

enum { RESIDENTS = 2 };

static struct residence {
    char chat[ID_TEXT_MAX], message[ID_TEXT_MAX], subscription[64], speaker[64];
    struct agent stream; /* GET /sse, open as long as the house stands */
} R;

static inline void note_after(const char *text, const char *mark, char *out, size_t room)
{
    const char *at = strstr(text, mark);
    size_t n = at ? strcspn(at + strlen(mark), "\"\\\n\r") : 0;

    snprintf(out, room, "%.*s", (int)(n < room ? n : 0), at ? at + strlen(mark) : "");
}

static inline void furnish(void)
{
    char jid[64], chat[ID_TEXT_MAX], message[ID_TEXT_MAX];

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
    open_session();
    struct agent a =
        post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"subscribe_events\",\"arguments\":{\"events\":[\"*\"]}}}");
    note_after(text_of(&a), "\"structuredContent\":{\"id\":\"", R.subscription,
               sizeof(R.subscription));
    leave(&a);
    R.stream = say_raw("GET /sse", with(ACCEPT_SSE), NULL);
    note_after(text_of(&R.stream), "sessionId=", R.speaker, sizeof(R.speaker));
    if (!R.speaker[0] || !R.subscription[0]) abort();
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

/* `in` with the names replaced, NUL-terminated. */
static inline void fill_in(struct slice in, struct buf *out)
{
    const struct {
        char name;
        const char *is;
    } names[] = {{'a', H.accounts[0].status.id},
                 {'c', R.chat},
                 {'m', R.message},
                 {'s', R.subscription},
                 {'i', R.speaker}};

    for (size_t i = 0; i < in.len; i++) {
        const char *is = NULL;
        for (size_t k = 0; in.data[i] == '$' && i + 1 < in.len && k < ARRAY_LEN(names); k++)
            if (names[k].name == in.data[i + 1]) is = names[k].is;
        if (is)
            buf_put_text(out, is);
        else
            buf_put_u8(out, in.data[i]);
        i += is != NULL;
    }
}
