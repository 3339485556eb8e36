/* A key, what of it is looked for, and the search: any 8 bytes in a row, at any offset. */
#ifndef BURN_PIECES_H
#define BURN_PIECES_H

#include <openssl/evp.h>

#include "check.h"
#include "core/wg.h"

static uint8_t secret_key[WG_KEY];
static uint64_t watched[256];
static uint32_t watched_count;
static uint8_t maybe[1 << 16]; /* by the first two bytes */

static inline void make_key(void)
{
    for (int i = 0; i < WG_KEY; i++)
        secret_key[i] = (uint8_t)(rnd(255) + 1);
}

static inline void watch_nothing(void)
{
    watched_count = 0;
    memset(maybe, 0, sizeof maybe);
}

static inline void watch(const uint8_t *secret, size_t len)
{
    for (size_t at = 0; at + 8 <= len; at++) {
        CHECK(watched_count < sizeof watched / sizeof *watched);
        uint64_t piece = watched[watched_count++] = get_le64(secret + at);
        maybe[piece & 0xffff] = 1;
    }
}

static inline void watch_key(void)
{
    watch_nothing();
    watch(secret_key, WG_KEY);
}

/* r, s and the last state of the packet with this counter and tag: what tag = h + s gives. */
static inline void watch_poly(uint64_t counter, const uint8_t tag[WG_TAG])
{
    uint8_t iv[16] = {0}, zero[32] = {0}, poly[32], h[16];
    int n;
    put_le64(iv + 8, counter);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CHECK(c && EVP_EncryptInit_ex(c, EVP_chacha20(), NULL, secret_key, iv) && EVP_EncryptUpdate(c, poly, &n, zero, 32));
    EVP_CIPHER_CTX_free(c);
    for (int i = 0, borrow = 0; i < 16; i++) {
        int d = tag[i] - poly[16 + i] - borrow;
        h[i] = (uint8_t)d;
        borrow = d < 0;
    }
    watch(poly, 32); /* as the cipher gives it */
    for (int i = 0; i < 16; i++)
        poly[i] &= i % 4 == 3 ? 15 : i && i % 4 == 0 ? 252 : 255;
    watch(poly, 16);
    watch(h, 16);
}

static inline uint32_t pieces(const void *memory, size_t len)
{
    const uint8_t *at = memory;
    uint32_t found = 0;
    for (size_t i = 0; i + 8 <= len; i++) {
        if (!maybe[at[i] | at[i + 1] << 8])
            continue;
        for (uint32_t w = 0; w < watched_count; w++)
            found += get_le64(at + i) == watched[w];
    }
    return found;
}

#endif
