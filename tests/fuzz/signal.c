/* Everything of proto/signal that reads bytes from outside. The first byte of the input chooses the
 * reader, the rest is what it reads; a reader that refuses must have saved nothing. */
#include "proto/schema/message.pb-c.h"
#include "proto/schema/unpack.h"
#include "proto/signal/adv.h"
#include "tests/support/signal_party.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct party us, them;
static const struct slice group = {(const uint8_t *)"g@g.us", 6};

static err_t read_msg(struct slice in)
{
    struct wa_decrypted out;
    return wa_session_decrypt(&us.ks, &us.arena, &them.address, false, in, &out);
}

static err_t read_pkmsg(struct slice in)
{
    struct wa_decrypted out;
    return wa_session_decrypt(&us.ks, &us.arena, &them.address, true, in, &out);
}

static err_t read_group(struct slice in)
{
    struct slice out;
    return wa_group_decrypt(&us.ks, &us.arena, group, &them.address, in, &out);
}

static err_t read_distribution(struct slice in)
{
    return wa_group_process(&us.ks, &us.arena, group, &them.address, in);
}

static err_t read_pairing(struct slice in)
{
    static const uint8_t secret[WA_ADV_SECRET];
    struct wa_adv_pairing out;
    return wa_adv_accept(&us.ks, &us.arena, secret, in, &out);
}

static err_t read_identity(struct slice in)
{
    struct wa_adv_device out;
    return wa_adv_verify(&us.arena, in, &them.identity.public, NULL, &out);
}

static err_t read_key_indexes(struct slice in)
{
    struct wa_key_index_list out;
    return wa_key_index_parse(&us.arena, in, NULL, &out);
}

static err_t read_message(struct slice in)
{
    const Wa__Message *out;
    return WA_UNPACK(wa__message, in, &us.arena, &out);
}

static err_t read_padding(struct slice in)
{
    struct slice out;
    return wa_unpad(in, &out);
}

static err_t (*const readers[])(struct slice) = {
    read_msg,      read_pkmsg,       read_group,   read_distribution, read_pairing,
    read_identity, read_key_indexes, read_message, read_padding,
};

static void must(err_t e)
{
    if (e != OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!us.rows.count) {
        crypto_start();
        must(party_meet(&us, &them, true, SLICE("x\1"), group));
    }
    if (!size) return 0;

    size_t before = us.saves;
    err_t e = readers[data[0] % ARRAY_LEN(readers)](slice_of(data + 1, size - 1));
    if (e != OK && us.saves != before) abort();
    arena_reset(&us.arena);
    return 0;
}
