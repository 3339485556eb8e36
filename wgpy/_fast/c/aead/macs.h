/* The MACs of handshake messages and the seal of cookie replies (paper, sections 5.4.4 and
 * 5.4.7) as a table of functions: a suite may bring its own, of other sizes. */
#ifndef WG_MACS_H
#define WG_MACS_H

#include "core/wg.h"

/* What `mac` makes of a key before it looks at a message; as secret as the key. */
struct wg_mac_key {
    uint32_t size;
    union {
        uint32_t word[16];
        uint8_t byte[WG_HASH_MAX];
    };
};

/* False: it could not be done, and the output is not used. Those that compute take the table, since what
 * is behind it may have sizes of its own. */
struct wg_macs {
    uint32_t public_size;    /* bytes of a public key */
    uint32_t mac_size, key_size; /* of a MAC, and of its key; a MAC is also the key of another */
    uint32_t nonce_size, cookie_tag_size; /* of the seal */
    /* The keys under which messages to the owner of this public key bear their MAC1, and
     * under which cookies from it are sealed. */
    bool (*keys)(const struct wg_macs *, const uint8_t *public_key, struct wg_mac_key *mac1_key, uint8_t cookie_key[WG_KEY_MAX]);
    /* A MAC in two steps, for many messages, none of them empty. */
    void (*prepare)(const struct wg_macs *, const uint8_t *key, size_t key_len, struct wg_mac_key *);
    bool (*prepared)(const struct wg_macs *, const struct wg_mac_key *, const uint8_t *in, size_t len, uint8_t *out);
    /* A context for `seal`, so that it allocates nothing; NULL without memory. */
    void *(*sealer_new)(void);
    void (*sealer_free)(void *);
    /* Writes mac_size + cookie_tag_size bytes. */
    bool (*seal)(const struct wg_macs *, void *sealer, const uint8_t *key, const uint8_t *nonce, const uint8_t *cookie,
                 const uint8_t *mac1, uint8_t *out);
};

extern const struct wg_macs macs_wireguard; /* BLAKE2s and XChaCha20-Poly1305 */

#endif
