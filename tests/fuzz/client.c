/* Stanzas of a hostile server to a client that is logged in, and messages of a hostile peer.
 *
 * Input: blocks of a length byte pair (big endian) and one encoded node each, handled one after
 * another in a turn each; a block that is no node is read as the inside of a message. Only a row
 * that the client itself wrote may be found damaged, and there is none of those. */
#include "proto/base/reader.h"
#include "proto/client/content.h"
#include "proto/client/link.h"
#include "proto/client/stanzas.h"
#include "tests/fuzz/online.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_inside(struct slice bytes, struct arena *arena)
{
    struct wa_body body;

    wa_body_read(bytes, arena, &body);
    if (body.mention_count > WA_BODY_MENTIONS_MAX) abort();
    wa_body_stanza_type(bytes);
}

static void stanza(struct wa_client *c, struct fake_host *h, struct slice bytes)
{
    struct arena arena = {0};
    struct wa_node *node;

    wa_arena_set(c, &arena);
    fake_turn_open(h);
    if (wa_node_decode(bytes, &arena, &node) != OK) {
        read_inside(bytes, &arena);
    } else {
        wa_stanza_fn *handler = wa_stanza_handler(node->tag);
        err_t e = handler ? handler(c, node) : OK;
        if (wa_is_fatal(e)) abort();
    }
    fake_turn_close(h);
    fake_commit_all(h);
    wa_arena_set(c, NULL);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct fake_host h;
    struct arena arena = {0};
    struct reader r = reader_of(slice_of(data, size));

    if (!started) crypto_start();
    started = true;
    fake_host_init(&h, 1);
    h.on_send = take;
    fake_turn_open(&h);
    struct wa_client *c = online(&h, &arena);
    fake_turn_close(&h);
    fake_commit_all(&h);

    while (reader_left(&r) > 2) {
        size_t n = reader_be16(&r);
        if (n > reader_left(&r)) n = reader_left(&r);
        stanza(c, &h, reader_bytes(&r, n));
        fake_turn_open(&h);
        must(wa_client_tick(c, c->now += 1000));
        fake_turn_close(&h);
        fake_commit_all(&h);
    }
    wa_client_free(c);
    fake_host_done(&h);
    arena_done(&arena);
    return 0;
}
