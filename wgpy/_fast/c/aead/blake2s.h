/* BLAKE2s (RFC 7693) in one call: unkeyed hash and keyed MAC. */
#ifndef WG_BLAKE2S_H
#define WG_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

/* `out_len` is 1 to 32 bytes, `key_len` 0 to 32. What depends on the key is wiped. */
void blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const uint8_t *in, size_t len);

/* The same for many messages with one key of 1 to 32 bytes: what the key makes of the state, which
 * is as secret as the key; and the MAC of a message that is not empty. */
void blake2s_key(uint32_t h[8], size_t out_len, const uint8_t *key, size_t key_len);
void blake2s_keyed(uint8_t *out, size_t out_len, const uint32_t key[8], const uint8_t *in, size_t len);

#endif
