/* Sixteen lanes in 512-bit registers, for the template of lanes.inc.h; rotation is one
 * instruction. To be included between TARGET_BEGIN and TARGET_END. */
#ifndef WG_AEAD_AVX512_H
#define WG_AEAD_AVX512_H

#include "aead.h"

#include <immintrin.h>

#define POLY_MULX
enum { LANES = 16 };
typedef uint32_t vec __attribute__((vector_size(64), may_alias));
#define PLACES ((vec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})

#define ROT16(v) (vec)_mm512_rol_epi32((__m512i)(v), 16)
#define ROT12(v) (vec)_mm512_rol_epi32((__m512i)(v), 12)
#define ROT8(v) (vec)_mm512_rol_epi32((__m512i)(v), 8)
#define ROT7(v) (vec)_mm512_rol_epi32((__m512i)(v), 7)
#define LO32(a, b) (vec)_mm512_unpacklo_epi32((__m512i)(a), (__m512i)(b))
#define HI32(a, b) (vec)_mm512_unpackhi_epi32((__m512i)(a), (__m512i)(b))
#define LO64(a, b) (vec)_mm512_unpacklo_epi64((__m512i)(a), (__m512i)(b))
#define HI64(a, b) (vec)_mm512_unpackhi_epi64((__m512i)(a), (__m512i)(b))
#define STORE_BLOCKS(p, a, b) do { \
        const __m512i lo_ = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11); \
        const __m512i hi_ = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15); \
        __m512i x_ = _mm512_permutex2var_epi64((__m512i)(a), lo_, (__m512i)(b)); \
        __m512i y_ = _mm512_permutex2var_epi64((__m512i)(a), hi_, (__m512i)(b)); \
        _mm256_store_si256((__m256i *)(p), _mm512_castsi512_si256(x_)); \
        _mm256_store_si256((__m256i *)((p) + 256), _mm512_extracti64x4_epi64(x_, 1)); \
        _mm256_store_si256((__m256i *)((p) + 512), _mm512_castsi512_si256(y_)); \
        _mm256_store_si256((__m256i *)((p) + 768), _mm512_extracti64x4_epi64(y_, 1)); \
    } while (0)
#define SPILL(x) ((void)0) /* 32 registers */

#endif
