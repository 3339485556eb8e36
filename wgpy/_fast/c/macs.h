/* The MACs of handshake messages and the seal of cookie replies (paper, sections 5.4.4 and
 * 5.4.7) as a table of functions: a suite may bring its own. Sizes are those of the message
 * formats, which no suite changes. */
#ifndef WG_MACS_H
#define WG_MACS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WG_MAC = 16, WG_XNONCE = 24, WG_COOKIE_SEALED = 32 };

struct wg_macs {
    /* The keys under which messages to the owner of this public key bear their MAC1, and
     * under which cookies from it are sealed. */
    void (*keys)(const uint8_t public_key[32], uint8_t mac1_key[32], uint8_t cookie_key[32]);
    void (*mac)(const uint8_t *key, size_t key_len, const uint8_t *in, size_t len, uint8_t out[WG_MAC]);
    /* A context for `seal`, so that it allocates nothing; NULL without memory. */
    void *(*sealer_new)(void);
    void (*sealer_free)(void *);
    /* False when it failed: `out` is not to be sent then. */
    bool (*seal)(void *sealer, const uint8_t key[32], const uint8_t nonce[WG_XNONCE], const uint8_t cookie[WG_MAC],
                 const uint8_t mac1[WG_MAC], uint8_t out[WG_COOKIE_SEALED]);
};

extern const struct wg_macs macs_wireguard; /* BLAKE2s and XChaCha20-Poly1305 */

#endif
