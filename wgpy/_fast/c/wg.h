/* Shared vocabulary of the packet path: sizes, byte order, atomics. No Python.h
 * anywhere in this directory: the same files run under sanitizers, fuzzers and in
 * guests of any libc, on x86-64, i686 and arm64. */
#ifndef WG_H
#define WG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every fixed size of the packet path stands here. */
enum {
    WG_BATCH_PACKETS = 256,         /* packets in one batch */
    WG_BATCH_BYTES = 256 * 1024,    /* bytes in one batch */
    WG_SEGMENTS_MAX = 64,           /* UDP_MAX_SEGMENTS: datagrams in one GSO send */
    WG_DATAGRAM_MAX = 65507,        /* bytes in one send, GSO or not */
    WG_HEADER = 16,                 /* type, receiver, counter */
    WG_TAG = 16,
    WG_OVERHEAD = WG_HEADER + WG_TAG,
    WG_HEADROOM = 16,               /* bytes free in front of each packet of a batch */
    WG_TAILROOM = 32,               /* bytes free behind it: 15 of padding, 16 of tag */
    WG_PACKET_MAX = 65535,
    WG_KEY = 32,
    WG_STAGED_PACKETS = 128,        /* per peer; the oldest is dropped */
    WG_REPLAY_BITS = 8192,
    WG_LANE_BYTES = 1344,           /* largest datagram or packet a lane carries */
    WG_LANE_SLOTS = 256,
    WG_REPLY_SLOTS = 256,           /* cookie replies that wait to be sent */
    WG_REPLIES_A_SOURCE = 32,       /* of them: what a batch takes */
    WG_REPLY_SOURCES = 1024,        /* that are told apart */
    WG_HANDSHAKE_SLOTS = 1024,
    WG_COOKIE_SLOTS = 64,           /* cookie replies that wait for the core */
    WG_QUEUES_MAX = 16,
    WG_FULL = 256,                  /* all the room that a sink has */
};

#define WG_NO_PEER UINT32_MAX

/* message types, first byte of a datagram; three zero bytes follow */
enum { WG_INITIATION = 1, WG_RESPONSE = 2, WG_COOKIE_REPLY = 3, WG_TRANSPORT = 4 };
enum { WG_INITIATION_LEN = 148, WG_RESPONSE_LEN = 92, WG_COOKIE_REPLY_LEN = 64 };

enum { WG_HANDSHAKE_TOS = 0x88 }; /* DSCP AF41 */

#define WG_SECOND UINT64_C(1000000000)
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13)) /* 2^64 - 2^13 - 1 */
#define WG_REKEY_AFTER_TIME (120 * WG_SECOND)
#define WG_REJECT_AFTER_TIME (180 * WG_SECOND)
#define WG_REKEY_RECEIVE_TIME (165 * WG_SECOND) /* reject - keepalive timeout - rekey timeout */
#define WG_REKEY_TIMEOUT (5 * WG_SECOND)
#define WG_REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)

static inline uint16_t get_be16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t get_be32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline uint32_t get_le32(const uint8_t *p)
{
    return ((uint32_t)p[3] << 24) | ((uint32_t)p[2] << 16) | ((uint32_t)p[1] << 8) | p[0];
}
static inline uint64_t get_le64(const uint8_t *p)
{
    return ((uint64_t)get_le32(p + 4) << 32) | get_le32(p);
}
static inline void put_be16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; }
static inline void put_be32(uint8_t *p, uint32_t v)
{
    put_be16(p, (uint16_t)(v >> 16));
    put_be16(p + 2, (uint16_t)v);
}
static inline void put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); p[2] = (uint8_t)(v >> 16); p[3] = (uint8_t)(v >> 24);
}
static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline uint32_t round16(uint32_t n) { return (n + 15u) & ~15u; }

/* Counters are written by one thread and read by others without a lock. */
typedef _Atomic uint64_t wg_counter;
static inline void count(wg_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline uint64_t counted(const wg_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* Wipes secrets; the barrier keeps the compiler from dropping the store. */
static inline void wipe(void *p, size_t n)
{
    memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

#endif
