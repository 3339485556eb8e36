/* The batch engine with sixteen lanes in plain C, for machines without AVX-512: all of
 * those backends but their instructions, with and without IFMA. */
#include <stdbool.h>
#include <stdint.h>

static bool wide_supported(void) { return true; }

enum { LANES = 16 };
typedef uint32_t vec __attribute__((vector_size(64), may_alias));
#define PLACES ((vec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})

#define ROT16(v) ((v) << 16 | (v) >> 16)
#define ROT12(v) ((v) << 12 | (v) >> 20)
#define ROT8(v) ((v) << 8 | (v) >> 24)
#define ROT7(v) ((v) << 7 | (v) >> 25)

/* Lane 4 q + i of the result is lane 4 q + from[i] of a, or of b where from[i] > 3. */
static vec pick(const vec *a, const vec *b, const int from[4])
{
    vec r;

    for (int i = 0; i < 16; i++)
        r[i] = (from[i % 4] < 4 ? *a : *b)[i / 4 * 4 + from[i % 4] % 4];
    return r;
}
#define PICK(a, b, ...) ({ vec a_ = (a), b_ = (b); pick(&a_, &b_, (const int[4]){__VA_ARGS__}); })
#define LO32(a, b) PICK(a, b, 0, 4, 1, 5)
#define HI32(a, b) PICK(a, b, 2, 6, 3, 7)
#define LO64(a, b) PICK(a, b, 0, 1, 4, 5)
#define HI64(a, b) PICK(a, b, 2, 3, 6, 7)
#define STORE_BLOCKS(p, a, b) do { \
        vec a_ = (a), b_ = (b); \
        for (int q_ = 0; q_ < 4; q_++) { \
            memcpy((p) + 256 * q_, (uint8_t *)&a_ + 16 * q_, 16); \
            memcpy((p) + 256 * q_ + 16, (uint8_t *)&b_ + 16 * q_, 16); \
        } \
    } while (0)
#define SPILL(x) ((void)0)

typedef uint64_t wide __attribute__((vector_size(64), may_alias));

static wide parts(const wide *a, const wide *b, int odd)
{
    wide r;

    for (int i = 0; i < 8; i++)
        r[i] = (i < 4 ? *a : *b)[i % 4 / 2 * 4 + 2 * odd + i % 2];
    return r;
}
#define PARTS(a, b, odd) ({ wide a_ = (a), b_ = (b); parts(&a_, &b_, odd); })
#define EVEN128(a, b) PARTS(a, b, 0)
#define ODD128(a, b) PARTS(a, b, 1)
#define MADLO(d, a, b) ((d) + low52(a, b))
#define MADHI(d, a, b) ((d) + high52(a, b))

enum { M26 = (1 << 26) - 1 };

/* By halves, so that all fits in 64 bits on every machine. */
static inline wide middle(wide a, wide b) { return (a & M26) * (b >> 26 & M26) + (a >> 26 & M26) * (b & M26); }
static inline wide bottom(wide a, wide b) { return (a & M26) * (b & M26) + ((middle(a, b) & M26) << 26); }
static inline wide low52(wide a, wide b) { return bottom(a, b) & ((UINT64_C(1) << 52) - 1); }
static inline wide high52(wide a, wide b)
{
    return (a >> 26 & M26) * (b >> 26 & M26) + (middle(a, b) >> 26) + (bottom(a, b) >> 52);
}

#include "aead/lanes.inc.h"

extern const struct wg_aead aead_wide, aead_wide_ifma;
LANES_BACKEND(aead_wide_ifma, "wide-ifma", wide_supported);

/* Without those multiplications all goes the general way, since sixteen lanes suit no train. */
static void plain_seal(struct wgpy_packet *job, size_t n) { run(job, (uint32_t)n, true); }
static void plain_open(struct wgpy_packet *job, size_t n) { run(job, (uint32_t)n, false); }
const struct wg_aead aead_wide = {
    .name = "wide", .key_size = WG_KEY, .tag_size = WG_TAG, .supported = wide_supported,
    .key_new = lanes_key_new, .key_free = lanes_key_free, .seal = plain_seal, .open = plain_open,
};

/* Tags of eight packets, with Poly1305 keys of the test's choice, each at the
 * start of 64 bytes. */
extern void wide_authenticate(const uint8_t *keys, struct wgpy_packet job[EIGHT]);
void wide_authenticate(const uint8_t *keys, struct wgpy_packet job[EIGHT])
{
    struct mac m;

    start_eight(&m, keys);
    authenticate(&m, job, EIGHT, true);
}

/* The last step, in every lane, of what limbs and pad a test chooses. */
extern void wide_finish(const uint64_t h[3], const uint64_t pad[2], uint64_t tag[2]);
void wide_finish(const uint64_t h[3], const uint64_t pad[2], uint64_t tag[2])
{
    struct mac m;
    wide both[2];

    for (int i = 0; i < 3; i++)
        m.h[i] = (wide){0} + h[i];
    for (int i = 0; i < 2; i++)
        m.pad[i] = (wide){0} + pad[i];
    finish_eight(&m, both);
    tag[0] = both[0][7];
    tag[1] = both[1][7];
}
