/* The batch engine with sixteen lanes in plain C, for machines without AVX-512: all of
 * that backend but its instructions. */
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

#include "aead_lanes.h"

extern const struct wg_aead aead_wide;
LANES_BACKEND(aead_wide, "wide", wide_supported);
