/* The cryptographic functions of a wgpy network, as one constant table that a shared library
 * exports. This file is all that such a library needs of wgpy. ABI version 1; C11 or C++.
 *
 * Of every function: it keeps no state but what it is given, starts no thread, writes nothing
 * outside the buffers that it is given, never prints, exits, waits, or changes the process (signals,
 * locale, descriptors), and takes the same time for all secrets of one size. Threads call it at
 * once, but no two with one context. What it leaves of secrets on the stack lies within 48 KiB
 * below its caller's frame, which wgpy wipes; what it allocates for secrets it wipes itself. Buffers
 * have any alignment, and one of 0 bytes may be NULL. Outputs do not overlap inputs, but for what is
 * said to be in place.
 *
 * An int result is 0, or -1 for what the comment says, or when the work cannot be done: there is
 * no memory, or a validated module has shut down. wgpy then uses nothing of the output, and the
 * message is dropped. No function gives another output than the right one.
 *
 * What stays wgpy's: the Noise handshake IKpsk2 with HMAC and HKDF, preshared keys of 32 bytes, time
 * stamps of 12, cookies, replay windows, timers, message types, indices and counters. Lengths follow
 * from the sizes: an initiation has 20 + 2 * public_size + 2 * tag_size + 2 * mac_size bytes, a
 * response 12 + public_size + tag_size + 2 * mac_size, a cookie reply 8 + cookie_nonce_size +
 * mac_size + cookie_tag_size, a packet 16 + tag_size beside its own, which zeros fill up to a
 * multiple of 16.
 */
#ifndef WGPY_SUITE_H
#define WGPY_SUITE_H

#include <stddef.h>
#include <stdint.h>

#define WGPY_SUITE_ABI 1u
#define WGPY_SUITE_SYMBOL "wgpy_suite" /* const struct wgpy_suite *wgpy_suite(void) */

enum { /* bytes; sizes outside these are refused */
    WGPY_NAME_MAX = 48, WGPY_LABEL_MAX = 255,    /* of the strings, their last zero not counted */
    WGPY_PUBLIC_MIN = 16, WGPY_PUBLIC_MAX = 256, /* also of private keys, shared secrets and entropy */
    WGPY_HASH_MIN = 32, WGPY_HASH_MAX = 64,
    WGPY_BLOCK_MAX = 256,                        /* of the hash function; at least hash_size */
    WGPY_KEY_MIN = 16, WGPY_KEY_MAX = 64,        /* of the AEADs; at most hash_size */
    WGPY_TAG_MIN = 12, WGPY_TAG_MAX = 32,
    WGPY_MAC_MIN = 16, WGPY_MAC_MAX = 32,
    WGPY_NONCE_MIN = 12, WGPY_NONCE_MAX = 32,    /* of the cookie's AEAD */
    WGPY_PACKET_MAX = 65535,                     /* of a plaintext */
    WGPY_BATCH_MAX = 256,                        /* packets that seal and open are given at once */
};

struct wgpy_part {
    const uint8_t *data;
    size_t size;
};

/* A packet of a batch, sealed or opened in place: `size` bytes of plaintext, then, or of
 * ciphertext before tag_size bytes of tag. Packets of a batch do not overlap. */
struct wgpy_packet {
    void *context;    /* of the packet's key and of the calling thread, from context_new */
    uint64_t counter; /* never twice under a key; the suite makes its nonce of it */
    uint8_t *data;
    uint32_t size;    /* 0 to WGPY_PACKET_MAX */
    uint32_t ok;      /* written: 1; or 0 when it could not be sealed, or its tag is wrong, and `data` then
                         holds no plaintext */
};

enum wgpy_function { /* what a vector is of, and what its `in` are */
    WGPY_PRIVATE_OF = 1, /* entropy; out: private key, none when it makes none */
    WGPY_PUBLIC_OF,      /* private key; out: public key, none when it is not a private key */
    WGPY_DH,             /* private key, public key; out: shared secret, none when it has to be refused */
    WGPY_HASH,           /* data */
    WGPY_HMAC,           /* key, data: HMAC as wgpy makes it of `hash` and hash_block */
    WGPY_MAC,            /* key, data */
    WGPY_SEAL,           /* key, additional data, plaintext; out: ciphertext and tag */
    WGPY_COOKIE_SEAL,    /* key, nonce, additional data, plaintext; out: ciphertext and tag */
};

/* A known answer. What is sealed is also opened again; without additional data it is sealed by
 * `seal` and by seal_one. */
struct wgpy_vector {
    uint32_t function;
    uint64_t counter;   /* of WGPY_SEAL */
    struct wgpy_part in[4], out;
    const char *source; /* where it is published */
};

struct wgpy_suite {
    uint32_t abi;           /* WGPY_SUITE_ABI */
    uint32_t table_size;    /* sizeof(struct wgpy_suite) */
    const char *name;       /* lower case letters, digits and '-'; not "wireguard" */
    const char *noise;      /* the Noise protocol name; its hash is the initial chaining key */
    const char *identifier; /* the prologue of every handshake; no other suite may have both */
    uint32_t entropy_size;  /* random bytes of which a private key is made */
    uint32_t private_size, public_size, shared_size;
    uint32_t hash_size, hash_block;
    uint32_t key_size;      /* of the AEAD: so many bytes of an output of HKDF, the first */
    uint32_t tag_size;      /* of the AEAD */
    uint32_t mac_size;      /* of MAC1, MAC2 and cookie */
    uint32_t cookie_key_size, cookie_nonce_size, cookie_tag_size;

    /* -1: these bytes make no key, and others are drawn. */
    int (*private_key)(const uint8_t *entropy, uint8_t *private_key);
    /* -1: not a private key. Public keys that differ are different peers, so each has one form. */
    int (*public_key)(const uint8_t *private_key, uint8_t *public_key);
    /* -1: the public key is no valid point, of low order, or not in that form. */
    int (*dh)(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared);
    /* Of the parts, one behind the other. HMAC and HKDF are made of it. */
    int (*hash)(const struct wgpy_part *parts, size_t count, uint8_t *digest);
    /* Keyed, mac_size bytes; the key has hash_size or mac_size bytes. It judges every message of a flood of
     * handshakes, so it is better fast. */
    int (*mac)(const uint8_t *key, size_t key_size, const struct wgpy_part *parts, size_t count, uint8_t *mac);

    /* The AEAD of handshake and transport. A context, for one key, is all that may allocate; NULL: no
     * memory. Nothing of the key is left behind context_free. */
    void *(*context_new)(const uint8_t *key);
    void (*context_free)(void *context);
    /* 0 to WGPY_BATCH_MAX packets of any keys, without additional data. No allocation, no system call. */
    void (*seal)(struct wgpy_packet *packets, size_t count);
    void (*open)(struct wgpy_packet *packets, size_t count);
    /* In place as a packet, with additional data of at most hash_size bytes; if that is empty, the same
     * as `seal` and `open`. open_one: -1 also for a wrong tag. */
    int (*seal_one)(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size);
    int (*open_one)(void *context, uint64_t counter, struct wgpy_part additional, uint8_t *data, size_t size);

    /* The AEAD of cookie replies, with a random nonce, in place. wgpy gives mac_size bytes of plaintext and
     * as many of additional data; vectors may have others. cookie_open: -1 also for a wrong tag. */
    int (*cookie_seal)(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size);
    int (*cookie_open)(const uint8_t *key, const uint8_t *nonce, struct wgpy_part additional, uint8_t *data, size_t size);

    /* At least one of each function; wgpy runs them at each start. */
    const struct wgpy_vector *vectors;
    size_t vector_count;
    /* What else has to be well before keys are used, such as the self-test of a validated module;
     * NULL: nothing. It may wait and read files. -1 with a text, its zero within `size` bytes, in `why`. */
    int (*self_test)(char *why, size_t size);
};

#ifdef __cplusplus
extern "C"
#endif
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const struct wgpy_suite *wgpy_suite(void);

#endif
