/* What this x86 offers: CPUID says what the CPU has, XCR0 what the system saves. A
 * hypervisor may show AVX2 and not save its registers. */
#ifndef WG_AEAD_CPU_H
#define WG_AEAD_CPU_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

/* What follows may use these instructions, up to TARGET_END. */
#define PRAGMA(x) _Pragma(#x)
#ifdef __clang__
#define TARGET_BEGIN(set) PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define TARGET_END PRAGMA(clang attribute pop)
#else
#define TARGET_BEGIN(set) PRAGMA(GCC push_options) PRAGMA(GCC target(set))
#define TARGET_END PRAGMA(GCC pop_options)
#endif

enum { XCR0_AVX = 0x06, XCR0_AVX512 = 0xe6 }; /* SSE, AVX; opmask, upper halves, ZMM16-31 */

static inline bool cpu_saves(uint32_t state)
{
    uint32_t a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & state) == state;
}

static inline bool cpu_leaf1(uint32_t ecx)
{
    uint32_t a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & ecx) == ecx;
}

static inline bool cpu_leaf7(uint32_t ebx)
{
    uint32_t a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & ebx) == ebx;
}

#endif
