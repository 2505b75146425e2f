/* The primitives over OpenSSL (hashes, AES), libsodium (curve, boxes, random numbers) and
 * libxeddsa (one conversion of a public key, used both ways).
 *
 * Algorithms are fetched once, and each thread keeps one digest context and one context per
 * cipher: setting a key into a ready context is a quarter of a microsecond, while a context of its
 * own for every account would cost 1.2 KB each. */
#include "proto/crypto/crypto.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium/core.h>
#include <sodium/crypto_aead_xchacha20poly1305.h>
#include <sodium/crypto_core_ed25519.h>
#include <sodium/crypto_hash_sha512.h>
#include <sodium/crypto_scalarmult_curve25519.h>
#include <sodium/crypto_scalarmult_ed25519.h>
#include <sodium/crypto_sign_ed25519.h>
#include <sodium/utils.h>
#include <stdlib.h>

/* <xeddsa.h> includes a header that Debian's package does not ship. */
extern void curve25519_pub_to_ed25519_pub(uint8_t *ed, const uint8_t *curve, const bool sign);

enum {
    SHA256_BLOCK = 64,
    HKDF_MAX = 255 * CRYPTO_SHA256,
    UPDATE_MAX = 1 << 30, /* OpenSSL counts in int */
};

enum digest { SHA256, SHA1, MD5, DIGEST_COUNT };
enum cipher { AES_GCM, AES_CBC, AES_CTR, CIPHER_COUNT };

static const char *const digest_names[] = {"SHA256", "SHA1", "MD5"};
static const char *const cipher_names[] = {"AES-256-GCM", "AES-256-CBC", "AES-256-CTR"};

static EVP_MD *digests[DIGEST_COUNT];
static EVP_CIPHER *ciphers[CIPHER_COUNT];

struct thread_contexts {
    EVP_MD_CTX *digest;
    EVP_CIPHER_CTX *ciphers[CIPHER_COUNT];
};

static pthread_key_t contexts_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct thread_contexts *contexts;

static void must(bool works)
{
    if (!works) abort(); /* a primitive that cannot run leaves nothing sensible to do */
}

static void free_contexts(void *p)
{
    struct thread_contexts *c = p;

    EVP_MD_CTX_free(c->digest);
    for (int i = 0; i < CIPHER_COUNT; i++)
        EVP_CIPHER_CTX_free(c->ciphers[i]);
    free(c);
}

static void start(void)
{
    must(sodium_init() >= 0);
    must(pthread_key_create(&contexts_key, free_contexts) == 0);
    for (int i = 0; i < DIGEST_COUNT; i++)
        must((digests[i] = EVP_MD_fetch(NULL, digest_names[i], NULL)));
    for (int i = 0; i < CIPHER_COUNT; i++)
        must((ciphers[i] = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL)));
}

void crypto_start(void) { must(pthread_once(&once, start) == 0); }

static struct thread_contexts *new_contexts(void)
{
    crypto_start();
    struct thread_contexts *c = xcalloc(sizeof(*c));

    must((c->digest = EVP_MD_CTX_new()));
    for (int i = 0; i < CIPHER_COUNT; i++) {
        must((c->ciphers[i] = EVP_CIPHER_CTX_new()));
        must(EVP_CipherInit_ex2(c->ciphers[i], ciphers[i], NULL, NULL, 1, NULL));
    }
    must(pthread_setspecific(contexts_key, c) == 0);
    return contexts = c;
}

static inline struct thread_contexts *mine(void) { return contexts ? contexts : new_contexts(); }

void crypto_wipe(void *p, size_t n) { sodium_memzero(p, n); }

bool crypto_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || sodium_memcmp(a.data, b.data, a.len) == 0);
}

/* ---- hashes ---- */

static void hash_begin(enum digest which)
{
    EVP_MD_CTX *ctx = mine()->digest;
    must(EVP_DigestInit_ex2(ctx, digests[which], NULL));
}

static void hash_add(struct slice s)
{
    if (s.len) must(EVP_DigestUpdate(contexts->digest, s.data, s.len));
}

static void hash_end(uint8_t *out) { must(EVP_DigestFinal_ex(contexts->digest, out, NULL)); }

static void hash(enum digest which, const struct slice *pieces, size_t n, uint8_t *out)
{
    hash_begin(which);
    for (size_t i = 0; i < n; i++)
        hash_add(pieces[i]);
    hash_end(out);
}

void crypto_sha256(struct slice in, uint8_t out[CRYPTO_SHA256]) { hash(SHA256, &in, 1, out); }

void crypto_sha256_v(const struct slice *pieces, size_t n, uint8_t out[CRYPTO_SHA256])
{
    hash(SHA256, pieces, n, out);
}

void crypto_sha1_v(const struct slice *pieces, size_t n, uint8_t out[20])
{
    hash(SHA1, pieces, n, out);
}

void crypto_md5(struct slice in, uint8_t out[16]) { hash(MD5, &in, 1, out); }

/* The key xor one byte, filled up to a block: the two keys of HMAC (RFC 2104). */
static void pad_key(struct slice key, uint8_t with, uint8_t out[SHA256_BLOCK])
{
    memset(out, with, SHA256_BLOCK);
    for (size_t i = 0; i < key.len; i++)
        out[i] ^= key.data[i];
}

/* Written out over the digest, because OpenSSL 3's own HMAC object costs several times as much as
 * the four blocks it hashes. */
void crypto_hmac_v(struct slice key, const struct slice *pieces, size_t n,
                   uint8_t out[CRYPTO_SHA256])
{
    uint8_t block[SHA256_BLOCK], short_key[CRYPTO_SHA256], inner[CRYPTO_SHA256];

    if (key.len > SHA256_BLOCK) {
        crypto_sha256(key, short_key);
        key = SLICE_ARRAY(short_key);
    }
    pad_key(key, 0x36, block);
    hash_begin(SHA256);
    hash_add(SLICE_ARRAY(block));
    for (size_t i = 0; i < n; i++)
        hash_add(pieces[i]);
    hash_end(inner);

    pad_key(key, 0x5c, block);
    hash(SHA256, (struct slice[]){SLICE_ARRAY(block), SLICE_ARRAY(inner)}, 2, out);
    crypto_wipe(block, sizeof(block));
}

void crypto_hmac(struct slice key, struct slice in, uint8_t out[CRYPTO_SHA256])
{
    crypto_hmac_v(key, &in, 1, out);
}

void crypto_hkdf(struct slice secret, struct slice salt, struct slice info, uint8_t *out, size_t n)
{
    static const uint8_t no_salt[CRYPTO_SHA256];
    uint8_t prk[CRYPTO_SHA256], block[CRYPTO_SHA256];
    struct slice before = SLICE_NONE;

    assert(n <= HKDF_MAX);
    crypto_hmac(slice_is_none(salt) ? SLICE_ARRAY(no_salt) : salt, secret, prk);
    for (uint8_t counter = 1; n; counter++) {
        size_t take = n < sizeof(block) ? n : sizeof(block);

        crypto_hmac_v(SLICE_ARRAY(prk), (struct slice[]){before, info, slice_of(&counter, 1)}, 3,
                      block);
        memcpy(out, block, take);
        before = SLICE_ARRAY(block);
        out += take;
        n -= take;
    }
    crypto_wipe(prk, sizeof(prk));
    crypto_wipe(block, sizeof(block));
}

void crypto_pbkdf2(struct slice password, struct slice salt, uint32_t rounds, uint8_t *out,
                   size_t n)
{
    crypto_start();
    must(PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, salt.data, (int)salt.len,
                           (int)rounds, digests[SHA256], (int)n, out) == 1);
}

/* ---- ciphers ---- */

static EVP_CIPHER_CTX *cipher_begin(enum cipher which, const uint8_t *key, const uint8_t *iv,
                                    bool encrypt)
{
    EVP_CIPHER_CTX *ctx = mine()->ciphers[which];
    must(EVP_CipherInit_ex2(ctx, NULL, key, iv, encrypt, NULL));
    return ctx;
}

/* Appends what comes out; room was reserved by the caller. */
static void cipher_add(EVP_CIPHER_CTX *ctx, struct slice in, struct buf *out)
{
    while (in.len) {
        int take = in.len < UPDATE_MAX ? (int)in.len : UPDATE_MAX, got = 0;

        must(EVP_CipherUpdate(ctx, out->data + out->len, &got, in.data, take));
        out->len += (size_t)got;
        in = slice_from(in, (size_t)take);
    }
}

static void cipher_aad(EVP_CIPHER_CTX *ctx, struct slice aad)
{
    int got = 0;

    assert(aad.len < UPDATE_MAX);
    if (aad.len) must(EVP_CipherUpdate(ctx, NULL, &got, aad.data, (int)aad.len));
}

void crypto_gcm_seal(const uint8_t key[32], const uint8_t iv[12], struct slice aad,
                     struct slice plain, struct buf *out)
{
    EVP_CIPHER_CTX *ctx = cipher_begin(AES_GCM, key, iv, true);
    int got = 0;

    buf_reserve(out, plain.len + CRYPTO_GCM_TAG);
    cipher_aad(ctx, aad);
    cipher_add(ctx, plain, out);
    must(EVP_CipherFinal_ex(ctx, out->data + out->len, &got));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_GCM_TAG,
                             buf_extend(out, CRYPTO_GCM_TAG)));
}

err_t crypto_gcm_open(const uint8_t key[32], const uint8_t iv[12], struct slice aad,
                      struct slice sealed, struct buf *out)
{
    ENSURE(sealed.len >= CRYPTO_GCM_TAG, BAD_MAC);
    struct slice cipher = slice_sub(sealed, 0, sealed.len - CRYPTO_GCM_TAG);
    size_t start_at = out->len;
    uint8_t tag[CRYPTO_GCM_TAG];
    int got = 0;

    TRY(buf_try_reserve(out, cipher.len + CRYPTO_AES_BLOCK));
    EVP_CIPHER_CTX *ctx = cipher_begin(AES_GCM, key, iv, false);
    memcpy(tag, sealed.data + cipher.len, sizeof(tag));
    cipher_aad(ctx, aad);
    cipher_add(ctx, cipher, out);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag));
    if (EVP_CipherFinal_ex(ctx, out->data + out->len, &got) == 1) return OK;

    /* Nobody may look at text that was not authenticated; and OpenSSL's error queue is shared
     * with the TLS code of this thread, which reads it. */
    crypto_wipe(out->data + start_at, out->len - start_at);
    out->len = start_at;
    ERR_clear_error();
    return fail(BAD_MAC, "%zu bytes", sealed.len);
}

void crypto_cbc_encrypt(const uint8_t key[32], const uint8_t iv[16], struct slice plain,
                        struct buf *out)
{
    EVP_CIPHER_CTX *ctx = cipher_begin(AES_CBC, key, iv, true);
    int got = 0;

    buf_reserve(out, plain.len + CRYPTO_AES_BLOCK);
    cipher_add(ctx, plain, out);
    must(EVP_CipherFinal_ex(ctx, out->data + out->len, &got));
    out->len += (size_t)got;
}

err_t crypto_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], struct slice cipher,
                         struct buf *out)
{
    ENSURE(cipher.len && cipher.len % CRYPTO_AES_BLOCK == 0, BAD_PADDING);
    size_t start_at = out->len;
    int got = 0;

    TRY(buf_try_reserve(out, cipher.len + CRYPTO_AES_BLOCK));
    EVP_CIPHER_CTX *ctx = cipher_begin(AES_CBC, key, iv, false);
    cipher_add(ctx, cipher, out);
    if (EVP_CipherFinal_ex(ctx, out->data + out->len, &got) == 1) {
        out->len += (size_t)got;
        return OK;
    }
    crypto_wipe(out->data + start_at, out->len - start_at);
    out->len = start_at;
    ERR_clear_error();
    return fail(BAD_PADDING, "%zu bytes", cipher.len);
}

void crypto_ctr(const uint8_t key[32], const uint8_t iv[16], struct slice in, struct buf *out)
{
    EVP_CIPHER_CTX *ctx = cipher_begin(AES_CTR, key, iv, true);

    buf_reserve(out, in.len + CRYPTO_AES_BLOCK);
    cipher_add(ctx, in, out);
}

/* ---- Curve25519 ---- */

static void clamp(uint8_t scalar[CRYPTO_KEY])
{
    scalar[0] &= 248;
    scalar[31] = (scalar[31] & 127) | 64;
}

/* 2^255 - 19 minus x, for 0 < x < 2^255 - 19. */
static void negate(uint8_t x[CRYPTO_KEY])
{
    static const uint8_t p[CRYPTO_KEY] = {[0] = 0xed, [1 ... 30] = 0xff, [31] = 0x7f};
    int borrow = 0;

    for (int i = 0; i < CRYPTO_KEY; i++) {
        int d = p[i] - x[i] - borrow;
        x[i] = (uint8_t)d;
        borrow = d < 0;
    }
}

/* The public key over the tables of Ed25519's base point, which is the same point on the other
 * curve: 16 us where X25519's own ladder takes 26. What is left is u = (1 + y) / (1 - y), and
 * libxeddsa has y = (u - 1) / (u + 1) only; of -y that makes -u. */
static void public_of(const uint8_t secret[CRYPTO_KEY], uint8_t out[CRYPTO_KEY])
{
    uint8_t y[CRYPTO_KEY];

    must(crypto_scalarmult_ed25519_base_noclamp(y, secret) == 0);
    y[31] &= 0x7f; /* the sign of x, which u does not have */
    negate(y);
    curve25519_pub_to_ed25519_pub(out, y, false);
    negate(out);
}

void crypto_pair_from(const uint8_t secret[32], struct crypto_pair *out)
{
    memcpy(out->secret.bytes, secret, CRYPTO_KEY);
    clamp(out->secret.bytes);
    public_of(out->secret.bytes, out->public.bytes);
}

void crypto_pair_new(struct crypto_pair *out)
{
    uint8_t secret[CRYPTO_KEY];

    crypto_random(secret, sizeof(secret));
    crypto_pair_from(secret, out);
    crypto_wipe(secret, sizeof(secret));
}

err_t crypto_dh(const struct crypto_key *secret, const struct crypto_key *public, uint8_t out[32])
{
    uint8_t shared[CRYPTO_KEY];

    if (crypto_scalarmult_curve25519(shared, secret->bytes, public->bytes) != 0)
        return fail(BAD_KEY, "a low-order point");
    memcpy(out, shared, sizeof(shared));
    crypto_wipe(shared, sizeof(shared));
    return OK;
}

static void sha512_v(const struct slice *pieces, size_t n, uint8_t out[crypto_hash_sha512_BYTES])
{
    crypto_hash_sha512_state state;

    crypto_hash_sha512_init(&state);
    for (size_t i = 0; i < n; i++)
        if (pieces[i].len) crypto_hash_sha512_update(&state, pieces[i].data, pieces[i].len);
    crypto_hash_sha512_final(&state, out);
    crypto_wipe(&state, sizeof(state));
}

/* XEdDSA as Signal signs with it: a plain Ed25519 signature made by the Curve25519 scalar `a`,
 * the sign bit of A put into the bit of S that is always zero. On libsodium's group operations,
 * which take half the time of libxeddsa's. */
void crypto_sign_with(const struct crypto_key *secret, struct slice message,
                      const uint8_t random[CRYPTO_SIGN_RANDOM], uint8_t out[CRYPTO_SIGNATURE])
{
    /* Sets this hash apart from every hash of an honest Ed25519 signature: 2^256 - 2 as an
     * encoded point is none (XEdDSA, hash_1). */
    static const uint8_t apart[32] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t a[32], A[32], hash64[64], r[32], R[32], h[32], s[32];

    memcpy(a, secret->bytes, sizeof(a));
    clamp(a);
    must(crypto_scalarmult_ed25519_base_noclamp(A, a) == 0);

    sha512_v((struct slice[]){SLICE_ARRAY(apart), SLICE_ARRAY(a), message,
                              slice_of(random, CRYPTO_SIGN_RANDOM)},
             4, hash64);
    crypto_core_ed25519_scalar_reduce(r, hash64);
    must(crypto_scalarmult_ed25519_base_noclamp(R, r) == 0);

    sha512_v((struct slice[]){SLICE_ARRAY(R), SLICE_ARRAY(A), message}, 3, hash64);
    crypto_core_ed25519_scalar_reduce(h, hash64);
    crypto_core_ed25519_scalar_mul(s, h, a);
    crypto_core_ed25519_scalar_add(s, s, r);

    memcpy(out, R, 32);
    memcpy(out + 32, s, 32);
    out[63] |= A[31] & 0x80;
    crypto_wipe(a, sizeof(a));
    crypto_wipe(r, sizeof(r));
    crypto_wipe(hash64, sizeof(hash64));
}

void crypto_sign(const struct crypto_key *secret, struct slice message,
                 uint8_t out[CRYPTO_SIGNATURE])
{
    uint8_t random[CRYPTO_SIGN_RANDOM];

    crypto_random(random, sizeof(random));
    crypto_sign_with(secret, message, random, out);
    crypto_wipe(random, sizeof(random));
}

bool crypto_verify(const struct crypto_key *public, struct slice message, struct slice signature)
{
    uint8_t edwards[32], plain[CRYPTO_SIGNATURE];

    if (signature.len != sizeof(plain)) return false;
    memcpy(plain, signature.data, sizeof(plain));
    plain[63] &= 0x7f;
    curve25519_pub_to_ed25519_pub(edwards, public->bytes, signature.data[63] >> 7);
    return crypto_sign_ed25519_verify_detached(plain, message.data, message.len, edwards) == 0;
}

/* ---- records at rest ---- */

enum {
    BOX_NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    BOX_TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
};

void crypto_box_seal(const uint8_t key[32], struct slice aad, struct slice plain, struct buf *out)
{
    uint8_t *nonce = buf_extend(out, BOX_NONCE + plain.len + BOX_TAG);

    crypto_random(nonce, BOX_NONCE);
    must(crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + BOX_NONCE, NULL, plain.data, plain.len,
                                                    aad.data, aad.len, NULL, nonce, key) == 0);
}

err_t crypto_box_open(const uint8_t key[32], struct slice aad, struct slice sealed, struct buf *out)
{
    ENSURE(sealed.len >= BOX_NONCE + BOX_TAG, BAD_MAC);
    size_t n = sealed.len - BOX_NONCE - BOX_TAG;

    TRY(buf_try_reserve(out, n));
    uint8_t *plain = buf_extend(out, n);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed.data + BOX_NONCE,
                                                   sealed.len - BOX_NONCE, aad.data, aad.len,
                                                   sealed.data, key) == 0)
        return OK;
    out->len -= n;
    return fail(BAD_MAC, "%zu bytes", sealed.len);
}
