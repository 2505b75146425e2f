#include "proto/client/media_retry.h"

#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "proto/schema/receipt.pb-c.h"
#include "proto/schema/unpack.h"
#include "tests/support/fake_server.h"

/* The key that media key 00..1f gives, as official clients derive it. */
#define RETRY_KEY "c84dfe50a708e0ec382a7ad2ba40135256f41b652cebe2129661d27871111cb2"

static void ask(struct world *w, size_t key_bytes)
{
    uint8_t key[64];
    struct wa_lost_media lost = {.id = SLICE("M"),
                                 .media_key = slice_of(key, key_bytes),
                                 .chat.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0)};

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    WORLD_TURN(w, wa_client_ask_media(w->client, &lost, w->now));
}

Test(media_retry, only_who_has_the_file_key_reads_the_question)
{
    struct world w;
    const Wa__ServerErrorReceipt *receipt;
    AUTO(buf) key = {0};
    AUTO(buf) plain = {0};

    world_init_paired(&w);
    world_login(&w);
    ask(&w, WA_MEDIA_KEY);
    const struct wa_node *encrypt = wa_node_child(world_next_node(&w), "encrypt");
    struct slice iv = wa_node_child_bytes(encrypt, "enc_iv"),
                 sealed = wa_node_child_bytes(encrypt, "enc_p");
    cr_assert_eq(iv.len, 12);
    cr_assert_eq(text_unhex(SLICE(RETRY_KEY), &key), OK);
    cr_assert_eq(crypto_gcm_open(key.data, iv.data, SLICE("M"), sealed, &plain), OK);
    cr_assert_eq(WA_UNPACK(wa__server_error_receipt, buf_slice(&plain), &w.arena, &receipt), OK);
    cr_assert_str_eq(receipt->stanza_id, "M");
    world_done(&w);
}

Test(media_retry, a_key_of_another_length_and_a_link_that_is_down_ask_nothing)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    ask(&w, WA_MEDIA_KEY - 1);
    ask(&w, WA_MEDIA_KEY + 1);
    world_expect_quiet(&w);
    world_cut(&w);
    ask(&w, WA_MEDIA_KEY);
    world_expect_quiet(&w);
    world_done(&w);
}
