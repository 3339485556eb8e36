/* SipHash-1-3 (Aumasson, Bernstein 2012) of one word and a byte: where a source has its
 * place in a table, unpredictable to whoever chooses sources. */
#ifndef WG_SIPHASH_H
#define WG_SIPHASH_H

#include <stdint.h>

static inline uint64_t sip_rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = sip_rotate(v[1], 13) ^ v[0]; v[0] = sip_rotate(v[0], 32);
    v[2] += v[3]; v[3] = sip_rotate(v[3], 16) ^ v[2];
    v[0] += v[3]; v[3] = sip_rotate(v[3], 21) ^ v[0];
    v[2] += v[1]; v[1] = sip_rotate(v[1], 17) ^ v[2]; v[2] = sip_rotate(v[2], 32);
}

static inline uint64_t siphash(const uint64_t seed[2], uint64_t word, uint8_t byte)
{
    uint64_t tail = (uint64_t)9 << 56 | byte; /* 9 bytes in all */
    uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                     seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
