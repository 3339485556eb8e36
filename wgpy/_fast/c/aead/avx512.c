/* Sixteen blocks in 512-bit registers, Poly1305 beside them on integer registers. */
#if defined(__x86_64__)

#include "aead.h"
#include "cpu.h"

#include <immintrin.h>

static bool avx512_supported(void)
{
    return cpu_saves(XCR0_AVX512) && cpu_leaf7(bit_AVX512F | bit_AVX2 | bit_BMI2);
}

TARGET_BEGIN("avx512f,avx2,bmi2")

#include "avx512.inc.h"
#include "lanes.inc.h"

LANES_BACKEND(aead_avx512, "avx512", avx512_supported);

TARGET_END

#else
typedef int aead_avx512_none;
#endif
