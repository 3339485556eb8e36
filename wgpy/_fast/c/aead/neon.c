/* Four blocks in 128-bit registers on arm64, where NEON is always there. */
#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#include <arm_neon.h>
#include <stdbool.h>

static bool neon_supported(void) { return true; }

enum { LANES = 4 };
typedef uint32x4_t vec __attribute__((may_alias));
#define PLACES ((vec){0, 1, 2, 3})

#define ROT16(v) vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(v)))
#define ROT12(v) vsriq_n_u32(vshlq_n_u32(v, 12), v, 20)
#define ROT8(v) vsriq_n_u32(vshlq_n_u32(v, 8), v, 24)
#define ROT7(v) vsriq_n_u32(vshlq_n_u32(v, 7), v, 25)
#define LO32(a, b) vzip1q_u32(a, b)
#define HI32(a, b) vzip2q_u32(a, b)
#define LO64(a, b) \
    vreinterpretq_u32_u64(vzip1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)))
#define HI64(a, b) \
    vreinterpretq_u32_u64(vzip2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)))
#define STORE_BLOCKS(p, a, b) (vst1q_u32((uint32_t *)(p), a), vst1q_u32((uint32_t *)((p) + 16), b))
#define SPILL(x) ((void)0) /* 32 registers */

#include "lanes.inc.h"

LANES_BACKEND(aead_neon, "neon", neon_supported);

#else
typedef int aead_neon_none;
#endif
