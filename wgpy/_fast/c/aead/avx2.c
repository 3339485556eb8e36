/* Eight blocks in 256-bit registers. AVX2 has no rotation: by whole bytes it is a
 * shuffle, else two shifts. */
#if defined(__x86_64__)

#include "aead.h"
#include "cpu.h"

#include <immintrin.h>

static bool avx2_supported(void)
{
    return cpu_saves(XCR0_AVX) && cpu_leaf7(bit_AVX2 | bit_BMI2);
}

TARGET_BEGIN("avx2,bmi2")

#define POLY_MULX
enum { LANES = 8 };
typedef uint32_t vec __attribute__((vector_size(32), may_alias));

#define PLACES ((vec){0, 1, 2, 3, 4, 5, 6, 7})

/* The mask from memory: a register for it would push out a word of the state. */
#define BYTES(v, ...) ({ \
        static const _Alignas(32) uint8_t mask[32] = {__VA_ARGS__, __VA_ARGS__}; \
        vec r_; \
        __asm__("vpshufb %2, %1, %0" : "=x"(r_) : "x"(v), "m"(mask)); \
        r_; \
    })
#define ROT16(v) BYTES(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define ROT8(v) BYTES(v, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)
#define SPILL(x) __asm__("" : "+m"(x))
#define ROT12(v) ((v) << 12 | (v) >> 20)
#define ROT7(v) ((v) << 7 | (v) >> 25)
#define LO32(a, b) (vec)_mm256_unpacklo_epi32((__m256i)(a), (__m256i)(b))
#define HI32(a, b) (vec)_mm256_unpackhi_epi32((__m256i)(a), (__m256i)(b))
#define LO64(a, b) (vec)_mm256_unpacklo_epi64((__m256i)(a), (__m256i)(b))
#define HI64(a, b) (vec)_mm256_unpackhi_epi64((__m256i)(a), (__m256i)(b))
#define STORE_BLOCKS(p, a, b) do { \
        _mm256_store_si256((__m256i *)(p), _mm256_permute2x128_si256((__m256i)(a), (__m256i)(b), 0x20)); \
        _mm256_store_si256((__m256i *)((p) + 256), \
                           _mm256_permute2x128_si256((__m256i)(a), (__m256i)(b), 0x31)); \
    } while (0)

#include "lanes.inc.h"

LANES_BACKEND(aead_avx2, "avx2", avx2_supported);

TARGET_END

#else
typedef int aead_avx2_none;
#endif
