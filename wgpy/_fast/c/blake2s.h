/* BLAKE2s (RFC 7693) in one call: unkeyed hash and keyed MAC. */
#ifndef WG_BLAKE2S_H
#define WG_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

/* `out_len` is 1 to 32 bytes, `key_len` 0 to 32. What depends on the key is wiped. */
void blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len, const uint8_t *in, size_t len);

#endif
