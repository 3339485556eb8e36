/* Four blocks in 128-bit registers, for x86 without AVX2 or where its registers are not
 * saved, 32-bit guests included. Rotation by whole bytes is a shuffle, else two shifts. */
#if defined(__x86_64__) || defined(__i386__)

#include "aead.h"
#include "cpu.h"

#include <tmmintrin.h>

static bool ssse3_supported(void) { return cpu_leaf1(bit_SSSE3); }

TARGET_BEGIN("ssse3")

enum { LANES = 4 };
typedef uint32_t vec __attribute__((vector_size(16), may_alias));
#define PLACES ((vec){0, 1, 2, 3})

/* The mask from memory: a register for it would push out a word of the state. */
#define BYTES(v, ...) ({ \
        static const _Alignas(16) uint8_t mask[16] = {__VA_ARGS__}; \
        vec r_ = (v); \
        __asm__("pshufb %1, %0" : "+x"(r_) : "m"(mask)); \
        r_; \
    })
#define ROT16(v) BYTES(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define ROT8(v) BYTES(v, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)
#define ROT12(v) ((v) << 12 | (v) >> 20)
#define ROT7(v) ((v) << 7 | (v) >> 25)
#define LO32(a, b) (vec)_mm_unpacklo_epi32((__m128i)(a), (__m128i)(b))
#define HI32(a, b) (vec)_mm_unpackhi_epi32((__m128i)(a), (__m128i)(b))
#define LO64(a, b) (vec)_mm_unpacklo_epi64((__m128i)(a), (__m128i)(b))
#define HI64(a, b) (vec)_mm_unpackhi_epi64((__m128i)(a), (__m128i)(b))
#define STORE_BLOCKS(p, a, b) do { \
        _mm_store_si128((__m128i *)(p), (__m128i)(a)); \
        _mm_store_si128((__m128i *)((p) + 16), (__m128i)(b)); \
    } while (0)
#define SPILL(x) __asm__("" : "+m"(x))

#include "lanes.inc.h"

LANES_BACKEND(aead_ssse3, "ssse3", ssse3_supported);

TARGET_END

#else
typedef int aead_ssse3_none;
#endif
