/* Poly1305 of eight long packets at once, one in each 64-bit lane of a vector, where
 * 52-bit multiplications are to be had; part of the template of lanes.inc.h.
 *
 * The including file defines wide (eight 64-bit words) and
 *   MADLO MADHI (d, a, b)     d + the low or the high 52 bits of the 104-bit product of
 *                             the low 52 bits of a and of b
 *   EVEN128 ODD128 (a, b)     128-bit parts 0, 2 or 1, 3 of a, then those of b
 *
 * Limbs of 44, 44 and 42 bits: h = h0 + 2^44 h1 + 2^88 h2, and r alike. What reaches
 * 2^132 = 4 2^130 comes back times 20, so with s = 20 r
 *     d0 = h0 r0 + h1 s2 + h2 s1
 *     d1 = h0 r1 + h1 r0 + h2 s2
 *     d2 = h0 r2 + h1 r1 + h2 r0      (mod 2^130 - 5)
 * where d = lo + 2^52 hi sums the halves of the products, and 2^52 hi at limb i is
 * 2^8 hi at limb i + 1; above limb 2 it is 2^(88 + 52) = 2^130 2^10, so 5 2^10 hi at
 * limb 0. Two blocks a step, (h + m) r^2 + m' r: one carry for both, and half of the
 * products need not wait for h.
 *
 * Bounds. After a carry h0 < 2^44, h1 < 2^44 + 2^9, h2 < 2^42; r is clamped and r^2 was
 * carried, so they obey the same. With a block, whose limbs are below 2^44, 2^44 and
 * 2^41: h0, h1 < 2^45 + 2^9 and h2 < 2^43; s1 < 2^48.4, s2 < 2^46.4: all factors fit
 * in 52 bits. The products are below 2^91.5, and in d2, where no s is, below 2^89.1. Of
 * six of them
 *     lo < 6 2^52 < 2^54.6,  hi0, hi1 < 6 2^39.5 < 2^42.1,  hi2 < 6 2^37.1 < 2^39.7
 * so d1 and d2 with what comes from below stay under 2^54.8, and what leaves the top is
 * (hi2 << 10) + (d2 >> 42) < 2^49.8. Five times that is below 2^52.2; it raises h0 to less
 * than 2^52.3, whose carry into h1 is below 2^9, as claimed. */
#ifndef WG_AEAD_IFMA_H
#define WG_AEAD_IFMA_H

typedef wide loose_wide __attribute__((aligned(1))); /* in packets */

enum { EIGHT = 8, LONG = 512 /* bytes */ };

#define M44 ((UINT64_C(1) << 44) - 1)
#define M42 ((UINT64_C(1) << 42) - 1)

struct power { wide r[3], s1, s2; };

struct mac {
    struct power once, twice;      /* r and its square */
    wide h[3], pad[2];
    wide top[4];                   /* 2^128 of each block to absorb, in limb 2; 0 if there is none */
    _Alignas(64) uint8_t staged[EIGHT][64];
    uint32_t absent[EIGHT];        /* blocks by which a packet is shorter than the grid */
    uint32_t steps;                /* of four blocks each: the length of the grid */
};

/* In each lane a packet's next four blocks: low and high words. */
POLY_INLINE void load_blocks(wide lo[4], wide hi[4], const uint8_t *const at[EIGHT], size_t from)
{
    wide part[2][4];

    for (int i = 0; i < 4; i++) {
        wide a = *(const loose_wide *)(at[2 * i] + from), b = *(const loose_wide *)(at[2 * i + 1] + from);
        part[0][i] = (wide)LO64((vec)a, (vec)b);
        part[1][i] = (wide)HI64((vec)a, (vec)b);
    }
    for (int i = 0; i < 2; i++) {
        wide *p = part[i], *out = i ? hi : lo;
        wide a = EVEN128(p[0], p[1]), b = EVEN128(p[2], p[3]), c = ODD128(p[0], p[1]), d = ODD128(p[2], p[3]);
        out[0] = EVEN128(a, b), out[1] = EVEN128(c, d), out[2] = ODD128(a, b), out[3] = ODD128(c, d);
    }
}

POLY_INLINE void split_limbs(wide x[3], wide lo, wide hi)
{
    x[0] = lo & M44;
    x[1] = (lo >> 44 | hi << 20) & M44;
    x[2] = hi >> 24;
}

POLY_INLINE void add_product(wide lo[3], wide hi[3], const wide x[3], const struct power *p)
{
#define TERM(i, a, b) (lo[i] = MADLO(lo[i], a, b), hi[i] = MADHI(hi[i], a, b))
    TERM(0, x[0], p->r[0]), TERM(1, x[0], p->r[1]), TERM(2, x[0], p->r[2]);
    TERM(0, x[1], p->s2), TERM(1, x[1], p->r[0]), TERM(2, x[1], p->r[1]);
    TERM(0, x[2], p->s1), TERM(1, x[2], p->s2), TERM(2, x[2], p->r[0]);
#undef TERM
}

POLY_INLINE void carry(wide h[3], const wide lo[3], const wide hi[3])
{
    wide d1 = lo[1] + (hi[0] << 8) + (lo[0] >> 44), d2 = lo[2] + (hi[1] << 8) + (d1 >> 44);
    wide over = (hi[2] << 10) + (d2 >> 42), d0 = (lo[0] & M44) + over + (over << 2);

    h[0] = d0 & M44;
    h[1] = (d1 & M44) + (d0 >> 44);
    h[2] = d2 & M42;
}

POLY_INLINE void set_power(struct power *p, const wide r[3])
{
    for (int i = 0; i < 3; i++)
        p->r[i] = r[i];
    p->s1 = (r[1] << 4) + (r[1] << 2);
    p->s2 = (r[2] << 4) + (r[2] << 2);
}

/* `bytes`, a multiple of 64, from `at` of each lane. */
static __attribute__((noinline)) void absorb_eight(struct mac *m, const uint8_t *const at[EIGHT], size_t bytes)
{
    wide h[3] = {m->h[0], m->h[1], m->h[2]}, word[2][4];

    for (size_t from = 0; from < bytes; from += 64) {
        load_blocks(word[0], word[1], at, from);
        for (int b = 0; b < 4; b += 2) {
            wide lo[3] = {{0}}, hi[3] = {{0}}, x[3];

            split_limbs(x, word[0][b + 1], word[1][b + 1]);
            x[2] |= m->top[b + 1];
            add_product(lo, hi, x, &m->once);
            split_limbs(x, word[0][b], word[1][b]);
            x[2] |= m->top[b];
            for (int i = 0; i < 3; i++)
                x[i] += h[i];
            add_product(lo, hi, x, &m->twice);
            carry(h, lo, hi);
        }
    }
    for (int i = 0; i < 3; i++)
        m->h[i] = h[i];
}

/* Keys from the key blocks of eight packets. */
static void start_eight(struct mac *m, const uint8_t *stream)
{
    const uint8_t *at[EIGHT];
    wide low[4], high[4], r[3], lo[3] = {{0}}, hi[3] = {{0}};

    for (int i = 0; i < EIGHT; i++)
        at[i] = stream + 64 * i;
    load_blocks(low, high, at, 0);
    split_limbs(r, low[0] & UINT64_C(0x0ffffffc0fffffff), high[0] & UINT64_C(0x0ffffffc0ffffffc));
    m->pad[0] = low[1];
    m->pad[1] = high[1];
    set_power(&m->once, r);
    add_product(lo, hi, r, &m->once);
    carry(r, lo, hi);
    set_power(&m->twice, r);
    for (int i = 0; i < 3; i++)
        m->h[i] = (wide){0};
}

/* A step in which some packet has not begun, or in which all end. */
static void absorb_staged(struct mac *m, const struct wgpy_packet *const job[EIGHT],
                          const uint8_t *const text[EIGHT], uint32_t step)
{
    const uint8_t *at[EIGHT];

    const bool last = step + 1 == m->steps;

    for (uint32_t i = 0; i < EIGHT; i++) {
        const uint32_t len = job[i]->size, absent = m->absent[i];
        const uint32_t skip = 4 * step >= absent ? 0 : absent - 4 * step < 4 ? absent - 4 * step : 4;
        const uint32_t from = 16 * (4 * step + skip - absent);

        for (uint32_t b = 0; b < 4; b++)
            m->top[b][i] = b < skip ? 0 : UINT64_C(1) << 40;
        if (!skip && !last) {
            at[i] = text[i] + from;
            continue;
        }
        at[i] = memset(m->staged[i], 0, 64);
        if (skip < 4)
            memcpy(m->staged[i] + 16 * skip, text[i] + from, (size_t)least(64 - 16 * skip, len - from));
        if (last)
            put_le64(m->staged[i] + 56, len);
    }
    absorb_eight(m, at, 64);
}

/* The packets lie in a grid in which all end together. Those that are shorter begin later,
 * after blocks of nothing at all, 2^128 included, that leave h at 0. None is shorter than
 * LONG, so that those steps are not the last, whose text need not be whole blocks. */
static void mac_eight(struct mac *m, const struct wgpy_packet *const job[EIGHT])
{
    const uint8_t *text[EIGHT], *at[EIGHT];
    uint32_t step = 0, begun = 0;

    m->steps = 0;
    for (int i = 0; i < EIGHT; i++) {
        uint32_t steps = (job[i]->size + 15) / 64 + 1; /* with the block of lengths */

        m->steps = steps > m->steps ? steps : m->steps;
        text[i] = job[i]->data;
    }
    for (int i = 0; i < EIGHT; i++) {
        m->absent[i] = 4 * m->steps - (job[i]->size + 15) / 16 - 1;
        begun = (m->absent[i] + 3) / 4 > begun ? (m->absent[i] + 3) / 4 : begun;
    }
    for (; step < begun; step++)
        absorb_staged(m, job, text, step);
    for (int i = 0; i < EIGHT; i++)
        at[i] = text[i] + 16 * (4 * step - m->absent[i]);
    for (int b = 0; b < 4; b++)
        m->top[b] = (wide){0} + (UINT64_C(1) << 40);
    absorb_eight(m, at, 64 * (size_t)(m->steps - 1 - step));
    absorb_staged(m, job, text, m->steps - 1);
}

/* One more carry leaves h below 2^130, since h1 passes one on only when what remains of it
 * is small. Then h mod 2^130 - 5, as in poly_finish, plus the pad. */
static void finish_eight(struct mac *m, wide tag[2])
{
    wide h[3] = {m->h[0], m->h[1], m->h[2]}, g[3], over;

    h[2] += h[1] >> 44;
    h[1] &= M44;
    h[0] += (h[2] >> 42) + (h[2] >> 42 << 2);
    h[2] &= M42;
    h[1] += h[0] >> 44;
    h[0] &= M44;
    g[0] = h[0] + 5;
    g[1] = h[1] + (g[0] >> 44);
    g[2] = h[2] + (g[1] >> 44);
    over = (wide){0} - (g[2] >> 42);
    for (int i = 0; i < 3; i++)
        h[i] = (h[i] & ~over) | (g[i] & M44 & over);
    h[0] |= h[1] << 44;
    h[1] = h[1] >> 20 | h[2] << 24;
    tag[0] = h[0] + m->pad[0];
    tag[1] = h[1] + m->pad[1] + (((h[0] & m->pad[0]) | ((h[0] | m->pad[0]) & ~tag[0])) >> 63);
}

#endif
