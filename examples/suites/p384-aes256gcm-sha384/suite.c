/* A suite of functions that FIPS 140 approves, by OpenSSL's EVP: ECDH on P-384, SHA-384,
 * HMAC-SHA-384-192 (RFC 4868) and AES-256-GCM.
 *
 * Which OpenSSL makes it a validated module: all but two things are fetched from a provider, with
 * the property query PROPERTIES. With `make PROPERTIES=fips=yes` only the FIPS provider answers;
 * it has to be built, installed (`openssl fipsinstall` writes its self-test's record) and activated
 * in openssl.cnf as its security policy says, and self_test() below fails where it is not.
 * Debian ships none. The two: the public key of a private one is computed by libcrypto itself,
 * since no provider offers that alone, and private keys are candidates drawn by wgpy's caller
 * (FIPS 186-5, A.2.2). The counter of a packet is the IV (SP 800-38D, 8.2.1); that it comes from
 * outside the module is what a validation has to argue, as for IPsec. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "wgpy_suite.h"

#ifndef PROPERTIES
#define PROPERTIES "" /* any provider */
#endif
#define CURVE "P-384"

enum { SCALAR = 48, POINT = 97, HASH = 48, KEY = 32, TAG = 16, IV = 12, MAC = 24, COOKIE_KEY = 48, COOKIE_NONCE = 32 };

/* Methods, constant once fetched; no key, no packet. */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha384;
static EVP_MAC *hmac;
static EVP_CIPHER *aes256gcm;

static void fetch(void)
{
    sha384 = EVP_MD_fetch(NULL, "SHA2-384", PROPERTIES);
    hmac = EVP_MAC_fetch(NULL, "HMAC", PROPERTIES);
    aes256gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", PROPERTIES);
}

/* The order of the group, FIPS 186-5 and SP 800-186, 3.2.1.4. */
static const uint8_t order[SCALAR] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
};

/* 0 when it lies between 1 and the order, else -1; in time that says nothing of a key in range. */
static int in_range(const uint8_t scalar[SCALAR])
{
    unsigned borrow = 0, any = 0;

    for (int i = SCALAR - 1; i >= 0; i--) {
        borrow = ((unsigned)scalar[i] - order[i] - borrow) >> 8 & 1;
        any |= scalar[i];
    }
    return borrow && any ? 0 : -1;
}

/* Candidates are tested, FIPS 186-5, A.2.2; one of 2^190 is refused. */
static int private_key(const uint8_t *entropy, uint8_t *private)
{
    if (in_range(entropy))
        return -1;
    memcpy(private, entropy, SCALAR);
    return 0;
}

static int public_key(const uint8_t *private, uint8_t *public)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_secp384r1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BIGNUM *scalar = BN_secure_new();
    int ret = -1;

    if (!in_range(private) && point && scalar && BN_bin2bn(private, SCALAR, scalar) &&
        EC_POINT_mul(group, point, scalar, NULL, NULL, NULL) &&
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, public, POINT, NULL) == POINT)
        ret = 0;
    BN_clear_free(scalar);
    EC_POINT_clear_free(point);
    EC_GROUP_free(group);
    return ret;
}

static EVP_PKEY *import(int selection, OSSL_PARAM *part)
{
    char curve[] = CURVE;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0), *part, OSSL_PARAM_END};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", PROPERTIES);
    EVP_PKEY *key = NULL;

    if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 || EVP_PKEY_fromdata(ctx, &key, selection, params) <= 0)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *import_private(const uint8_t *private)
{
    uint8_t native[SCALAR];
    OSSL_PARAM part = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof native);
    EVP_PKEY *key;

    for (int i = 0; i < SCALAR; i++) /* parameters are in the processor's order */
        native[i] = private[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? SCALAR - 1 - i : i];
    key = import(EVP_PKEY_KEYPAIR, &part);
    OPENSSL_cleanse(native, sizeof native);
    return key;
}

/* Only the uncompressed form: a byte 4 and two coordinates. OpenSSL refuses a coordinate that is
 * not less than the prime and a point that is not on the curve; derive_set_peer() validates fully
 * (SP 800-56A, 5.6.2.3.3). */
static EVP_PKEY *import_public(const uint8_t *public)
{
    uint8_t copy[POINT];
    OSSL_PARAM part = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy);

    memcpy(copy, public, sizeof copy);
    return copy[0] == POINT_CONVERSION_UNCOMPRESSED ? import(EVP_PKEY_PUBLIC_KEY, &part) : NULL;
}

static int dh(const uint8_t *private, const uint8_t *public, uint8_t *shared)
{
    EVP_PKEY *peer = import_public(public), *own = peer && !in_range(private) ? import_private(private) : NULL;
    EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new_from_pkey(NULL, own, PROPERTIES) : NULL;
    size_t size = SCALAR;
    int ret = -1;

    if (ctx && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, peer) > 0 &&
        EVP_PKEY_derive(ctx, shared, &size) > 0 && size == SCALAR)
        ret = 0;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    EVP_PKEY_free(peer);
    return ret;
}

static int hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good;

    pthread_once(&fetched, fetch);
    good = ctx && EVP_DigestInit_ex2(ctx, sha384, NULL);
    for (size_t i = 0; good && i < count; i++)
        good = EVP_DigestUpdate(ctx, parts[i].data, parts[i].size);
    good = good && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    return good ? 0 : -1;
}

static int hmac_of(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t whole[HASH])
{
    char name[] = "SHA2-384", properties[] = PROPERTIES;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_PROPERTIES, properties, 0), OSSL_PARAM_END};
    EVP_MAC_CTX *ctx;
    size_t size;
    int good;

    pthread_once(&fetched, fetch);
    ctx = EVP_MAC_CTX_new(hmac);
    good = ctx && EVP_MAC_init(ctx, key, key_size, params);
    for (size_t i = 0; good && i < count; i++)
        good = EVP_MAC_update(ctx, parts[i].data, parts[i].size);
    good = good && EVP_MAC_final(ctx, whole, &size, HASH) && size == HASH;
    EVP_MAC_CTX_free(ctx);
    return good ? 0 : -1;
}

/* The left half, as RFC 4868 truncates it. */
static int mac(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *out)
{
    uint8_t whole[HASH];
    int ret = hmac_of(key, key_size, parts, count, whole);

    if (!ret)
        memcpy(out, whole, MAC);
    OPENSSL_cleanse(whole, sizeof whole);
    return ret;
}

/* An EVP context that has the key's schedule; a packet gives it only the IV and the direction. */
static void *context_new(const uint8_t *key)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    pthread_once(&fetched, fetch);
    if (ctx && EVP_CipherInit_ex2(ctx, aes256gcm, key, NULL, 1, NULL))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static void context_free(void *context) /* which wipes the schedule */
{
    EVP_CIPHER_CTX_free(context);
}

/* Four bytes of zero and the counter, the highest byte first: AESGCM of the Noise specification, 12.4. */
static void iv_of(uint64_t counter, uint8_t iv[IV])
{
    memset(iv, 0, 4);
    for (int i = 0; i < 8; i++)
        iv[4 + i] = (uint8_t)(counter >> (56 - 8 * i));
}

static int run(EVP_CIPHER_CTX *ctx, int seals, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t iv[IV], none[16];
    int n;

    iv_of(counter, iv);
    return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, seals) &&
           (!additional.size || EVP_CipherUpdate(ctx, NULL, &n, additional.data, (int)additional.size)) &&
           (!size || EVP_CipherUpdate(ctx, data, &n, data, (int)size)) &&
           (seals || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, data + size)) &&
           EVP_CipherFinal_ex(ctx, none, &n) &&
           (!seals || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, data + size)) ? 0 : -1;
}

static int seal_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return run(context, 1, counter, additional, data, size);
}

static int open_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    int ret = run(context, 0, counter, additional, data, size);

    if (ret)
        OPENSSL_cleanse(data, size); /* EVP gives plaintext before it has seen the tag */
    return ret;
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

/* A key for each nonce, HMAC of it, and counter 0: random nonces of 12 bytes would come to an end. */
static EVP_CIPHER_CTX *cookie_context(const uint8_t *key, const uint8_t *nonce)
{
    uint8_t whole[HASH];
    EVP_CIPHER_CTX *ctx = hmac_of(key, COOKIE_KEY, &(struct wgpy_part){nonce, COOKIE_NONCE}, 1, whole) ? NULL : context_new(whole);

    OPENSSL_cleanse(whole, sizeof whole);
    return ctx;
}

static int cookie_seal(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    EVP_CIPHER_CTX *ctx = cookie_context(key, nonce);
    int ret = ctx ? seal_one(ctx, 0, additional, data, size) : -1;

    context_free(ctx);
    return ret;
}

static int cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    EVP_CIPHER_CTX *ctx = cookie_context(key, nonce);
    int ret = ctx ? open_one(ctx, 0, additional, data, size) : -1;

    context_free(ctx);
    return ret;
}

static int self_test(char *why, size_t size)
{
    const char *lacks;
    EVP_PKEY_CTX *ec = EVP_PKEY_CTX_new_from_name(NULL, "EC", PROPERTIES);

    pthread_once(&fetched, fetch);
    lacks = !ec ? "EC" : !sha384 ? "SHA2-384" : !hmac ? "HMAC" : !aes256gcm ? "AES-256-GCM" : NULL;
    EVP_PKEY_CTX_free(ec);
    if (lacks)
        snprintf(why, size, "OpenSSL has no %s with the properties '%s': see fips_module(7)", lacks, PROPERTIES);
    else if (!OSSL_PROVIDER_self_test(EVP_CIPHER_get0_provider(aes256gcm))) {
        lacks = "";
        snprintf(why, size, "the self-test of OpenSSL's provider failed");
    }
    return lacks ? -1 : 0;
}

#include "vectors.h"

static const struct wgpy_suite suite = {
    .abi = WGPY_SUITE_ABI,
    .table_size = sizeof(struct wgpy_suite),
    .name = "p384-aes256gcm-sha384",
    .noise = "Noise_IKpsk2_P384_AESGCM_SHA384",
    .identifier = "p384-aes256gcm-sha384 example 1",
    .entropy_size = SCALAR, .private_size = SCALAR, .public_size = POINT, .shared_size = SCALAR,
    .hash_size = HASH, .hash_block = 128, .key_size = KEY, .tag_size = TAG, .mac_size = MAC,
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
