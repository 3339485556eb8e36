/* Which backends there are, whether they are right, and which one is fastest here. Nothing in
 * this room is shared or locked: a context is of one key and one queue, so one thread has it. */
#include "aead.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "core/burn.h"

const struct wg_aead *const aead_backends[] = {
#if defined(__x86_64__)
    &aead_avx512ifma,
    &aead_avx512,
    &aead_avx2,
#endif
#if defined(__x86_64__) || defined(__i386__)
    &aead_ssse3,
#endif
#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    &aead_neon,
#endif
    &aead_openssl,
    NULL,
};

enum { BATCH = 37, LONGEST = 2100, SLOT = LONGEST + WG_TAG };

/* Key 80..9f, nonce 00000000 || 40..47 and plaintext of RFC 8439 section 2.8.2, whose
 * nonce starts with a sender id we cannot express; tags for an empty AAD. */
static const char known_plain[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    "future, sunscreen would be it.";
static const uint8_t known_sealed[114 + WG_TAG] = {
    0xa4, 0x79, 0xcb, 0x54, 0x62, 0x89, 0x46, 0xd6, 0xf4, 0x04, 0x2a, 0x8e, 0x38, 0x4e, 0xf4, 0xbd,
    0x2f, 0xbc, 0x73, 0x30, 0xb8, 0xbe, 0x55, 0xeb, 0x2d, 0x8d, 0xc1, 0x8a, 0xaa, 0x51, 0xd6, 0x6a,
    0x8e, 0xc1, 0xf8, 0xd3, 0x61, 0x9a, 0x25, 0x8d, 0xb0, 0xac, 0x56, 0x95, 0x60, 0x15, 0xb7, 0xb4,
    0x93, 0x7e, 0x9b, 0x8e, 0x6a, 0xa9, 0x57, 0xb3, 0xdc, 0x02, 0x14, 0xd8, 0x03, 0xd7, 0x76, 0x60,
    0xaa, 0xbc, 0x91, 0x30, 0x92, 0x97, 0x1d, 0xa8, 0xf2, 0x07, 0x17, 0x1c, 0xe7, 0x84, 0x36, 0x08,
    0x16, 0x2e, 0x2e, 0x75, 0x9d, 0x8e, 0xfc, 0x25, 0xd8, 0xd0, 0x93, 0x69, 0x90, 0xaf, 0x63, 0xc8,
    0x20, 0xba, 0x87, 0xe8, 0xa9, 0x55, 0xb5, 0xc8, 0x27, 0x4e, 0xf7, 0xd1, 0x0f, 0x6f, 0xaf, 0xd0,
    0x46, 0x47, 0xfa, 0x67, 0x75, 0x57, 0x7a, 0x1a, 0x25, 0x0d, 0xcc, 0x2d, 0xf3, 0x7e, 0x95, 0xe4,
    0x6c, 0x4a,
};
static const uint8_t known_empty_tag[WG_TAG] = {
    0x5a, 0x70, 0x0f, 0x88, 0xe7, 0x87, 0xfe, 0x1c, 0x1e, 0xf6, 0x64, 0xe6, 0x01, 0xba, 0x93, 0x5f,
};

static uint32_t next_random(uint32_t *state) /* xorshift: repeatable, not secret */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static const char *test_known(const struct wg_aead *aead)
{
    const uint64_t counter = UINT64_C(0x4746454443424140);
    uint8_t key[WG_KEY], sealed[sizeof known_sealed], tag[WG_TAG];

    for (uint8_t i = 0; i < WG_KEY; i++)
        key[i] = (uint8_t)(0x80 + i);
    void *ctx = aead->key_new(key);
    if (!ctx)
        return "out of memory";
    struct wgpy_packet jobs[2] = {
        {.context = ctx, .counter = counter, .data = memcpy(sealed, known_plain, 114), .size = 114},
        {.context = ctx, .counter = counter, .data = tag, .size = 0},
    };
    aead->seal(jobs, 2);
    aead->key_free(ctx);
    if (memcmp(sealed, known_sealed, sizeof sealed) || memcmp(tag, known_empty_tag, WG_TAG))
        return "wrong known answer";
    return NULL;
}

struct bench {
    uint8_t plain[BATCH][SLOT], sealed[BATCH][SLOT], expected[BATCH][SLOT];
    struct wgpy_packet ours[BATCH], theirs[BATCH];
};

/* Packets of all lengths, and in every other round trains, which backends may treat apart. */
static uint32_t random_length(uint32_t round, uint32_t *seed)
{
    if (round & 1 && next_random(seed) % 8)
        return 1280 + next_random(seed) % 200;
    return next_random(seed) % (next_random(seed) & 1 ? 200 : LONGEST);
}

/* One random batch sealed by both, then opened by us with every third packet spoilt. */
static const char *test_batch(struct bench *b, const struct wg_aead *aead,
                              const struct wg_aead *reference, void *const ours[2],
                              void *const theirs[2], uint32_t round, uint32_t *seed)
{
    uint32_t n = 1 + next_random(seed) % BATCH;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = random_length(round, seed);
        uint64_t counter = (uint64_t)next_random(seed) << 32;
        unsigned key = next_random(seed) % 8 == 0;

        counter |= next_random(seed);
        for (uint32_t j = 0; j < len; j++)
            b->plain[i][j] = (uint8_t)(next_random(seed) >> 8);
        b->ours[i] = (struct wgpy_packet){ours[key], counter, memcpy(b->sealed[i], b->plain[i], len), len, 0};
        b->theirs[i] = (struct wgpy_packet){theirs[key], counter, memcpy(b->expected[i], b->plain[i], len), len, 0};
    }
    aead->seal(b->ours, n);
    reference->seal(b->theirs, n);
    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(b->sealed[i], b->expected[i], b->ours[i].size + WG_TAG))
            return "seals differently from the reference";
        if ((i + round) % 3 == 0) {
            uint32_t bit = next_random(seed) % (8 * (b->ours[i].size + WG_TAG));
            b->sealed[i][bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    aead->open(b->ours, n);
    for (uint32_t i = 0; i < n; i++) {
        bool good = (i + round) % 3 != 0, same = !memcmp(b->sealed[i], b->plain[i], b->ours[i].size);

        if (b->ours[i].ok != good)
            return good ? "refuses a good packet" : "accepts a forged packet";
        if (good && !same)
            return "opens differently from the reference";
        if (!good && same && b->ours[i].size >= 16)
            return "leaves the plaintext of a forged packet";
    }
    return NULL;
}

const char *aead_self_test(const struct wg_aead *aead, const struct wg_aead *reference)
{
    const char *fault = test_known(aead);
    struct bench *b = fault ? NULL : malloc(sizeof *b);
    void *ours[2] = {NULL}, *theirs[2] = {NULL};
    uint32_t seed = 0x9e3779b9;
    bool ready = b != NULL;

    if (fault)
        return fault;
    for (int i = 0; i < 2; i++) {
        uint8_t key[WG_KEY];

        for (int j = 0; j < WG_KEY; j++)
            key[j] = (uint8_t)(next_random(&seed) >> 8);
        ours[i] = aead->key_new(key);
        theirs[i] = reference->key_new(key);
        ready = ready && ours[i] && theirs[i];
    }
    if (!ready)
        fault = "out of memory";
    for (uint32_t round = 0; !fault && round < 24; round++)
        fault = test_batch(b, aead, reference, ours, theirs, round, &seed);
    for (int i = 0; i < 2; i++) {
        if (ours[i])
            aead->key_free(ours[i]);
        if (theirs[i])
            reference->key_free(theirs[i]);
    }
    free(b);
    return fault;
}

int aead_once(const struct wg_aead *aead, const uint8_t *key, uint64_t counter, uint8_t *data, uint32_t len, bool seals)
{
    struct wgpy_packet job = {.context = aead->key_new(key), .counter = counter, .data = data, .size = len};

    if (job.context) {
        (seals ? aead->seal : aead->open)(&job, 1);
        aead->key_free(job.context);
    }
    burn_stack();
    return job.ok ? 0 : seals || !job.context ? -ENOMEM : -EBADMSG;
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double aead_measure(const struct wg_aead *aead, uint32_t len, uint32_t n)
{
    static const uint8_t key[WG_KEY_MAX] = {1};
    size_t slot = (size_t)len + aead->tag_size;
    uint8_t *bytes = calloc(n, slot);
    struct wgpy_packet *jobs = calloc(n, sizeof *jobs);
    void *ctx = aead->key_new(key);
    double best = 1e12;

    for (int run = 0; bytes && jobs && ctx && run < 8; run++) {
        double start = now_ns();

        for (uint32_t i = 0; i < n; i++)
            jobs[i] = (struct wgpy_packet){ctx, i, bytes + i * slot, len, 0};
        aead->seal(jobs, n);
        double took = (now_ns() - start) / n;
        if (took < best)
            best = took;
    }
    if (ctx)
        aead->key_free(ctx);
    free(jobs);
    free(bytes);
    return best;
}

static const char *fault_of(const struct wg_aead *aead)
{
    return aead->supported() ? aead_self_test(aead, &aead_openssl) : "not supported by this CPU";
}

const struct wg_aead *aead_choose(const char *wanted, const char **why)
{
    const struct wg_aead *best = NULL;
    bool any = !wanted || !strcmp(wanted, "auto");
    double least = 0;

    *why = any ? "no backend passes its self-test" : "unknown AEAD backend";
    for (const struct wg_aead *const *b = aead_backends; *b; b++) {
        if (!any && strcmp(wanted, (*b)->name))
            continue;
        const char *fault = fault_of(*b);
        if (!any) {
            *why = fault;
            return fault ? NULL : *b;
        }
        if (fault)
            continue;
        double took = aead_measure(*b, 1420, 32) + 4 * aead_measure(*b, 64, 32);
        if (!best || took < least) {
            best = *b;
            least = took;
        }
    }
    if (best)
        *why = NULL;
    return best;
}
