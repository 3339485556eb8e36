/* Poly1305 (RFC 8439 section 2.5) on integer registers, so that it can run in the
 * shadow of ChaCha20, which keeps the vector units busy.
 *
 * 64-bit: h = h0 + 2^64 h1 + 2^128 h2 with h2 small; r = r0 + 2^64 r1, clamped. One
 * block is h = (h + m + 2^128) r mod 2^130 - 5. Clamping makes r1 a multiple of 4, so
 *     2^128 r1 = 2^130 (r1 / 4) = 5 (r1 / 4) = r1 + r1 / 4 =: s1   (mod 2^130 - 5)
 * and the product folds without a division:
 *     limb 0: h0 r0 + h1 s1
 *     limb 1: h0 r1 + h1 r0 + h2 s1
 *     limb 2: h2 r0
 * r0, r1 < 2^60, s1 < 2^60.4 and h2 < 8 keep each sum below 2^126 and limb 2 below
 * 2^64. What is above 2^130 comes back times 5, which leaves h2 <= 4.
 *
 * 32-bit: five limbs of 26 bits, s_i = 5 r_i; products of a limb below 2^27 and one
 * below 2^28.4, five of them, stay below 2^58. */
#ifndef WG_AEAD_POLY_H
#define WG_AEAD_POLY_H

#include "core/wg.h"

struct poly {
    const uint8_t *at;  /* next block */
    uint32_t ready;     /* whole blocks at `at` that may be absorbed now */
    uint32_t job;
#ifdef __SIZEOF_INT128__
    uint64_t h0, h1, h2, r0, r1, s1;
#else
    uint32_t h[5], r[5], s[5];
#endif
};

#define POLY_INLINE static inline __attribute__((always_inline))

#ifdef __SIZEOF_INT128__

__extension__ typedef unsigned __int128 poly_wide;

static inline uint64_t poly_load(const uint8_t *p) /* one instruction where it can be */
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
#else
    return get_le64(p);
#endif
}

static inline void poly_start(struct poly *p, const uint8_t key[32])
{
    p->h0 = p->h1 = p->h2 = 0;
    p->r0 = poly_load(key) & UINT64_C(0x0ffffffc0fffffff);
    p->r1 = poly_load(key + 8) & UINT64_C(0x0ffffffc0ffffffc);
    p->s1 = p->r1 + (p->r1 >> 2);
}

#ifdef __x86_64__
/* As below; written out because compilers lose the carry flag between the limbs. With
 * BMI2, POLY_MULX: products go to any two registers and need no moves. */
POLY_INLINE void poly_block(struct poly *p, const uint8_t *m)
{
    uint64_t h0 = p->h0, h1 = p->h1, h2 = p->h2, d0, d1, c0, c1;

#ifdef POLY_MULX
    uint64_t t0, t1;

    __asm__("addq 0(%[m]), %[h0]\n\t"
            "adcq 8(%[m]), %[h1]\n\t"
            "adcq $1, %[h2]\n\t"
            "mulxq %[r0], %[d0], %[c0]\n\t"   /* d = h0 r0 */
            "mulxq %[r1], %[d1], %[c1]\n\t"   /* d1 = h0 r1 */
            "movq %[h1], %%rdx\n\t"
            "mulxq %[s1], %[t0], %[t1]\n\t"   /* d0 += h1 s1 */
            "addq %[t0], %[d0]\n\t"
            "adcq %[t1], %[c0]\n\t"
            "mulxq %[r0], %[t0], %[t1]\n\t"   /* d1 += h1 r0 */
            "movq %[s1], %[h1]\n\t"           /* c0 += h2 s1, below 2^64 */
            "imulq %[h2], %[h1]\n\t"
            "imulq %[r0], %[h2]\n\t"
            "addq %[h1], %[c0]\n\t"
            "addq %[t0], %[d1]\n\t"
            "adcq %[t1], %[c1]\n\t"
            "addq %[c0], %[d1]\n\t"
            "adcq %[c1], %[h2]\n\t"           /* limb 2, below 2^64 */
            "movq %[h2], %[t0]\n\t"
            "movq %[h2], %%rdx\n\t"
            "andl $3, %k[h2]\n\t"
            "shrq $2, %[t0]\n\t"
            "andq $-4, %%rdx\n\t"
            "addq %[t0], %%rdx\n\t"
            "addq %[d0], %%rdx\n\t"
            "adcq $0, %[d1]\n\t"
            "adcq $0, %[h2]\n\t"
            : [h0] "+&d"(h0), [h1] "+&r"(h1), [h2] "+&r"(h2), [d0] "=&r"(d0), [d1] "=&r"(d1),
              [c0] "=&r"(c0), [c1] "=&r"(c1), [t0] "=&r"(t0), [t1] "=&r"(t1)
            : [r0] "rm"(p->r0), [r1] "rm"(p->r1), [s1] "rm"(p->s1), [m] "r"(m),
              "m"(*(const uint8_t (*)[16])m)
            : "cc");
    p->h0 = h0;
    p->h1 = d1;
    p->h2 = h2;
#else
    __asm__("addq 0(%[m]), %[h0]\n\t"
            "adcq 8(%[m]), %[h1]\n\t"
            "adcq $1, %[h2]\n\t"
            "movq %[r0], %%rax\n\t"           /* d = h0 r0 */
            "mulq %[h0]\n\t"
            "movq %%rax, %[d0]\n\t"
            "movq %%rdx, %[c0]\n\t"
            "movq %[r1], %%rax\n\t"           /* d1 = h0 r1 */
            "mulq %[h0]\n\t"
            "movq %%rax, %[d1]\n\t"
            "movq %%rdx, %[c1]\n\t"
            "movq %[s1], %%rax\n\t"           /* d0 += h1 s1 */
            "mulq %[h1]\n\t"
            "addq %%rax, %[d0]\n\t"
            "adcq %%rdx, %[c0]\n\t"
            "movq %[r0], %%rax\n\t"           /* d1 += h1 r0 */
            "mulq %[h1]\n\t"
            "movq %[s1], %[h1]\n\t"           /* c0 += h2 s1, below 2^64 */
            "imulq %[h2], %[h1]\n\t"
            "imulq %[r0], %[h2]\n\t"
            "addq %[h1], %[c0]\n\t"
            "addq %%rax, %[d1]\n\t"
            "adcq %%rdx, %[c1]\n\t"
            "addq %[c0], %[d1]\n\t"
            "adcq %[c1], %[h2]\n\t"           /* limb 2, below 2^64 */
            "movq %[h2], %%rax\n\t"
            "movq %[h2], %%rdx\n\t"
            "andl $3, %k[h2]\n\t"
            "shrq $2, %%rax\n\t"
            "andq $-4, %%rdx\n\t"
            "addq %%rdx, %%rax\n\t"
            "addq %%rax, %[d0]\n\t"
            "adcq $0, %[d1]\n\t"
            "adcq $0, %[h2]\n\t"
            : [h0] "+&r"(h0), [h1] "+&r"(h1), [h2] "+&r"(h2), [d0] "=&r"(d0), [d1] "=&r"(d1),
              [c0] "=&r"(c0), [c1] "=&r"(c1)
            : [r0] "rm"(p->r0), [r1] "rm"(p->r1), [s1] "rm"(p->s1), [m] "r"(m),
              "m"(*(const uint8_t (*)[16])m)
            : "rax", "rdx", "cc");
    p->h0 = d0;
    p->h1 = d1;
    p->h2 = h2;
#endif
}
#else
POLY_INLINE void poly_block(struct poly *p, const uint8_t *m)
{
    poly_wide t = (poly_wide)p->h0 + poly_load(m);
    uint64_t h0 = (uint64_t)t;
    t = (poly_wide)p->h1 + poly_load(m + 8) + (uint64_t)(t >> 64);
    uint64_t h1 = (uint64_t)t, h2 = p->h2 + (uint64_t)(t >> 64) + 1;

    poly_wide d0 = (poly_wide)h0 * p->r0 + (poly_wide)h1 * p->s1;
    poly_wide d1 = (poly_wide)h0 * p->r1 + (poly_wide)h1 * p->r0 + h2 * p->s1;
    d1 += (uint64_t)(d0 >> 64);
    h2 = h2 * p->r0 + (uint64_t)(d1 >> 64);

    uint64_t fives = (h2 & ~UINT64_C(3)) + (h2 >> 2);
    t = (poly_wide)(uint64_t)d0 + fives;
    p->h0 = (uint64_t)t;
    t = (poly_wide)(uint64_t)d1 + (uint64_t)(t >> 64);
    p->h1 = (uint64_t)t;
    p->h2 = (h2 & 3) + (uint64_t)(t >> 64);
}
#endif

/* h mod 2^130 - 5 is h or h - p, told by whether h + 5 reaches 2^130; plus s. */
static inline void poly_finish(const struct poly *p, const uint8_t key[32], uint8_t tag[WG_TAG])
{
    poly_wide t = (poly_wide)p->h0 + 5;
    uint64_t g0 = (uint64_t)t;
    t = (poly_wide)p->h1 + (uint64_t)(t >> 64);
    uint64_t g1 = (uint64_t)t, g2 = p->h2 + (uint64_t)(t >> 64);
    uint64_t over = 0 - ((g2 >> 2) & 1);

    t = (poly_wide)((p->h0 & ~over) | (g0 & over)) + poly_load(key + 16);
    put_le64(tag, (uint64_t)t);
    put_le64(tag + 8, ((p->h1 & ~over) | (g1 & over)) + poly_load(key + 24) + (uint64_t)(t >> 64));
}

#else

enum { LIMB = 0x3ffffff };

static inline void poly_start(struct poly *p, const uint8_t key[32])
{
    memset(p->h, 0, sizeof p->h);
    p->r[0] = get_le32(key) & 0x3ffffff;
    p->r[1] = (get_le32(key + 3) >> 2) & 0x3ffff03;
    p->r[2] = (get_le32(key + 6) >> 4) & 0x3ffc0ff;
    p->r[3] = (get_le32(key + 9) >> 6) & 0x3f03fff;
    p->r[4] = (get_le32(key + 12) >> 8) & 0x00fffff;
    for (int i = 0; i < 5; i++)
        p->s[i] = 5 * p->r[i];
}

POLY_INLINE void poly_block(struct poly *p, const uint8_t *m)
{
    const uint32_t *r = p->r, *s = p->s;
    uint32_t a = p->h[0] + (get_le32(m) & LIMB);
    uint32_t b = p->h[1] + ((get_le32(m + 3) >> 2) & LIMB);
    uint32_t c = p->h[2] + ((get_le32(m + 6) >> 4) & LIMB);
    uint32_t d = p->h[3] + ((get_le32(m + 9) >> 6) & LIMB);
    uint32_t e = p->h[4] + ((get_le32(m + 12) >> 8) | (1u << 24));

#define MUL(x, y) ((uint64_t)(x) * (y))
    uint64_t x0 = MUL(a, r[0]) + MUL(b, s[4]) + MUL(c, s[3]) + MUL(d, s[2]) + MUL(e, s[1]);
    uint64_t x1 = MUL(a, r[1]) + MUL(b, r[0]) + MUL(c, s[4]) + MUL(d, s[3]) + MUL(e, s[2]) + (x0 >> 26);
    uint64_t x2 = MUL(a, r[2]) + MUL(b, r[1]) + MUL(c, r[0]) + MUL(d, s[4]) + MUL(e, s[3]) + (x1 >> 26);
    uint64_t x3 = MUL(a, r[3]) + MUL(b, r[2]) + MUL(c, r[1]) + MUL(d, r[0]) + MUL(e, s[4]) + (x2 >> 26);
    uint64_t x4 = MUL(a, r[4]) + MUL(b, r[3]) + MUL(c, r[2]) + MUL(d, r[1]) + MUL(e, r[0]) + (x3 >> 26);
#undef MUL

    uint64_t low = (x0 & LIMB) + 5 * (x4 >> 26);
    p->h[0] = (uint32_t)(low & LIMB);
    p->h[1] = (uint32_t)((x1 & LIMB) + (low >> 26));
    p->h[2] = (uint32_t)x2 & LIMB;
    p->h[3] = (uint32_t)x3 & LIMB;
    p->h[4] = (uint32_t)x4 & LIMB;
}

static inline void poly_finish(const struct poly *p, const uint8_t key[32], uint8_t tag[WG_TAG])
{
    uint32_t h[5], g[5], carry, over;

    memcpy(h, p->h, sizeof h);
    for (int pass = 0; pass < 2; pass++) { /* the first may carry out of the top */
        carry = 0;
        for (int i = 0; i < 5; i++) {
            h[i] += carry;
            carry = h[i] >> 26;
            h[i] &= LIMB;
        }
        h[0] += 5 * carry;
    }
    carry = 5;
    for (int i = 0; i < 5; i++) {
        g[i] = h[i] + carry;
        carry = g[i] >> 26;
        g[i] &= LIMB;
    }
    over = 0 - carry;
    for (int i = 0; i < 5; i++)
        h[i] = (h[i] & ~over) | (g[i] & over);
    const uint32_t word[4] = {h[0] | h[1] << 26, h[1] >> 6 | h[2] << 20, h[2] >> 12 | h[3] << 14,
                              h[3] >> 18 | h[4] << 8};
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (uint64_t)word[i] + get_le32(key + 16 + 4 * i);
        put_le32(tag + 4 * i, (uint32_t)sum);
        sum >>= 32;
    }
}

#endif
#endif
