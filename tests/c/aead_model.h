/* ChaCha20-Poly1305 as RFC 8439 writes it, one byte at a time: slow, plainly right, and
 * there where no OpenSSL is. */
#ifndef AEAD_MODEL_H
#define AEAD_MODEL_H

#include "aead/aead.h"

#include <stdlib.h>

static uint32_t model_rotate(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void model_quarter(uint32_t x[16], int a, int b, int c, int d)
{
    x[a] += x[b], x[d] = model_rotate(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = model_rotate(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = model_rotate(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = model_rotate(x[b] ^ x[c], 7);
}

/* Section 2.3. */
static void model_block(const uint8_t key[32], uint32_t block, const uint8_t nonce[12], uint8_t out[64])
{
    uint32_t start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];

    for (int i = 0; i < 8; i++)
        start[4 + i] = get_le32(key + 4 * i);
    start[12] = block;
    for (int i = 0; i < 3; i++)
        start[13 + i] = get_le32(nonce + 4 * i);
    memcpy(x, start, sizeof x);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++)
            model_quarter(x, i, 4 + i, 8 + i, 12 + i);
        for (int i = 0; i < 4; i++)
            model_quarter(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
    }
    for (int i = 0; i < 16; i++)
        put_le32(out + 4 * i, x[i] + start[i]);
}

/* Digits of base 256; what reaches 2^136 = 64 * 2^130 comes back times 64 * 5. */
static void model_times(uint32_t h[17], const uint32_t r[17])
{
    uint32_t product[34] = {0};

    for (int i = 0; i < 17; i++)
        for (int j = 0; j < 17; j++)
            product[i + j] += h[i] * r[j];
    for (int i = 0; i < 17; i++)
        h[i] = product[i] + 320 * product[i + 17];
    for (int pass = 0; pass < 3; pass++) {
        uint32_t carry = 0;

        for (int i = 0; i < 17; i++) {
            carry += h[i];
            h[i] = carry & 255;
            carry >>= 8;
        }
        carry = carry * 320 + (h[16] >> 2) * 5;
        h[16] &= 3;
        h[0] += carry;
    }
}

/* Section 2.5, with a last block of any length. */
static void model_poly(const uint8_t key[32], const uint8_t *m, size_t len, uint8_t tag[16])
{
    uint32_t h[17] = {0}, r[17] = {0}, g[17], carry;

    for (int i = 0; i < 16; i++)
        r[i] = key[i] & (i % 4 == 3 ? 15u : i && i % 4 == 0 ? 252u : 255u);
    while (len) {
        size_t n = len < 16 ? len : 16;

        for (size_t i = 0; i < n; i++)
            h[i] += m[i];
        h[n] += 1;
        model_times(h, r);
        m += n;
        len -= n;
    }
    carry = 0;
    for (int i = 0; i < 17; i++) { /* model_times leaves h[0] up to 255 + a little */
        carry += h[i];
        h[i] = carry & 255;
        carry >>= 8;
    }
    carry = 5;
    for (int i = 0; i < 17; i++) {
        carry += h[i];
        g[i] = carry & 255;
        carry >>= 8;
    }
    memcpy(h, g[16] >= 4 ? g : h, sizeof h);
    carry = 0;
    for (int i = 0; i < 16; i++) {
        carry += h[i] + key[16 + i];
        tag[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

/* Section 2.8 with an empty AAD: the tag of `n` bytes of ciphertext. */
static void model_tag(const uint8_t key[32], const uint8_t nonce[12], const uint8_t *sealed, uint32_t n,
                      uint8_t tag[16])
{
    uint8_t one_time[64], *padded = calloc(1, round16(n) + 16);

    if (!padded)
        abort();
    if (n)
        memcpy(padded, sealed, n);
    put_le64(padded + round16(n) + 8, n);
    model_block(key, 0, nonce, one_time);
    model_poly(one_time, padded, round16(n) + 16, tag);
    free(padded);
}

static void model_run(struct wgpy_packet *job, size_t n, bool sealing)
{
    for (; n; job++, n--) {
        uint8_t nonce[12] = {0}, stream[64] = {0}, tag[16];

        put_le64(nonce + 4, job->counter);
        if (!sealing)
            model_tag(job->context, nonce, job->data, job->size, tag);
        job->ok = sealing || !memcmp(tag, job->data + job->size, 16);
        for (uint32_t i = 0; job->ok && i < job->size; i++) {
            if (i % 64 == 0)
                model_block(job->context, 1 + i / 64, nonce, stream);
            job->data[i] ^= stream[i % 64];
        }
        if (sealing)
            model_tag(job->context, nonce, job->data, job->size, job->data + job->size);
    }
}

static bool model_supported(void) { return true; }
static void model_seal(struct wgpy_packet *job, size_t n) { model_run(job, n, true); }
static void model_open(struct wgpy_packet *job, size_t n) { model_run(job, n, false); }
static void model_key_free(void *ctx) { free(ctx); }
static void *model_key_new(const uint8_t key[WG_KEY])
{
    uint8_t *copy = malloc(WG_KEY);

    if (copy)
        memcpy(copy, key, WG_KEY);
    return copy;
}

#define AEAD_MODEL(text) \
    { .name = text, .key_size = WG_KEY, .tag_size = WG_TAG, .supported = model_supported, .key_new = model_key_new, \
      .key_free = model_key_free, .seal = model_seal, .open = model_open }

#endif
