/* One end of a Signal conversation on our own code, asked line by line by tests/interop.
 *
 * Words are separated by a space, bytes are hex ("-" is none). The answer is "ok" and its words, or
 * "error" and the name of the error. See commands[] below; ours.mjs is the other end. */
#include <stdio.h>
#include <sys/random.h>

#include "proto/base/text.h"
#include "tests/support/arguments.h"
#include "tests/support/signal_party.h"

enum { WORDS_MAX = 12, LINE_BYTES_MAX = 1 << 20 };

struct words {
    const char *at[WORDS_MAX];
    size_t n;
};

static struct party us;

/* ---- words in, words out ---- */

static struct slice bytes_of(const char *word)
{
    struct buf out = {0};
    struct slice copy;

    if (strcmp(word, "-") == 0) return SLICE("");
    if (text_unhex(slice_text(word), &out) != OK) return SLICE_NONE;
    copy = arena_dup(&us.arena, buf_slice(&out));
    buf_done(&out);
    return copy;
}

static void put_bytes(struct slice bytes)
{
    struct buf hex = {0};

    text_hex(bytes, &hex);
    printf(" " SLICE_FMT, SLICE_ARG(buf_slice(&hex)));
    buf_done(&hex);
}

static void put_key(const struct crypto_key *key) { put_bytes(SLICE_ARRAY(key->bytes)); }

static err_t read_key(const char *word, struct crypto_key *out)
{
    struct slice bytes = bytes_of(word);

    ENSURE(bytes.len == CRYPTO_KEY, BAD_ARGUMENT);
    memcpy(out->bytes, bytes.data, CRYPTO_KEY);
    return OK;
}

static struct wa_address address_of(const char *name, const char *device)
{
    return (struct wa_address){.name = arena_dup(&us.arena, slice_text(name)),
                               .device = (uint32_t)strtoul(device, NULL, 10)};
}

static struct slice group_of(const char *word) { return arena_dup(&us.arena, slice_text(word)); }

static err_t answer(struct slice bytes)
{
    printf("ok");
    put_bytes(bytes);
    return OK;
}

/* ---- commands ---- */

/* bundle 0|1: registration identity signed-id signed-key signature [one-time-id one-time-key] */
static err_t do_bundle(const struct words *w)
{
    struct wa_bundle b = party_bundle(&us, w->at[1][0] == '1');

    printf("ok %u", b.registration_id);
    put_key(&b.identity);
    printf(" %u", b.signed_prekey_id);
    put_key(&b.signed_prekey);
    put_bytes(SLICE_ARRAY(b.signature));
    if (!b.has_prekey) return OK;
    printf(" %u", b.prekey_id);
    put_key(&b.prekey);
    return OK;
}

/* process NAME DEVICE and the words of a bundle */
static err_t do_process(const struct words *w)
{
    struct wa_address to = address_of(w->at[1], w->at[2]);
    struct wa_bundle b = {.registration_id = (uint32_t)strtoul(w->at[3], NULL, 10),
                          .signed_prekey_id = (uint32_t)strtoul(w->at[5], NULL, 10),
                          .has_prekey = w->at[8][0] != '-'};
    struct slice signature = bytes_of(w->at[7]);
    bool changed;

    TRY(read_key(w->at[4], &b.identity));
    TRY(read_key(w->at[6], &b.signed_prekey));
    ENSURE(signature.len == sizeof(b.signature), BAD_SIGNATURE);
    memcpy(b.signature, signature.data, sizeof(b.signature));
    if (b.has_prekey) {
        b.prekey_id = (uint32_t)strtoul(w->at[8], NULL, 10);
        TRY(read_key(w->at[9], &b.prekey));
    }
    TRY(wa_session_from_bundle(&us.ks, &us.arena, &to, &b, &changed));
    printf("ok");
    return OK;
}

/* encrypt NAME DEVICE PLAIN: pkmsg|msg BODY */
static err_t do_encrypt(const struct words *w)
{
    struct wa_address to = address_of(w->at[1], w->at[2]);
    struct wa_encrypted out;

    TRY(wa_session_encrypt(&us.ks, &us.arena, &to, bytes_of(w->at[3]), &out));
    printf("ok %s", out.is_prekey ? "pkmsg" : "msg");
    put_bytes(out.bytes);
    return OK;
}

/* decrypt NAME DEVICE pkmsg|msg BODY: PLAIN */
static err_t do_decrypt(const struct words *w)
{
    struct wa_address from = address_of(w->at[1], w->at[2]);
    struct wa_decrypted out;

    TRY(wa_session_decrypt(&us.ks, &us.arena, &from, strcmp(w->at[3], "pkmsg") == 0,
                           bytes_of(w->at[4]), &out));
    return answer(out.padded);
}

/* group_distribute GROUP: BODY */
static err_t do_group_distribute(const struct words *w)
{
    struct slice out;

    TRY(wa_group_distribute(&us.ks, &us.arena, group_of(w->at[1]), &us.address, &out));
    return answer(out);
}

/* group_process GROUP NAME DEVICE BODY */
static err_t do_group_process(const struct words *w)
{
    struct wa_address author = address_of(w->at[2], w->at[3]);

    TRY(wa_group_process(&us.ks, &us.arena, group_of(w->at[1]), &author, bytes_of(w->at[4])));
    printf("ok");
    return OK;
}

/* group_encrypt GROUP PLAIN: BODY */
static err_t do_group_encrypt(const struct words *w)
{
    struct slice out;

    TRY(wa_group_encrypt(&us.ks, &us.arena, group_of(w->at[1]), &us.address, bytes_of(w->at[2]),
                         &out));
    return answer(out);
}

/* group_decrypt GROUP NAME DEVICE BODY: PLAIN */
static err_t do_group_decrypt(const struct words *w)
{
    struct wa_address author = address_of(w->at[2], w->at[3]);
    struct slice out;

    TRY(wa_group_decrypt(&us.ks, &us.arena, group_of(w->at[1]), &author, bytes_of(w->at[4]), &out));
    return answer(out);
}

static const struct command {
    const char *name;
    size_t words;
    err_t (*run)(const struct words *w);
} commands[] = {
    {"bundle", 2, do_bundle},
    {"process", 10, do_process},
    {"encrypt", 4, do_encrypt},
    {"decrypt", 5, do_decrypt},
    {"group_distribute", 2, do_group_distribute},
    {"group_process", 5, do_group_process},
    {"group_encrypt", 3, do_group_encrypt},
    {"group_decrypt", 5, do_group_decrypt},
};

static err_t run_line(char *line)
{
    struct words w = {0};
    char *rest = NULL;

    for (char *word = strtok_r(line, " \n", &rest); word && w.n < WORDS_MAX;
         word = strtok_r(NULL, " \n", &rest))
        w.at[w.n++] = word;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (w.n == commands[i].words && strcmp(w.at[0], commands[i].name) == 0)
            return commands[i].run(&w);
    return fail(BAD_ARGUMENT, "no such command");
}

int main(int argc, char **argv)
{
    static const char usage[] = "signal-party NAME DEVICE";
    static char line[LINE_BYTES_MAX];
    uint64_t seed;

    argument_end(usage, argc, argv, 2);
    uint64_t device = argument_number(usage, "DEVICE", argc > 2 ? argv[2] : NULL, 0, UINT16_MAX);
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) return 1;
    party_init(&us, argv[1], (uint32_t)device, seed);
    us.ks.registration_id &= 0x3fff;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    while (fgets(line, sizeof(line), stdin)) {
        err_t e = run_line(line);
        if (e != OK) printf("error %s", err_name(e));
        putchar('\n');
        fflush(stdout);
    }
    party_done(&us);
    return 0;
}
