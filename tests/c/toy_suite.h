/* A whole suite of no worth, to try what wgpy does with suites: it keeps nobody out. Its sizes have
 * nothing in common with WireGuard's. Its known answers are made by itself. */
#ifndef TOY_SUITE_H
#define TOY_SUITE_H

#include <stdlib.h>
#include <string.h>

#include <wgpy_suite.h>

enum { TOY_ENTROPY = 30, TOY_PRIVATE = 24, TOY_PUBLIC = 40, TOY_SHARED = 28, TOY_HASH = 64, TOY_BLOCK = 96, TOY_KEY = 20,
       TOY_TAG = 12, TOY_MAC = 32, TOY_COOKIE_KEY = 33, TOY_NONCE = 15, TOY_COOKIE_TAG = 13 };
#define TOY_PRIME UINT64_C(0x7fffffff) /* 2^31 - 1 */

/* --- a sum in eight words --- */

struct toy_sum {
    uint64_t word[8];
    unsigned at;
};

static void toy_stir(struct toy_sum *s, uint8_t byte)
{
    uint64_t *w = &s->word[s->at % 8], *next = &s->word[(s->at + 1) % 8];
    *w = (*w ^ byte) * UINT64_C(0x100000001b3) + s->at;
    *next ^= *w >> 29 | *w << 35;
    s->at++;
}

static void toy_add(struct toy_sum *s, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        toy_stir(s, data[i]);
}

static void toy_end(struct toy_sum *s, uint8_t *out, size_t size)
{
    for (int i = 0; i < 64; i++)
        toy_stir(s, 0x80);
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(s->word[i % 8] >> (i / 8 * 8));
}

static int toy_hash(const struct wgpy_part *parts, size_t count, uint8_t *digest)
{
    struct toy_sum s = {{1, 2, 3, 4, 5, 6, 7, 8}, 0};
    for (; count; parts++, count--)
        toy_add(&s, parts->data, parts->size);
    toy_end(&s, digest, TOY_HASH);
    return 0;
}

static int toy_mac(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *mac)
{
    struct toy_sum s = {{key_size, 9}, 0};
    toy_add(&s, key, key_size);
    for (; count; parts++, count--)
        toy_add(&s, parts->data, parts->size);
    toy_end(&s, mac, TOY_MAC);
    return 0;
}

/* --- powers of 3 --- */

static uint64_t toy_power(uint64_t base, uint64_t exponent)
{
    uint64_t out = 1;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1)
            out = out * base % TOY_PRIME;
        base = base * base % TOY_PRIME;
    }
    return out;
}

static uint64_t toy_number(const uint8_t *bytes)
{
    uint64_t out = 0;
    for (int i = 7; i >= 0; i--)
        out = out << 8 | bytes[i];
    return out;
}

static void toy_bytes(uint8_t *out, size_t size, uint64_t number)
{
    memset(out, 0, size);
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> 8 * i);
}

/* An even first byte makes a key; the others are drawn again. */
static int toy_private(const uint8_t *entropy, uint8_t *private_key)
{
    memcpy(private_key, entropy, TOY_PRIVATE);
    private_key[1] |= 1;
    return entropy[0] % 2 ? -1 : 0;
}

static int toy_public(const uint8_t *private_key, uint8_t *public_key)
{
    toy_bytes(public_key, TOY_PUBLIC, toy_power(3, toy_number(private_key)));
    return private_key[0] % 2 ? -1 : 0;
}

static int toy_dh(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
{
    uint64_t other = toy_number(public_key);
    uint8_t rest = 0;
    for (int i = 8; i < TOY_PUBLIC; i++)
        rest |= public_key[i];
    if (rest || other < 2 || other > TOY_PRIME - 2)
        return -1;
    toy_bytes(shared, TOY_SHARED, toy_power(other, toy_number(private_key)));
    return 0;
}

/* --- a stream of sums --- */

struct toy_cipher {
    const uint8_t *key, *nonce;
    size_t key_size, nonce_size, tag_size;
};

static void toy_turn(const struct toy_cipher *c, uint8_t *data, size_t size)
{
    uint8_t stream[64];
    for (size_t i = 0; i < size; i++) {
        if (i % 64 == 0) {
            struct toy_sum s = {{i, 11}, 0};
            toy_add(&s, c->key, c->key_size);
            toy_add(&s, c->nonce, c->nonce_size);
            toy_end(&s, stream, sizeof stream);
        }
        data[i] ^= stream[i % 64];
    }
}

static void toy_tag(const struct toy_cipher *c, struct wgpy_part additional, const uint8_t *data, size_t size, uint8_t *tag)
{
    struct toy_sum s = {{additional.size, size, 12}, 0};
    toy_add(&s, c->key, c->key_size);
    toy_add(&s, c->nonce, c->nonce_size);
    toy_add(&s, additional.data, additional.size);
    toy_add(&s, data, size);
    toy_end(&s, tag, c->tag_size);
}

static int toy_seal_with(const struct toy_cipher *c, struct wgpy_part additional, uint8_t *data, size_t size)
{
    toy_turn(c, data, size);
    toy_tag(c, additional, data, size, data + size);
    return 0;
}

static int toy_open_with(const struct toy_cipher *c, struct wgpy_part additional, uint8_t *data, size_t size)
{
    uint8_t tag[WGPY_TAG_MAX], differs = 0;
    toy_tag(c, additional, data, size, tag);
    for (size_t i = 0; i < c->tag_size; i++)
        differs |= tag[i] ^ data[size + i];
    if (differs)
        return -1;
    toy_turn(c, data, size);
    return 0;
}

static void *toy_context_new(const uint8_t *key)
{
    uint8_t *made = malloc(TOY_KEY);
    return made ? memcpy(made, key, TOY_KEY) : NULL;
}

static void toy_context_free(void *context)
{
    memset(context, 0, TOY_KEY);
    __asm__ volatile("" : : "r"(context) : "memory");
    free(context);
}

static int toy_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size,
                   int (*way)(const struct toy_cipher *, struct wgpy_part, uint8_t *, size_t))
{
    const struct toy_cipher c = {context, (const uint8_t *)&counter, TOY_KEY, sizeof counter, TOY_TAG};
    return way(&c, additional, data, size);
}
static int toy_seal_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return toy_one(context, counter, additional, data, size, toy_seal_with);
}
static int toy_open_one(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return toy_one(context, counter, additional, data, size, toy_open_with);
}

static const struct wgpy_part toy_nothing = {NULL, 0};

static void toy_seal(struct wgpy_packet *p, size_t count)
{
    for (; count; p++, count--)
        p->ok = !toy_seal_one(p->context, p->counter, toy_nothing, p->data, p->size);
}
static void toy_open(struct wgpy_packet *p, size_t count)
{
    for (; count; p++, count--)
        p->ok = !toy_open_one(p->context, p->counter, toy_nothing, p->data, p->size);
}

static int toy_cookie_seal(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return toy_seal_with(&(struct toy_cipher){key, nonce, TOY_COOKIE_KEY, TOY_NONCE, TOY_COOKIE_TAG}, additional, data, size);
}
static int toy_cookie_open(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size)
{
    return toy_open_with(&(struct toy_cipher){key, nonce, TOY_COOKIE_KEY, TOY_NONCE, TOY_COOKIE_TAG}, additional, data, size);
}

/* --- its own answers --- */

enum { TOY_VECTORS = 12 };
static uint8_t toy_in[4][200], toy_out[TOY_VECTORS][TOY_HASH + 100];
static struct wgpy_vector toy_vectors[TOY_VECTORS];
static unsigned toy_made;

static void toy_vector(uint32_t function, uint32_t out, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    toy_vectors[toy_made] = (struct wgpy_vector){
        .function = function, .counter = 77, .out = {toy_out[toy_made], out}, .source = "itself",
        .in = {{toy_in[0], a}, {toy_in[1], b}, {toy_in[2], c}, {toy_in[3], d}}};
    toy_made++;
}

/* The inner sum of HMAC, then the outer. */
static void toy_hmac(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size, uint8_t *out)
{
    uint8_t pad[2][TOY_BLOCK], inner[TOY_HASH];
    for (size_t i = 0; i < TOY_BLOCK; i++) {
        pad[0][i] = (uint8_t)((i < key_size ? key[i] : 0) ^ 0x36);
        pad[1][i] = (uint8_t)((i < key_size ? key[i] : 0) ^ 0x5c);
    }
    toy_hash((const struct wgpy_part[]){{pad[0], TOY_BLOCK}, {data, size}}, 2, inner);
    toy_hash((const struct wgpy_part[]){{pad[1], TOY_BLOCK}, {inner, TOY_HASH}}, 2, out);
}

static void toy_answer(void)
{
    void *context = toy_context_new(toy_in[0]);
    toy_made = 0;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 200; j++)
            toy_in[i][j] = (uint8_t)(2 * (i * 31 + j * 3 + 1));
    toy_vector(WGPY_PRIVATE_OF, TOY_PRIVATE, TOY_ENTROPY, 0, 0, 0);
    toy_private(toy_in[0], toy_out[0]);
    toy_vector(WGPY_PUBLIC_OF, TOY_PUBLIC, TOY_PRIVATE, 0, 0, 0);
    toy_public(toy_in[0], toy_out[1]);
    toy_vector(WGPY_DH, TOY_SHARED, TOY_PRIVATE, TOY_PUBLIC, 0, 0);
    toy_vectors[2].in[1].data = toy_out[1];
    toy_dh(toy_in[0], toy_out[1], toy_out[2]);
    toy_vector(WGPY_DH, 0, TOY_PRIVATE, TOY_PUBLIC, 0, 0); /* no number below the prime */
    toy_vector(WGPY_HASH, TOY_HASH, 99, 0, 0, 0);
    toy_hash(&(const struct wgpy_part){toy_in[0], 99}, 1, toy_out[4]);
    toy_vector(WGPY_HMAC, TOY_HASH, 70, 20, 0, 0);
    toy_hmac(toy_in[0], 70, toy_in[1], 20, toy_out[5]);
    toy_vector(WGPY_MAC, TOY_MAC, TOY_HASH, 50, 0, 0);
    toy_mac(toy_in[0], TOY_HASH, &(const struct wgpy_part){toy_in[1], 50}, 1, toy_out[6]);
    toy_vector(WGPY_SEAL, 90 + TOY_TAG, TOY_KEY, 30, 90, 0);
    memcpy(toy_out[7], toy_in[2], 90);
    memcpy(context, toy_in[0], TOY_KEY);
    toy_seal_one(context, 77, (struct wgpy_part){toy_in[1], 30}, toy_out[7], 90);
    toy_vector(WGPY_SEAL, TOY_TAG, TOY_KEY, 0, 0, 0);
    toy_seal_one(context, 77, toy_nothing, toy_out[8], 0);
    toy_vector(WGPY_COOKIE_SEAL, TOY_MAC + TOY_COOKIE_TAG, TOY_COOKIE_KEY, TOY_NONCE, TOY_MAC, TOY_MAC);
    memcpy(toy_out[9], toy_in[3], TOY_MAC);
    toy_cookie_seal(toy_in[0], toy_in[1], (struct wgpy_part){toy_in[2], TOY_MAC}, toy_out[9], TOY_MAC);
    toy_context_free(context);
}

static struct wgpy_suite toy_suite(void)
{
    toy_answer();
    return (struct wgpy_suite){
        .abi = WGPY_SUITE_ABI, .table_size = sizeof(struct wgpy_suite), .name = "toy", .noise = "Noise_IKpsk2_Toy_Toy_Toy",
        .identifier = "a suite for tests, of no worth", .entropy_size = TOY_ENTROPY, .private_size = TOY_PRIVATE,
        .public_size = TOY_PUBLIC, .shared_size = TOY_SHARED, .hash_size = TOY_HASH, .hash_block = TOY_BLOCK,
        .key_size = TOY_KEY, .tag_size = TOY_TAG, .mac_size = TOY_MAC, .cookie_key_size = TOY_COOKIE_KEY,
        .cookie_nonce_size = TOY_NONCE, .cookie_tag_size = TOY_COOKIE_TAG, .private_key = toy_private, .public_key = toy_public,
        .dh = toy_dh, .hash = toy_hash, .mac = toy_mac, .context_new = toy_context_new, .context_free = toy_context_free,
        .seal = toy_seal, .open = toy_open, .seal_one = toy_seal_one, .open_one = toy_open_one,
        .cookie_seal = toy_cookie_seal, .cookie_open = toy_cookie_open, .vectors = toy_vectors, .vector_count = toy_made,
    };
}

#endif
