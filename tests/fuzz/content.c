/* What a decrypted message says. The first byte chooses between reading it, the type of its
 * stanza, and the other protobuf messages that come from outside. */
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/client/content.h"
#include "proto/crypto/crypto.h"
#include "proto/schema/adv.pb-c.h"
#include "proto/schema/appstate.pb-c.h"
#include "proto/schema/handshake.pb-c.h"
#include "proto/schema/history.pb-c.h"
#include "proto/schema/message.pb-c.h"
#include "proto/schema/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_body(struct slice in, struct arena *arena)
{
    struct wa_body body;
    struct wa_message message = {0};

    wa_body_read(in, arena, &body);
    if (body.mention_count > WA_BODY_MENTIONS_MAX) abort();
    if (!wa_body_stanza_type(in)) abort();
    if (!wa_content_kind_text(body.kind)) abort();
    wa_body_into(&body, &message);
    /* Read every byte that was handed out. */
    AUTO(buf) copy = {0};
    buf_put(&copy, body.text);
    buf_put(&copy, body.quoted_id);
}

/* A text of ours reads back as itself. */
static void write_and_read(struct slice in, struct arena *arena)
{
    static const uint8_t secret[32];
    struct wa_text text = {.text = in};
    struct wa_body body;
    AUTO(buf) out = {0};

    wa_body_write_text(&text, SLICE_ARRAY(secret), &out);
    wa_body_read(buf_slice(&out), arena, &body);
    if (in.len && text_is_utf8(in) && !slice_eq(body.text, in)) abort();
}

static const ProtobufCMessageDescriptor *const types[] = {
    &wa__adv_signed_device_identity_hmac__descriptor,
    &wa__adv_signed_key_index_list__descriptor,
    &wa__syncd_patch__descriptor,
    &wa__syncd_snapshot__descriptor,
    &wa__sync_action_data__descriptor,
    &wa__handshake_message__descriptor,
    &wa__client_payload__descriptor,
    &wa__cert_chain__descriptor,
    &wa__history_sync__descriptor,
    &wa__web_message_info__descriptor,
    &wa__message__descriptor,
};

/* What unpacks, packs; what then unpacks again is the same. */
static void unpack(uint8_t which, struct slice in, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = types[which % ARRAY_LEN(types)];
    const ProtobufCMessage *first, *second;

    if (wa_unpack(type, in, arena, &first) != OK) return;
    struct slice once = wa_pack_in(first, arena);
    if (wa_unpack(type, once, arena, &second) != OK) return; /* a field numbered 0 was kept */
    if (!slice_eq(once, wa_pack_in(second, arena))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena) arena = {0};

    if (size == 0) return 0;
    struct slice in = slice_of(data + 1, size - 1);
    if (data[0] < 128)
        read_body(in, &arena);
    else if (data[0] < 160)
        write_and_read(in, &arena);
    else
        unpack(data[0], in, &arena);
    return 0;
}
