/* Bulk authenticated encryption as a batch: ChaCha20-Poly1305 (RFC 8439) with an
 * empty AAD and the nonce 4 zero bytes || LE64 counter. Backends stand behind one
 * vtable, chosen at start by CPU probe, self-test and (for speed) a measurement. */
#ifndef WG_AEAD_H
#define WG_AEAD_H

#include "wg.h"

/* One packet. `in` and `out` are the same address or do not overlap. Seal reads len
 * bytes and writes len + WG_TAG; open reads len + WG_TAG and writes len, and on a bad
 * tag leaves no unauthenticated plaintext in `out`. */
struct wg_aead_job {
    void *ctx;           /* of this key and this thread, from key_new */
    uint64_t counter;
    const uint8_t *in;
    uint8_t *out;
    uint32_t len;        /* plaintext bytes, 0 to WG_PACKET_MAX */
    uint8_t ok;          /* open: 1 if the tag was right; seal: 0 only when out of memory */
};

struct wg_aead {
    const char *name;
    bool (*supported)(void);             /* CPU and, where it matters, XCR0 */
    void *(*key_new)(const uint8_t key[WG_KEY]); /* NULL when out of memory */
    void (*key_free)(void *ctx);         /* wipes */
    void (*seal)(struct wg_aead_job *job, uint32_t n);
    void (*open)(struct wg_aead_job *job, uint32_t n);
};

extern const struct wg_aead aead_avx512ifma, aead_avx512, aead_avx2, aead_ssse3, aead_neon, aead_openssl;

/* All backends compiled in, best first, NULL at the end; aead_openssl is always there. */
extern const struct wg_aead *const aead_backends[];

/* Known answers (RFC 8439 section 2.8.2 adapted to an empty AAD), then random batches
 * of many lengths compared with `reference` both ways, then tampering. NULL on
 * success, else a constant text that says what failed. */
const char *aead_self_test(const struct wg_aead *, const struct wg_aead *reference);

/* Nanoseconds that sealing `n` packets of `len` bytes takes, each; the best of a few
 * short runs. */
double aead_measure(const struct wg_aead *, uint32_t len, uint32_t n);

/* Picks a backend. `wanted` NULL or "auto": the fastest that is supported and passes
 * its self-test; else that very one. NULL with `*why` set to a constant text when
 * `wanted` is unknown, unsupported or fails. */
const struct wg_aead *aead_choose(const char *wanted, const char **why);

#endif
