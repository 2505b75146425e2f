/* Positions and names that clients hand back: Last-Event-ID of every kind of stream, resource
 * URIs, event names, ids, times. The first byte chooses the reader. What is read is what would be
 * written. */
#include <stdlib.h>

#include "proto/base/text.h"
#include "server/events/event.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_session.h"
#include "storage/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice outer, struct slice part)
{
    if (part.len && (part.data < outer.data || part.data + part.len > outer.data + outer.len))
        abort();
}

static void read_event_id(struct slice in)
{
    AUTO(buf) out = {0};
    uint64_t seq, again;

    if (!mcp_event_id_parse(in, &seq)) return;
    mcp_event_id(&out, seq);
    if (!mcp_event_id_parse(buf_slice(&out), &again) || again != seq) abort();
}

static void read_kept(struct slice in)
{
    struct kept_position at;

    if (kept_parse(in, &at)) inside(in, at.rpc_id);
}

static void read_uri(struct slice in)
{
    struct mcp_uri uri = mcp_uri_parse(in);
    struct event_filter filter;

    inside(in, uri.name);
    if (uri.kind != MCP_URI_NONE) (void)!mcp_uri_kinds(in, &filter);
}

static void read_names(struct slice in)
{
    struct event_filter filter = {0};

    if (event_filter_add_names(&filter, in) == OK && in.len && !filter.kinds) abort();
}

static void read_ids(struct slice in)
{
    uint32_t number, peer;
    uint64_t secret;
    struct place place;
    char text[ID_TEXT_MAX];

    if (id_number_parse(ID_ACCOUNT, in, &number, &secret) &&
        !slice_is(in, id_number_text(ID_ACCOUNT, number, secret, text)))
        abort();
    if (id_chat_parse(ID_CHAT, in, &number, &peer, &secret) &&
        !slice_is(in, id_chat_text(ID_CHAT, number, peer, secret, text)))
        abort();
    if (id_message_parse(ID_MESSAGE, in, &number, &place) &&
        !slice_is(in, id_message_text(ID_MESSAGE, number, place, text)))
        abort();
}

static void read_number(struct slice in)
{
    uint64_t n;
    int64_t ms;

    if (text_u64(in, &n) == OK && in.len == 0) abort();
    if (text_parse_time(in, &ms) != OK) err_clear();
}

static void (*const readers[])(struct slice) = {
    read_event_id, read_kept, read_uri, read_names, read_ids, read_number,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) readers[data[0] % ARRAY_LEN(readers)](slice_of(data + 1, size - 1));
    return 0;
}
