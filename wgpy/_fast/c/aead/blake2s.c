/* Owns nothing: all state is on the stack, and wiped. */
#include "blake2s.h"

#include "core/wg.h"

enum { BLOCK = 64, ROUNDS = 10 };

static const uint32_t IV[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint8_t SIGMA[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static inline uint32_t right(uint32_t x, int n) { return x >> n | x << (32 - n); }

#define MIX(a, b, c, d, x, y) \
    do { \
        v[a] += v[b] + (x); v[d] = right(v[d] ^ v[a], 16); v[c] += v[d]; v[b] = right(v[b] ^ v[c], 12); \
        v[a] += v[b] + (y); v[d] = right(v[d] ^ v[a], 8); v[c] += v[d]; v[b] = right(v[b] ^ v[c], 7); \
    } while (0)

/* `ended`: bytes hashed up to the end of this block. */
static void compress(uint32_t h[8], const uint8_t block[BLOCK], uint64_t ended, bool last)
{
    uint32_t m[16], v[16];
    for (int i = 0; i < 16; i++)
        m[i] = get_le32(block + 4 * i);
    memcpy(v, h, 8 * sizeof *v);
    memcpy(v + 8, IV, sizeof IV);
    v[12] ^= (uint32_t)ended;
    v[13] ^= (uint32_t)(ended >> 32);
    v[14] ^= last ? UINT32_MAX : 0;
#pragma GCC unroll 10 /* so that the words' places are constants */
    for (int r = 0; r < ROUNDS; r++) {
        const uint8_t *s = SIGMA[r];
        MIX(0, 4, 8, 12, m[s[0]], m[s[1]]);
        MIX(1, 5, 9, 13, m[s[2]], m[s[3]]);
        MIX(2, 6, 10, 14, m[s[4]], m[s[5]]);
        MIX(3, 7, 11, 15, m[s[6]], m[s[7]]);
        MIX(0, 5, 10, 15, m[s[8]], m[s[9]]);
        MIX(1, 6, 11, 12, m[s[10]], m[s[11]]);
        MIX(2, 7, 8, 13, m[s[12]], m[s[13]]);
        MIX(3, 4, 9, 14, m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
    wipe(m, sizeof m);
    wipe(v, sizeof v);
}

static void start(uint32_t h[8], size_t out_len, size_t key_len)
{
    memcpy(h, IV, sizeof IV);
    h[0] ^= UINT32_C(0x01010000) ^ (uint32_t)key_len << 8 ^ (uint32_t)out_len;
}

static void absorb_key(uint32_t h[8], const uint8_t *key, size_t key_len, bool last)
{
    uint8_t block[BLOCK] = {0};
    memcpy(block, key, key_len);
    compress(h, block, BLOCK, last);
    wipe(block, sizeof block);
}

/* `ended`: bytes hashed before. */
static void finish(uint32_t h[8], uint64_t ended, const uint8_t *in, size_t len)
{
    uint8_t block[BLOCK] = {0};
    for (; len > BLOCK; in += BLOCK, len -= BLOCK)
        compress(h, in, ended += BLOCK, false);
    if (len)
        memcpy(block, in, len);
    compress(h, block, ended + len, true);
    wipe(block, sizeof block);
}

static void give(const uint32_t h[8], uint8_t *out, size_t out_len)
{
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(h[i / 4] >> 8 * (i % 4));
}

void blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const uint8_t *in, size_t len)
{
    uint32_t h[8];
    start(h, out_len, key_len);
    if (key_len)
        absorb_key(h, key, key_len, !len);
    if (len || !key_len)
        finish(h, key_len ? BLOCK : 0, in, len);
    give(h, out, out_len);
    wipe(h, sizeof h);
}

void blake2s_key(uint32_t h[8], size_t out_len, const uint8_t *key, size_t key_len)
{
    start(h, out_len, key_len);
    absorb_key(h, key, key_len, false);
}

void blake2s_keyed(uint8_t *out, size_t out_len, const uint32_t key[8], const uint8_t *in, size_t len)
{
    uint32_t h[8];
    memcpy(h, key, sizeof h);
    finish(h, BLOCK, in, len);
    give(h, out, out_len);
    wipe(h, sizeof h);
}
