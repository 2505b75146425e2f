/* Stanzas: what decodes must encode to something that decodes and encodes to the same bytes.
 * Addresses too. */
#include <stdlib.h>

#include "proto/wire/jid.h"
#include "proto/wire/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_address(struct slice text)
{
    char written[WA_JID_TEXT_MAX];
    struct wa_jid jid, again;

    if (wa_jid_parse(text, &jid) != OK) return;
    if (wa_jid_parse(slice_text(wa_jid_text(&jid, written)), &again) != OK) abort();
    if (!wa_jid_eq(&jid, &again)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena) arena = {0};
    AUTO(buf) once = {0}, twice = {0}, text = {0};
    struct wa_node *node;

    read_address(slice_of(data, size));
    if (wa_node_decode(slice_of(data, size), &arena, &node) != OK) return 0;
    wa_node_to_text(node, true, &text);
    wa_node_encode(node, &once); /* attributes without a value are left out */
    if (wa_node_decode(buf_slice(&once), &arena, &node) != OK) abort();
    wa_node_encode(node, &twice);
    if (!slice_eq(buf_slice(&once), buf_slice(&twice))) abort();
    return 0;
}
