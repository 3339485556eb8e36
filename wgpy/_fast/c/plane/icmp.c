/* Owns nothing; a bucket is guarded by whoever keeps it: the plane's by the lock of `to_tun`. */
#include "icmp.h"
#include "core/ip.h"

enum { ICMP4_MAX = 576, ICMP_HEADER = 8, HOP_LIMIT = 64, PRECEDENCE_INTERNET_CONTROL = 0xc0 };

static bool answerable4(const struct wg_ip *ip, const uint8_t *p, uint32_t len)
{
    uint8_t from = ip->src[0], to = ip->dst[0];
    if (from == 0 || from == 127 || from >= 224 || to == 0 || to == 127 || to >= 224)
        return false;
    if (get_be16(p + 6) & 0x1fff)
        return false;
    if (ip->proto != IP_ICMP)
        return true;
    if (len <= ip->header_len)
        return false;
    uint8_t type = p[ip->header_len];
    return !(type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

static bool single_host6(const uint8_t *a)
{
    static const uint8_t zero[15];
    return a[0] != 0xff && !(memcmp(a, zero, 15) == 0 && a[15] <= 1);
}

static bool answerable6(const struct wg_ip *ip, const uint8_t *p, uint32_t len)
{
    enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION = 60, REDIRECT = 137 };
    uint32_t at = ip->header_len;
    uint8_t next = ip->proto;
    if (!single_host6(ip->src) || !single_host6(ip->dst))
        return false;
    while (next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == AUTHENTICATION ||
           next == DESTINATION) {
        if (at + 8 > len || (next == FRAGMENT && get_be16(p + at + 2) & 0xfff8))
            return false;
        uint32_t size = next == FRAGMENT ? 8 : next == AUTHENTICATION ? (p[at + 1] + 2u) * 4 : (p[at + 1] + 1u) * 8;
        next = p[at];
        at += size;
    }
    if (next != IP_ICMPV6)
        return true;
    return at < len && p[at] >= 128 && p[at] != REDIRECT;
}

uint32_t icmp_unreachable(uint8_t *out, uint32_t cap, const uint8_t *packet, uint32_t len,
                          const uint8_t *src_or_null)
{
    struct wg_ip ip;
    if (!ip_parse(packet, len, &ip) || ip.total_len > len)
        return 0;
    len = ip.total_len;
    bool v4 = ip.version == 4;
    if (!(v4 ? answerable4(&ip, packet, len) : answerable6(&ip, packet, len)))
        return 0;
    uint32_t header = (v4 ? 20 : 40) + ICMP_HEADER, most = v4 ? ICMP4_MAX : ICMP_MAX;
    uint32_t total = header + len < most ? header + len : most;
    size_t address = v4 ? 4 : 16;
    if (total > cap)
        return 0;

    const uint8_t *src = src_or_null ? src_or_null : ip.dst;
    uint8_t *icmp = out + header - ICMP_HEADER;
    memset(out, 0, header);
    memcpy(out + header, packet, total - header);
    if (v4) {
        out[0] = 0x45;
        out[1] = PRECEDENCE_INTERNET_CONTROL;
        put_be16(out + 2, (uint16_t)total);
        out[6] = 0x40;
        out[8] = HOP_LIMIT;
        out[9] = IP_ICMP;
        memcpy(out + 12, src, address);
        memcpy(out + 16, ip.src, address);
        ip4_set_checksum(out, 20);
        icmp[0] = 3;
        icmp[1] = 1;
        put_be16(icmp + 2, csum_finish(csum_add(0, icmp, total - 20)));
        return total;
    }
    out[0] = 0x60;
    put_be16(out + 4, (uint16_t)(total - 40));
    out[6] = IP_ICMPV6;
    out[7] = HOP_LIMIT;
    memcpy(out + 8, src, address);
    memcpy(out + 24, ip.src, address);
    icmp[0] = 1;
    icmp[1] = 3;
    struct wg_ip own = {.version = 6, .src = out + 8, .dst = out + 24};
    put_be16(icmp + 2, csum_finish(csum_add(csum_pseudo(&own, IP_ICMPV6, total - 40), icmp, total - 40)));
    return total;
}

bool icmp_allow(struct icmp_bucket *k, uint64_t now)
{
    const uint64_t cost = WG_SECOND / ICMP_PER_SECOND, full = cost * ICMP_BURST;
    uint64_t gained = now > k->last ? now - k->last : 0;
    k->credit = gained >= full - k->credit ? full : k->credit + gained;
    k->last = now;
    if (k->credit < cost)
        return false;
    k->credit -= cost;
    return true;
}
