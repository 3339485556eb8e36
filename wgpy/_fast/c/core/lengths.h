/* How long messages are: their keys, tags and MACs have the sizes of the suite. Who knows no cipher
 * knows these. */
#ifndef WG_LENGTHS_H
#define WG_LENGTHS_H

#include "wg.h"

struct wg_lengths {
    uint32_t initiation, response, cookie_reply; /* whole */
    uint32_t overhead;                           /* of a transport message, beside its payload */
};

/* The type of a datagram that has the form of a message of ours, with the three reserved bytes;
 * else 0. */
static inline uint32_t message_type(const struct wg_lengths *lengths, const uint8_t *d, uint32_t len)
{
    uint32_t type = len >= 4 ? get_le32(d) : 0;
    if (type == WG_TRANSPORT)
        return len >= lengths->overhead ? type : 0;
    switch (type) {
    case WG_INITIATION: return len == lengths->initiation ? type : 0;
    case WG_RESPONSE: return len == lengths->response ? type : 0;
    case WG_COOKIE_REPLY: return len == lengths->cookie_reply ? type : 0;
    default: return 0;
    }
}

#endif
