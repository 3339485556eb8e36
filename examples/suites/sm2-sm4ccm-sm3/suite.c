/* A suite of the national algorithms of China by OpenSSL: ECDH on the curve of SM2, SM3, HMAC-SM3
 * and SM4-CCM, the combination of TLS_SM4_CCM_SM3 (RFC 8998).
 *
 * OpenSSL 3.0 has the curve, SM3 and SM4 in CTR and CBC, but no SM4-CCM: CCM (RFC 3610,
 * SP 800-38C) is made of the two here. Its SM4 looks up tables on most processors: whoever shares
 * the processor's caches may learn of keys by them. README.md says more. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "wgpy_suite.h"

enum { SCALAR = 32, POINT = 33, HASH = 32, KEY = 16, TAG = 16, BLOCK = 16, NONCE = 12, MAC = 32, COOKIE_KEY = 32, COOKIE_NONCE = 32 };

/* Methods, constant once fetched; no key, no packet. */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sm3;
static EVP_MAC *hmac;
static EVP_CIPHER *sm4_ctr, *sm4_cbc;

static void fetch(void)
{
    sm3 = EVP_MD_fetch(NULL, "SM3", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    sm4_ctr = EVP_CIPHER_fetch(NULL, "SM4-CTR", NULL);
    sm4_cbc = EVP_CIPHER_fetch(NULL, "SM4-CBC", NULL);
}

/* The order of the group less 1, GB/T 32918.5-2017: private keys are less than that. */
static const uint8_t bound[SCALAR] = {
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x72, 0x03, 0xdf, 0x6b, 0x21, 0xc6, 0x05, 0x2b, 0x53, 0xbb, 0xf4, 0x09, 0x39, 0xd5, 0x41, 0x22,
};

/* 0 when it lies between 1 and the bound, else -1; in time that says nothing of a key in range. */
static int in_range(const uint8_t scalar[SCALAR])
{
    unsigned borrow = 0, any = 0;

    for (int i = SCALAR - 1; i >= 0; i--) {
        borrow = ((unsigned)scalar[i] - bound[i] - borrow) >> 8 & 1;
        any |= scalar[i];
    }
    return borrow && any ? 0 : -1;
}

/* One candidate of 2^32 is refused. */
static int private_key(const uint8_t *entropy, uint8_t *private)
{
    if (in_range(entropy))
        return -1;
    memcpy(private, entropy, SCALAR);
    return 0;
}

/* The private key times the point, or times the generator without one. OpenSSL multiplies one point
 * by a ladder of constant length, with blinded coordinates. */
static int multiply(const EC_GROUP *group, const uint8_t *private, const EC_POINT *point, EC_POINT *product)
{
    BIGNUM *scalar = BN_secure_new();
    int good = !in_range(private) && scalar && BN_bin2bn(private, SCALAR, scalar) &&
               EC_POINT_mul(group, product, point ? NULL : scalar, point, point ? scalar : NULL, NULL) &&
               !EC_POINT_is_at_infinity(group, product);

    BN_clear_free(scalar);
    return good;
}

static int public_key(const uint8_t *private, uint8_t *public)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_sm2);
    EC_POINT *product = group ? EC_POINT_new(group) : NULL;
    int good = product && multiply(group, private, NULL, product) &&
               EC_POINT_point2oct(group, product, POINT_CONVERSION_COMPRESSED, public, POINT, NULL) == POINT;

    EC_POINT_clear_free(product);
    EC_GROUP_free(group);
    return good ? 0 : -1;
}

/* The x coordinate. Public keys are compressed points: a byte 2 or 3 and a coordinate, and OpenSSL
 * refuses one that is not less than the prime and one that no point has. The cofactor is 1. */
static int dh(const uint8_t *private, const uint8_t *public, uint8_t *shared)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_sm2);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL, *product = point ? EC_POINT_new(group) : NULL;
    uint8_t encoded[POINT];
    int good = product && (public[0] & ~1) == POINT_CONVERSION_COMPRESSED &&
               EC_POINT_oct2point(group, point, public, POINT, NULL) && multiply(group, private, point, product) &&
               EC_POINT_point2oct(group, product, POINT_CONVERSION_COMPRESSED, encoded, POINT, NULL) == POINT;

    if (good)
        memcpy(shared, encoded + 1, SCALAR);
    OPENSSL_cleanse(encoded, sizeof encoded);
    EC_POINT_clear_free(product);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return good ? 0 : -1;
}

static int hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good;

    pthread_once(&fetched, fetch);
    good = ctx && EVP_DigestInit_ex2(ctx, sm3, NULL);
    for (size_t i = 0; good && i < count; i++)
        good = EVP_DigestUpdate(ctx, parts[i].data, parts[i].size);
    good = good && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    return good ? 0 : -1;
}

static int mac(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *out)
{
    char name[] = "SM3";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_END};
    EVP_MAC_CTX *ctx;
    size_t size;
    int good;

    pthread_once(&fetched, fetch);
    ctx = EVP_MAC_CTX_new(hmac);
    good = ctx && EVP_MAC_init(ctx, key, key_size, params);
    for (size_t i = 0; good && i < count; i++)
        good = EVP_MAC_update(ctx, parts[i].data, parts[i].size);
    good = good && EVP_MAC_final(ctx, out, &size, MAC) && size == MAC;
    EVP_MAC_CTX_free(ctx);
    return good ? 0 : -1;
}

struct context {
    EVP_CIPHER_CTX *ctr, *cbc;
    uint8_t scratch[1024]; /* what CBC gives but its last block */
};

static void context_free(void *context)
{
    struct context *c = context;

    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->ctr); /* which wipes the schedules */
    EVP_CIPHER_CTX_free(c->cbc);
    OPENSSL_clear_free(c, sizeof *c);
}

static void *context_new(const uint8_t *key)
{
    struct context *c = OPENSSL_zalloc(sizeof *c);

    pthread_once(&fetched, fetch);
    if (c && (c->ctr = EVP_CIPHER_CTX_new()) && (c->cbc = EVP_CIPHER_CTX_new()) &&
        EVP_EncryptInit_ex2(c->ctr, sm4_ctr, key, NULL, NULL) && EVP_EncryptInit_ex2(c->cbc, sm4_cbc, key, NULL, NULL) &&
        EVP_CIPHER_CTX_set_padding(c->cbc, 0))
        return c;
    context_free(c);
    return NULL;
}

/* Whole blocks into CBC-MAC; the last block that it gives is the state so far. */
static int absorb(struct context *c, const uint8_t *data, size_t size, uint8_t state[BLOCK])
{
    int n = 0;

    for (size_t piece; size; data += piece, size -= piece) {
        piece = size < sizeof c->scratch ? size : sizeof c->scratch;
        if (!EVP_EncryptUpdate(c->cbc, c->scratch, &n, data, (int)piece))
            return 0;
        memcpy(state, c->scratch + piece - BLOCK, BLOCK);
    }
    return 1;
}

/* With zeros behind it up to a whole block. */
static int absorb_padded(struct context *c, const uint8_t *data, size_t size, uint8_t state[BLOCK])
{
    uint8_t block[BLOCK] = {0};
    size_t whole = size & ~(size_t)(BLOCK - 1);
    int good;

    memcpy(block, data + whole, size - whole);
    good = absorb(c, data, whole, state) && absorb(c, block, size == whole ? 0 : BLOCK, state);
    OPENSSL_cleanse(block, sizeof block);
    return good;
}

/* CBC-MAC of lengths, nonce, additional data and plaintext (RFC 3610, 2.2, with M = 16, L = 3). */
static int authenticate(struct context *c, const uint8_t nonce[NONCE], struct wgpy_part additional,
                        const uint8_t *data, size_t size, uint8_t state[BLOCK])
{
    static const uint8_t zero[BLOCK];
    uint8_t block[BLOCK] = {additional.size ? 0x7a : 0x3a};
    size_t room = BLOCK - 2, first = additional.size < room ? additional.size : room;

    memcpy(block + 1, nonce, NONCE);
    for (int i = 0; i < 3; i++)
        block[15 - i] = (uint8_t)(size >> 8 * i);
    if (!EVP_EncryptInit_ex2(c->cbc, NULL, NULL, zero, NULL) || !absorb(c, block, BLOCK, state))
        return 0;
    if (additional.size) {
        memset(block, 0, sizeof block);
        block[0] = (uint8_t)(additional.size >> 8);
        block[1] = (uint8_t)additional.size;
        memcpy(block + 2, additional.data, first);
        if (!absorb(c, block, BLOCK, state) || !absorb_padded(c, additional.data + first, additional.size - first, state))
            return 0;
    }
    return !size || absorb_padded(c, data, size, state);
}

/* Sets CTR to the nonce and gives its first block, which hides the tag. */
static int begin(struct context *c, const uint8_t nonce[NONCE], uint8_t mask[BLOCK])
{
    uint8_t start[BLOCK] = {2};
    int n;

    memcpy(start + 1, nonce, NONCE);
    memset(mask, 0, BLOCK);
    return EVP_EncryptInit_ex2(c->ctr, NULL, NULL, start, NULL) && EVP_EncryptUpdate(c->ctr, mask, &n, mask, BLOCK);
}

static int ccm(struct context *c, int seals, const uint8_t nonce[NONCE], struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t tag[BLOCK], mask[BLOCK];
    int n, good = additional.size < 0xff00 && begin(c, nonce, mask) &&
                  (seals || !size || EVP_EncryptUpdate(c->ctr, data, &n, data, (int)size)) &&
                  authenticate(c, nonce, additional, data, size, tag) &&
                  (!seals || !size || EVP_EncryptUpdate(c->ctr, data, &n, data, (int)size));

    for (int i = 0; good && i < TAG; i++)
        tag[i] ^= mask[i];
    if (good && seals)
        memcpy(data + size, tag, TAG);
    else if (!good || CRYPTO_memcmp(data + size, tag, TAG)) {
        OPENSSL_cleanse(data, size);
        good = 0;
    }
    OPENSSL_cleanse(tag, sizeof tag);
    OPENSSL_cleanse(mask, sizeof mask);
    return good ? 0 : -1;
}

/* Four bytes of zero and the counter, the highest byte first. */
static void nonce_of(uint64_t counter, uint8_t nonce[NONCE])
{
    memset(nonce, 0, 4);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static int seal_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t nonce[NONCE];

    nonce_of(counter, nonce);
    return ccm(context, 1, nonce, additional, data, size);
}

static int open_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t nonce[NONCE];

    nonce_of(counter, nonce);
    return ccm(context, 0, nonce, additional, data, size);
}

static void seal(struct wgpy_packet *packets, size_t count)
{
    for (struct wgpy_packet *p = packets; p < packets + count; p++)
        p->ok = !seal_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
}

static void open(struct wgpy_packet *packets, size_t count)
{
    for (struct wgpy_packet *p = packets; p < packets + count; p++)
        p->ok = !open_one(p->context, p->counter, (struct wgpy_part){0}, p->data, p->size);
}

/* A key for each nonce, the first bytes of HMAC-SM3 of it, and counter 0. */
static struct context *cookie_context(const uint8_t *key, const uint8_t *nonce)
{
    uint8_t whole[MAC];
    struct context *c = mac(key, COOKIE_KEY, &(struct wgpy_part){nonce, COOKIE_NONCE}, 1, whole) ? NULL : context_new(whole);

    OPENSSL_cleanse(whole, sizeof whole);
    return c;
}

static int cookie_seal(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    struct context *c = cookie_context(key, nonce);
    int ret = c ? seal_one(c, 0, additional, data, size) : -1;

    context_free(c);
    return ret;
}

static int cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    struct context *c = cookie_context(key, nonce);
    int ret = c ? open_one(c, 0, additional, data, size) : -1;

    context_free(c);
    return ret;
}

#include "vectors.h"

/* RFC 8998, A.2 */
static int published(void)
{
    uint8_t data[sizeof rfc_plain + TAG];
    struct context *c = context_new(rfc_key);
    int good;

    memcpy(data, rfc_plain, sizeof rfc_plain);
    good = c && !ccm(c, 1, rfc_nonce, (struct wgpy_part)P(rfc_additional), data, sizeof rfc_plain) &&
           !memcmp(data, rfc_sealed, sizeof rfc_sealed);
    context_free(c);
    return good;
}

static int self_test(char *why, size_t size)
{
    const char *lacks;

    pthread_once(&fetched, fetch);
    lacks = !sm3 ? "SM3" : !hmac ? "HMAC" : !sm4_ctr ? "SM4-CTR" : !sm4_cbc ? "SM4-CBC" : NULL;
    if (lacks)
        snprintf(why, size, "OpenSSL has no %s", lacks);
    else if (!published()) {
        lacks = "";
        snprintf(why, size, "SM4-CCM is not that of RFC 8998, A.2");
    }
    return lacks ? -1 : 0;
}

static const struct wgpy_suite suite = {
    .abi = WGPY_SUITE_ABI,
    .table_size = sizeof(struct wgpy_suite),
    .name = "sm2-sm4ccm-sm3",
    .noise = "Noise_IKpsk2_SM2_SM4CCM_SM3",
    .identifier = "sm2-sm4ccm-sm3 example 1",
    .entropy_size = SCALAR, .private_size = SCALAR, .public_size = POINT, .shared_size = SCALAR,
    .hash_size = HASH, .hash_block = 64, .key_size = KEY, .tag_size = TAG, .mac_size = MAC,
    .cookie_key_size = COOKIE_KEY, .cookie_nonce_size = COOKIE_NONCE, .cookie_tag_size = TAG,
    .private_key = private_key, .public_key = public_key, .dh = dh, .hash = hash, .mac = mac,
    .context_new = context_new, .context_free = context_free, .seal = seal, .open = open,
    .seal_one = seal_one, .open_one = open_one, .cookie_seal = cookie_seal, .cookie_open = cookie_open,
    .vectors = vectors, .vector_count = sizeof vectors / sizeof *vectors, .self_test = self_test,
};

const struct wgpy_suite *wgpy_suite(void)
{
    return &suite;
}
