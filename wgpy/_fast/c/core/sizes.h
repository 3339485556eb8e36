/* Every fixed size of the packet path, its message types and the protocol's times stand here. */
#ifndef WG_SIZES_H
#define WG_SIZES_H

#include <stdint.h>

enum {
    WG_BATCH_PACKETS = 256,         /* packets in one batch */
    WG_BATCH_BYTES = 256 * 1024,    /* bytes in one batch */
    WG_SEGMENTS_MAX = 64,           /* UDP_MAX_SEGMENTS: datagrams in one GSO send */
    WG_DATAGRAM_MAX = 65507,        /* bytes in one send, GSO or not */
    WG_HEADER = 16,                 /* type, receiver, counter */
    WG_TIMESTAMP = 12,
    WG_TAG = 16,                    /* WireGuard's, as WG_KEY and the lengths below; lengths.h is for any suite */
    WG_OVERHEAD = WG_HEADER + WG_TAG,
    WG_HEADROOM = 16,               /* bytes free in front of each packet of a batch */
    WG_TAILROOM = 32,               /* bytes free behind it, rounded up to 16: for the longest tag */
    WG_PACKET_MAX = 65535,
    WG_KEY = 32,
    WG_KEY_MAX = 64,                /* of any suite */
    WG_MAC_MAX = 32,
    WG_HASH_MAX = 64,
    WG_COOKIE_REPLY_MAX = 104,
    WG_HANDSHAKE_MAX = 672,         /* an initiation, rounded up */
    WG_STAGED_PACKETS = 128,        /* per peer; the oldest is dropped */
    WG_REPLAY_BITS = 8192,
    WG_LANE_BYTES = 1344,           /* largest datagram or packet a lane carries */
    WG_LANE_SLOTS = 256,
    WG_REPLY_SLOTS = 256,           /* cookie replies that wait to be sent */
    WG_REPLIES_KNOWN = 32,          /* of them: only for where a peer is, or was */
    WG_REPLIES_A_NET = 64,          /* and an IPv4 /16 or IPv6 /32 has so many */
    WG_REPLIES_A_SOURCE = 32,       /* what a batch takes */
    WG_REPLIES_A_PORT = 4,          /* and of these */
    WG_REPLY_SOURCES = 8192,        /* and nets, and ports, that are told apart: more than any flood fills */
    WG_HANDSHAKE_SLOTS = 1024,
    WG_COOKIE_SLOTS = 64,           /* cookie replies that wait for the core */
    WG_QUEUES_MAX = 16,
    WG_FULL = 1024,                 /* all the room that a sink has */
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

#endif
