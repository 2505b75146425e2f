#include "tools/sim/content.h"

#include <zlib.h>

#include "proto/base/buf.h"
#include "proto/base/xalloc.h"
#include "proto/schema/history.pb-c.h"
#include "proto/schema/unpack.h"

static void put_field(struct buf *out, uint32_t number, struct slice value)
{
    buf_put_varint(out, number << 3 | 2);
    buf_put_block(out, value);
}

struct slice sim_content_text(struct arena *arena, struct slice text, struct slice quote,
                              struct slice quoted_author, struct slice quoted_text)
{
    Wa__Message m = WA__MESSAGE__INIT, quoted = WA__MESSAGE__INIT;
    Wa__ExtendedTextMessage extended = WA__EXTENDED_TEXT_MESSAGE__INIT;
    Wa__ContextInfo context = WA__CONTEXT_INFO__INIT;

    if (quote.len == 0) {
        m.conversation = arena_text(arena, text);
        return wa_pack_in(&m.base, arena);
    }
    quoted.conversation = arena_text(arena, quoted_text);
    context.stanza_id = arena_text(arena, quote);
    context.participant = arena_text(arena, quoted_author);
    context.quoted_message = &quoted;
    extended.text = arena_text(arena, text);
    extended.context_info = &context;
    m.extended_text_message = &extended;
    return wa_pack_in(&m.base, arena);
}

/* Written by hand: the inner message stays byte for byte what it was. */
struct slice sim_content_device_sent(struct arena *arena, struct slice chat, struct slice message)
{
    enum { DEVICE_SENT = 31, DESTINATION = 1, MESSAGE = 2 };
    AUTO(buf) inner = {0};
    AUTO(buf) outer = {0};

    put_field(&inner, DESTINATION, chat);
    put_field(&inner, MESSAGE, message);
    put_field(&outer, DEVICE_SENT, buf_slice(&inner));
    return arena_dup(arena, buf_slice(&outer));
}

struct slice sim_content_distribution(struct arena *arena, struct slice group, struct slice key)
{
    enum { DISTRIBUTION = 2, GROUP = 1, KEY = 2 };
    AUTO(buf) inner = {0};
    AUTO(buf) outer = {0};

    put_field(&inner, GROUP, group);
    put_field(&inner, KEY, key);
    put_field(&outer, DISTRIBUTION, buf_slice(&inner));
    return arena_dup(arena, buf_slice(&outer));
}

/* Protobuf merges what stands one behind the other. */
struct slice sim_content_join(struct arena *arena, struct slice a, struct slice b)
{
    AUTO(buf) both = {0};

    buf_put(&both, a);
    buf_put(&both, b);
    return arena_dup(arena, buf_slice(&both));
}

static struct slice protocol(struct arena *arena, Wa__ProtocolMessage *p,
                             Wa__ProtocolMessage__Type type)
{
    Wa__Message m = WA__MESSAGE__INIT;

    p->has_type = 1;
    p->type = type;
    m.protocol_message = p;
    return wa_pack_in(&m.base, arena);
}

struct slice sim_content_key_share(struct arena *arena, const struct sim_app_key *key)
{
    Wa__ProtocolMessage p = WA__PROTOCOL_MESSAGE__INIT;
    Wa__AppStateSyncKeyShare share = WA__APP_STATE_SYNC_KEY_SHARE__INIT;
    Wa__AppStateSyncKey one = WA__APP_STATE_SYNC_KEY__INIT, *keys[] = {&one};
    Wa__AppStateSyncKeyId id = WA__APP_STATE_SYNC_KEY_ID__INIT;
    Wa__AppStateSyncKeyData data = WA__APP_STATE_SYNC_KEY_DATA__INIT;
    Wa__AppStateSyncKeyFingerprint print = WA__APP_STATE_SYNC_KEY_FINGERPRINT__INIT;
    uint32_t indexes[] = {0, key->current_index};

    print.has_raw_id = print.has_current_index = 1;
    print.raw_id = key->raw_id;
    print.current_index = key->current_index;
    print.n_device_indexes = 2;
    print.device_indexes = indexes;
    id.has_key_id = 1;
    id.key_id = wa_binary(slice_of(key->id, 6));
    data.has_key_data = data.has_timestamp = 1;
    data.key_data = wa_binary(slice_of(key->data, 32));
    data.fingerprint = &print;
    data.timestamp = key->at_ms;
    one.key_id = &id;
    one.key_data = &data;
    share.n_keys = 1;
    share.keys = keys;
    p.app_state_sync_key_share = &share;
    return protocol(arena, &p, WA__PROTOCOL_MESSAGE__TYPE__APP_STATE_SYNC_KEY_SHARE);
}

static struct slice deflated(struct arena *arena, struct slice in)
{
    uLongf n = compressBound(in.len);
    uint8_t *out = arena_alloc(arena, n);

    compress(out, &n, in.data, in.len);
    return slice_of(out, n);
}

static struct slice history_blob(struct arena *arena, int type, struct slice number,
                                 struct slice lid, struct slice name)
{
    Wa__HistorySync sync = WA__HISTORY_SYNC__INIT;
    Wa__Pushname own = WA__PUSHNAME__INIT, *names[] = {&own};
    Wa__PhoneNumberToLidMapping map = WA__PHONE_NUMBER_TO_LID_MAPPING__INIT, *maps[] = {&map};

    own.id = arena_text(arena, arena_printf(arena, SLICE_FMT "@s.whatsapp.net", SLICE_ARG(number)));
    own.pushname = arena_text(arena, name);
    map.pn_jid = own.id;
    map.lid_jid = arena_text(arena, arena_printf(arena, SLICE_FMT "@lid", SLICE_ARG(lid)));
    sync.has_sync_type = sync.has_chunk_order = sync.has_progress = 1;
    sync.sync_type = type;
    sync.chunk_order = 1;
    sync.progress = 100;
    sync.n_pushnames = 1;
    sync.pushnames = names;
    sync.n_phone_number_to_lid_mappings = 1;
    sync.phone_number_to_lid_mappings = maps;
    return deflated(arena, wa_pack_in(&sync.base, arena));
}

struct slice sim_content_history(struct arena *arena, int type, struct slice number,
                                 struct slice lid, struct slice name)
{
    Wa__ProtocolMessage p = WA__PROTOCOL_MESSAGE__INIT;
    Wa__HistorySyncNotification notice = WA__HISTORY_SYNC_NOTIFICATION__INIT;

    notice.has_sync_type = notice.has_chunk_order = notice.has_progress = 1;
    notice.sync_type = type;
    notice.chunk_order = 1;
    notice.progress = 100;
    notice.has_initial_hist_bootstrap_inline_payload = 1;
    notice.initial_hist_bootstrap_inline_payload =
        wa_binary(history_blob(arena, type, number, lid, name));
    p.history_sync_notification = &notice;
    return protocol(arena, &p, WA__PROTOCOL_MESSAGE__TYPE__HISTORY_SYNC_NOTIFICATION);
}

static struct slice web_message(struct arena *arena, const Wa__MessageKey *key, int64_t at,
                                struct slice text)
{
    Wa__WebMessageInfo web = WA__WEB_MESSAGE_INFO__INIT;
    Wa__Message message = WA__MESSAGE__INIT;
    Wa__MessageKey own = *key;

    message.conversation = slice_is_none(text) ? NULL : arena_text(arena, text);
    web.key = &own;
    web.has_message_timestamp = 1;
    web.message_timestamp = (uint64_t)at;
    web.message = message.conversation ? &message : NULL;
    return wa_pack_in(&web.base, arena);
}

struct slice sim_content_placeholder(struct arena *arena, struct slice request,
                                     const Wa__MessageKey *key, int64_t at, struct slice text)
{
    Wa__ProtocolMessage p = WA__PROTOCOL_MESSAGE__INIT;
    Wa__PeerDataOperationRequestResponseMessage answer =
        WA__PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE__INIT;
    Wa__PeerDataOperationRequestResponseMessage__PeerDataOperationResult
        result = WA__PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE__PEER_DATA_OPERATION_RESULT__INIT,
        *results[] = {&result};
    Wa__PeerDataOperationRequestResponseMessage__PeerDataOperationResult__PlaceholderMessageResendResponse
        resent =
            WA__PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE__PEER_DATA_OPERATION_RESULT__PLACEHOLDER_MESSAGE_RESEND_RESPONSE__INIT;

    resent.has_web_message_info_bytes = 1;
    resent.web_message_info_bytes = wa_binary(web_message(arena, key, at, text));
    result.placeholder_message_resend_response = &resent;
    answer.has_peer_data_operation_request_type = 1;
    answer.peer_data_operation_request_type =
        WA__PEER_DATA_OPERATION_REQUEST_TYPE__PLACEHOLDER_MESSAGE_RESEND;
    answer.stanza_id = arena_text(arena, request);
    answer.n_peer_data_operation_result = 1;
    answer.peer_data_operation_result = results;
    p.peer_data_operation_request_response_message = &answer;
    return protocol(arena, &p,
                    WA__PROTOCOL_MESSAGE__TYPE__PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE);
}

static const Wa__Message *unwrap(const Wa__Message *m)
{
    const Wa__FutureProofMessage *const wrappers[] = {m->ephemeral_message, m->view_once_message,
                                                      m->view_once_message_v2, m->edited_message,
                                                      m->document_with_caption_message};

    for (size_t i = 0; i < ARRAY_LEN(wrappers); i++)
        if (wrappers[i] && wrappers[i]->message) return wrappers[i]->message;
    return m;
}

struct slice sim_content_text_of(const Wa__Message *m)
{
    m = unwrap(m);
    if (m->conversation) return slice_text(m->conversation);
    if (m->extended_text_message) return slice_text(m->extended_text_message->text);
    return SLICE_NONE;
}

struct slice sim_content_quote_of(const Wa__Message *m)
{
    m = unwrap(m);
    if (!m->extended_text_message || !m->extended_text_message->context_info) return SLICE_NONE;
    return slice_text(m->extended_text_message->context_info->stanza_id);
}
