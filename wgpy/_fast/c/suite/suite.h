/* A suite of the user's own: a shared library with the table of wgpy_suite.h. What it is made of
 * the plane sees as it sees WireGuard's: struct wg_aead, whose functions are the library's own, and
 * struct wg_macs. */
#ifndef WG_SUITE_H
#define WG_SUITE_H

#include "aead/aead.h"
#include "aead/macs.h"
#include "faults.h"

struct wg_suite {
    struct wgpy_suite table; /* a copy; its strings are the ones here */
    char name[WGPY_NAME_MAX + 1], noise[WGPY_LABEL_MAX + 1], identifier[WGPY_LABEL_MAX + 1];
    struct wg_aead aead;
    struct wg_macs macs;
};

/* Loads what the descriptor holds, which the caller has looked at and keeps open, and checks the table.
 * The library stays in the process for good: nobody knows what still points into it. False: refused.
 * Constructors of the library run here, but no function of the table. */
bool suite_load(struct wg_suite *, int fd, struct wg_suite_fault *);
/* The same of a table that is here already. */
bool suite_from(struct wg_suite *, const struct wgpy_suite *, struct wg_suite_fault *);

/* Known answers; what holds of any suite; and what the library tests itself. Runs everything that
 * the library has, which may crash, or not come back: first in a process of its own. */
bool suite_test(const struct wg_suite *, struct wg_suite_fault *);
bool suite_known_answers(const struct wgpy_suite *, struct wg_suite_fault *);
bool suite_trials(const struct wgpy_suite *, struct wg_suite_fault *);

/* RFC 2104 with the suite's hash; a digest in `out`. False when the hash could not be computed, as below. */
bool suite_hmac(const struct wgpy_suite *, struct wgpy_part key, struct wgpy_part data, uint8_t *out);
/* `n` outputs of hash_size bytes, 1 to 3: HKDF as in the Noise specification, section 4.3. */
bool suite_kdf(const struct wgpy_suite *, struct wgpy_part chain, struct wgpy_part data, uint32_t n, uint8_t *out);

/* Seals or opens one message in place, and leaves nothing of the key behind: 0, -EBADMSG for a wrong tag,
 * -ENOMEM when it could not be done. */
int suite_once(const struct wgpy_suite *, const uint8_t *key, uint64_t counter, struct wgpy_part additional, uint8_t *data,
               size_t size, bool seals);

/* struct wg_macs of the suite whose own it is. */
void suite_macs(struct wg_suite *);

#endif
