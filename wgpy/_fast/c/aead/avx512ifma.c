/* Sixteen blocks in 512-bit registers, and there also Poly1305 of eight long packets, by
 * the 52-bit multiplications of AVX-512 IFMA. */
#if defined(__x86_64__)

#include "aead.h"
#include "cpu.h"

#include <immintrin.h>

static bool avx512ifma_supported(void)
{
    return cpu_saves(XCR0_AVX512) && cpu_leaf7(bit_AVX512F | bit_AVX512IFMA | bit_AVX2 | bit_BMI2);
}

TARGET_BEGIN("avx512f,avx512ifma,avx2,bmi2")

#include "avx512.inc.h"

typedef uint64_t wide __attribute__((vector_size(64), may_alias));
#define MADLO(d, a, b) (wide)_mm512_madd52lo_epu64((__m512i)(d), (__m512i)(a), (__m512i)(b))
#define MADHI(d, a, b) (wide)_mm512_madd52hi_epu64((__m512i)(d), (__m512i)(a), (__m512i)(b))
#define EVEN128(a, b) (wide)_mm512_shuffle_i64x2((__m512i)(a), (__m512i)(b), 0x88)
#define ODD128(a, b) (wide)_mm512_shuffle_i64x2((__m512i)(a), (__m512i)(b), 0xdd)

#include "lanes.inc.h"

LANES_BACKEND(aead_avx512ifma, "avx512ifma", avx512ifma_supported);

TARGET_END

#else
typedef int aead_avx512ifma_none;
#endif
