/* LANES blocks of ChaCha20 with Poly1305 woven into the rounds; part of the template of
 * lanes.inc.h. The including file defines LANES, vec (LANES words), PLACES (0, 1, 2...)
 * and
 *   ROT16 ROT12 ROT8 ROT7 (v)       rotate each 32-bit lane left
 *   LO32 HI32 LO64 HI64 (a, b)      interleave within each 128 bits
 *   STORE_BLOCKS (p, a, b)          for each 128-bit part q: a's and b's to p + 256 q, aligned
 *   SPILL (x)                       keep x in memory now, where registers are few */
#ifndef WG_AEAD_GROUP_H
#define WG_AEAD_GROUP_H

#include "aead.h"
#include "poly.h"

/* Poly1305 blocks a double round: enough to keep pace, few enough to hide. A block of
 * ChaCha20 makes four of Poly1305; two chains hide each other's latency. */
enum {
    PAIR = LANES / 4,            /* of each chain, when two run */
    ALONE = (3 * LANES + 7) / 8, /* of one */
};

/* Two quarter rounds side by side: one alone is a chain of dependent instructions, and
 * compilers keep the order they are given. Where 16 registers must do, SPILL sends the
 * two words c that rest to memory: the others are all needed soon, and a trip through
 * memory would lengthen the chain. */
#define TWICE(a, b, c, d, e, f, g, h) \
    (a += b, e += f, d ^= a, h ^= e, d = ROT16(d), h = ROT16(h), \
     c += d, g += h, b ^= c, f ^= g, b = ROT12(b), f = ROT12(f), \
     a += b, e += f, d ^= a, h ^= e, d = ROT8(d), h = ROT8(h), \
     c += d, g += h, b ^= c, f ^= g, b = ROT7(b), f = ROT7(f))
#define STEP0 SPILL(xa); SPILL(xb); TWICE(x0, x4, x8, xc, x1, x5, x9, xd)
#define STEP1 SPILL(x8); SPILL(x9); TWICE(x2, x6, xa, xe, x3, x7, xb, xf)
#define STEP2 TWICE(x0, x5, xa, xf, x1, x6, xb, xc)
#define STEP3 SPILL(xa); SPILL(xb); TWICE(x2, x7, x8, xd, x3, x4, x9, xe)

/* Words 4k to 4k+7 of all blocks: two 4 x 4 transpositions in each 128 bits, which are
 * half a block each then. */
#define TRANSPOSE(u, a, b, c, d) do { \
        vec t0 = LO32(a, b), t1 = HI32(a, b), t2 = LO32(c, d), t3 = HI32(c, d); \
        u[0] = LO64(t0, t2), u[1] = HI64(t0, t2), u[2] = LO64(t1, t3), u[3] = HI64(t1, t3); \
    } while (0)
#define STORE_HALF(p, a, b, c, d, e, f, g, h) do { \
        vec u[4], v[4]; \
        TRANSPOSE(u, a, b, c, d); \
        TRANSPOSE(v, e, f, g, h); \
        for (int k = 0; k < 4; k++) \
            STORE_BLOCKS((p) + 64 * k, u[k], v[k]); \
    } while (0)

/* The blocks due at quarter `step` of a double round. */
#define ABSORB(step) do { \
        const int blocks = chains == 2 ? PAIR : ALONE; \
        for (int j = (blocks * step) / 4; j < (blocks * (step + 1)) / 4; j++, a.at += 16) { \
            poly_block(&a, a.at); \
            if (chains == 2) { \
                poly_block(&b, b.at); \
                b.at += 16; \
            } \
        } \
    } while (0)

/* One group of blocks into `ks`; meanwhile the first `woven` double rounds absorb PAIR
 * blocks of each chain (chains = 2) or ALONE blocks of a. */
POLY_INLINE void make_group(const uint32_t (*row)[LANES], uint8_t *ks, int woven, int chains,
                            struct poly *pa, struct poly *pb)
{
    const vec *in = (const vec *)row;
    vec x0 = in[0], x1 = in[1], x2 = in[2], x3 = in[3], x4 = in[4], x5 = in[5], x6 = in[6], x7 = in[7];
    vec x8 = in[8], x9 = in[9], xa = in[10], xb = in[11], xc = in[12], xd = in[13], xe = in[14], xf = in[15];
    struct poly a = *pa, b = *pb;
    int i = 0;

    for (; chains && i < woven; i++) {
        STEP0;
        ABSORB(0);
        STEP1;
        ABSORB(1);
        STEP2;
        ABSORB(2);
        STEP3;
        ABSORB(3);
    }
    for (; i < 10; i++) {
        STEP0;
        STEP1;
        STEP2;
        STEP3;
    }
    if (chains)
        *pa = a;
    if (chains == 2)
        *pb = b;
    x0 += in[0], x1 += in[1], x2 += in[2], x3 += in[3];
    x4 += in[4], x5 += in[5], x6 += in[6], x7 += in[7];
    STORE_HALF(ks, x0, x1, x2, x3, x4, x5, x6, x7);
    x8 += in[8], x9 += in[9], xa += in[10], xb += in[11];
    xc += in[12], xd += in[13], xe += in[14], xf += in[15];
    STORE_HALF(ks + 32, x8, x9, xa, xb, xc, xd, xe, xf);
}

/* Apart, because each needs all registers. */
static __attribute__((noinline)) void group(const uint32_t (*row)[LANES], uint8_t *ks, struct poly *a)
{
    make_group(row, ks, 0, 0, a, a);
}
static __attribute__((noinline)) void group_one(const uint32_t (*row)[LANES], uint8_t *ks, int woven,
                                                struct poly *a)
{
    make_group(row, ks, woven, 1, a, a);
}
static __attribute__((noinline)) void group_two(const uint32_t (*row)[LANES], uint8_t *ks, int woven,
                                                struct poly *a, struct poly *b)
{
    make_group(row, ks, woven, 2, a, b);
}

#endif
