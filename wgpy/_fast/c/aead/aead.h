/* Bulk authenticated encryption as a batch, with the packets of wgpy_suite.h. Of WireGuard's
 * suite that is ChaCha20-Poly1305 (RFC 8439) with an empty AAD and the nonce 4 zero bytes || LE64
 * counter. Its backends stand behind one vtable, chosen at start by CPU probe, self-test and (for
 * speed) a measurement. */
#ifndef WG_AEAD_H
#define WG_AEAD_H

#include "core/wg.h"

#include <wgpy_suite.h>

struct wg_aead {
    const char *name;
    uint32_t key_size, tag_size;         /* bytes */
    bool may_refuse;                     /* a packet that is sealed: look at its `ok` */
    bool (*supported)(void);             /* CPU and, where it matters, XCR0 */
    /* As context_new, context_free, seal and open of wgpy_suite.h; none takes NULL. On a bad tag no
     * unauthenticated plaintext is left. */
    void *(*key_new)(const uint8_t *key);
    void (*key_free)(void *ctx);
    void (*seal)(struct wgpy_packet *job, size_t n);
    void (*open)(struct wgpy_packet *job, size_t n);
};

extern const struct wg_aead aead_avx512ifma, aead_avx512, aead_avx2, aead_ssse3, aead_neon, aead_openssl;

/* All backends compiled in, best first, NULL at the end; aead_openssl is always there. */
extern const struct wg_aead *const aead_backends[];

/* Known answers (RFC 8439 section 2.8.2 adapted to an empty AAD), then random batches
 * of many lengths compared with `reference` both ways, then tampering. NULL on
 * success, else a constant text that says what failed. */
const char *aead_self_test(const struct wg_aead *, const struct wg_aead *reference);

/* Seals or opens one packet in place, and leaves nothing of the key behind: 0, -EBADMSG for a
 * wrong tag, -ENOMEM. */
int aead_once(const struct wg_aead *, const uint8_t *key, uint64_t counter, uint8_t *data, uint32_t len, bool seals);

/* Nanoseconds that sealing `n` packets of `len` bytes takes, each; the best of a few
 * short runs. */
double aead_measure(const struct wg_aead *, uint32_t len, uint32_t n);

/* Picks a backend. `wanted` NULL or "auto": the fastest that is supported and passes
 * its self-test; else that very one. NULL with `*why` set to a constant text when
 * `wanted` is unknown, unsupported or fails. */
const struct wg_aead *aead_choose(const char *wanted, const char **why);

#endif
