/* Cuts what one read of the TUN gave. Owns nothing and locks nothing: where it stopped stands in the
 * caller's wg_split. */
#include "offload.h"
#include "core/ip.h"

_Static_assert(sizeof(struct wg_vnet) == VNET_LEN, "struct virtio_net_hdr");

enum { HOP_BY_HOP = 0, ROUTING = 43, DESTINATION = 60 };
enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

/* A super-packet whose headers and virtio header agree. */
struct super {
    uint8_t version;
    bool tcp;
    uint32_t ip_header, l4, header; /* IP header length, transport header, payload */
    uint32_t check;                 /* the checksum field */
    uint64_t pseudo;                /* pseudo-header sum for a transport length of 0 */
};

static bool refuse(struct wg_batch *b, enum wg_drop why)
{
    count(&b->drops[why], 1);
    return true;
}

/* A sum of 0 is sent as 0xffff: the same number, and UDP reads 0 as "none". */
static void put_checksum(uint8_t *p, uint64_t sum)
{
    uint16_t c = csum_finish(sum);
    put_be16(p, c ? c : 0xffff);
}

static bool place_whole(struct wg_split *s, uint32_t len, uint32_t ip_header, struct wg_batch *b)
{
    uint32_t start = s->h.csum_start, check = start + s->h.csum_offset;
    bool needs = s->h.flags & VNET_NEEDS_CSUM;
    if (needs && (start < ip_header || check + 2 > len))
        return refuse(b, WG_DROP_malformed_offload);
    if (!batch_has_room(b, 1, len))
        return false;
    uint8_t *out = b->bytes + batch_append(b, len)->off;
    if (!needs) {
        memcpy(out, s->packet, len);
        return true;
    }
    memcpy(out, s->packet, start);
    put_checksum(out + check, csum_copy(0, out + start, s->packet + start, len - start));
    return true;
}

/* Where the transport header is, behind the IPv6 extension headers that every segment
 * may carry; 0 when there is none of that protocol. */
static uint32_t find_l4(const struct wg_split *s, const struct wg_ip *ip, uint8_t proto)
{
    uint32_t at = ip->header_len;
    uint8_t next = ip->proto;
    while (ip->version == 6 && (next == HOP_BY_HOP || next == ROUTING || next == DESTINATION)) {
        if (at + 8 > s->len)
            return 0;
        next = s->packet[at];
        at += 8u + s->packet[at + 1] * 8u;
    }
    return next == proto ? at : 0;
}

static bool examine(const struct wg_split *s, const struct wg_ip *ip, struct super *u)
{
    uint8_t type = s->h.gso_type & (uint8_t)~VNET_GSO_ECN;
    uint32_t l4, header_len;
    u->tcp = type == VNET_GSO_TCP4 || type == VNET_GSO_TCP6;
    if ((!u->tcp && type != VNET_GSO_UDP_L4) || (type == VNET_GSO_TCP4 && ip->version != 4) ||
        (type == VNET_GSO_TCP6 && ip->version != 6))
        return false;
    if (ip->total_len != s->len || ip->fragment || s->h.gso_size == 0)
        return false;
    l4 = find_l4(s, ip, u->tcp ? IP_TCP : IP_UDP);
    if (!(s->h.flags & VNET_NEEDS_CSUM) || l4 == 0 || s->h.csum_start != l4 ||
        s->h.csum_offset != (u->tcp ? 16 : 6) || l4 + (u->tcp ? 20 : 8) > s->len)
        return false;
    header_len = u->tcp ? (uint32_t)(s->packet[l4 + 12] >> 4) * 4 : 8;
    if ((u->tcp && header_len < 20) || l4 + header_len >= s->len)
        return false;
    u->version = ip->version;
    u->ip_header = ip->header_len;
    u->l4 = l4;
    u->header = l4 + header_len;
    u->check = l4 + s->h.csum_offset;
    u->pseudo = csum_be16(csum_be16(0, get_be16(s->packet + u->check)), (uint16_t)~(s->len - l4));
    return true;
}

/* Writes the segment of `size` payload bytes at s->done. */
static void segment(const struct wg_split *s, const struct super *u, uint8_t *out, uint32_t size)
{
    uint32_t len = u->header + size;
    uint64_t sum = csum_be16(u->pseudo, (uint16_t)(len - u->l4));
    uint8_t *l4 = out + u->l4;
    bool last = u->header + s->done + size == s->len;

    memcpy(out, s->packet, u->header);
    sum = csum_copy(sum, out + u->header, s->packet + u->header + s->done, size);
    if (u->version == 4) {
        put_be16(out + 2, (uint16_t)len);
        put_be16(out + 4, (uint16_t)(get_be16(out + 4) + s->done / s->h.gso_size));
        ip4_set_checksum(out, u->ip_header);
    } else {
        put_be16(out + 4, (uint16_t)(len - 40));
    }
    if (u->tcp) {
        put_be32(l4 + 4, get_be32(l4 + 4) + s->done);
        if (!last)
            l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
        if (s->done)
            l4[13] &= (uint8_t)~TCP_CWR;
    } else {
        put_be16(l4 + 4, (uint16_t)(len - u->l4));
    }
    put_be16(out + u->check, 0);
    put_checksum(out + u->check, csum_add(sum, l4, u->header - u->l4));
}

bool split(struct wg_split *s, struct wg_batch *b)
{
    struct wg_ip ip;
    struct super u;
    if (s->len > WG_PACKET_MAX || !ip_parse(s->packet, s->len, &ip) || ip.total_len > s->len)
        return refuse(b, WG_DROP_malformed_ip);
    if (s->h.gso_type == VNET_GSO_NONE)
        return place_whole(s, ip.total_len, ip.header_len, b);
    if (!examine(s, &ip, &u))
        return refuse(b, WG_DROP_malformed_offload);
    while (s->done < s->len - u.header) {
        uint32_t left = s->len - u.header - s->done;
        uint32_t size = left < s->h.gso_size ? left : s->h.gso_size;
        if (!batch_has_room(b, 1, u.header + size))
            return false;
        segment(s, &u, b->bytes + batch_append(b, u.header + size)->off, size);
        s->done += size;
    }
    return true;
}
