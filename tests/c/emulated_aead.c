/* The AVX-512 backends against OpenSSL on an emulated processor that has AVX-512, then the
 * instructions a packet of each backend: the emulator's time stamp counter counts them. */
#define main every_backend
#include "test_aead.c"
#undef main

#include <x86intrin.h>

extern void __asan_init(void) __attribute__((weak)); /* there if the backends are sanitized */

enum { PACKETS = 32, BYTES = 1420, RUNS = 24 };

static uint8_t memory[PACKETS][BYTES + WG_TAG + 4];

/* The least of many runs, since some are interrupted. */
static void instructions(const struct wg_aead *aead)
{
    struct wgpy_packet job[PACKETS];
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    void *ctx = aead->key_new(keys[0]);

    CHECK(ctx);
    for (uint32_t i = 0; i < PACKETS; i++)
        job[i] = (struct wgpy_packet){ctx, i, memory[i], BYTES, 0};
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = __rdtsc();
        aead->seal(job, PACKETS);
        uint64_t sealed = __rdtsc();
        aead->open(job, PACKETS);
        uint64_t opened = __rdtsc();

        CHECK(job[PACKETS - 1].ok);
        least[0] = sealed - start < least[0] ? sealed - start : least[0];
        least[1] = opened - sealed < least[1] ? opened - sealed : least[1];
    }
    aead->key_free(ctx);
    printf("%-10s %5.0f to seal, %5.0f to open\n", aead->name, (double)least[0] / PACKETS,
           (double)least[1] / PACKETS);
}

int main(void)
{
    static const struct wg_aead *const tested[] = {&aead_avx512, &aead_avx512ifma};
    const char *why;

    for (int i = 0; i < KEYS * WG_KEY; i++)
        keys[i / WG_KEY][i % WG_KEY] = (uint8_t)rnd(256);
    for (size_t i = 0; i < lengthof(tested); i++) {
        const struct wg_aead *chosen = aead_choose(tested[i]->name, &why);

        if (!chosen)
            printf("%s: %s\n", tested[i]->name, why);
        CHECK(chosen == tested[i]);
        test_backend(tested[i], &aead_openssl);
    }
    if (__asan_init)
        return 0;
    printf("instructions a packet of %d bytes in a batch of %d\n", BYTES, PACKETS);
    for (const struct wg_aead *const *b = aead_backends; *b; b++)
        instructions(*b);
    return 0;
}
