/* Every reason for which the packet path drops a packet, in one place, and what it delivers
 * with a loss. The first
 * column is the name that users see (`wgpy show`, metrics), the last what it means. */
#ifndef WG_DROPS_H
#define WG_DROPS_H

#define WG_DROPS(X) \
    X(malformed_ip, "a packet from the TUN that is no well-formed IPv4 or IPv6") \
    X(malformed_offload, "a virtio-net header that contradicts its packet") \
    X(no_peer, "no peer owns the destination") \
    X(no_endpoint, "the peer has no known endpoint") \
    X(routing_loop, "a datagram of ours came back out of the TUN: the route to the peer's endpoint leads into the tunnel") \
    X(staged_oldest, "pushed out of a full staged queue") \
    X(staged_pool, "the shared staging pool is empty") \
    X(staged_purged, "the peer gave up its handshake or was removed") \
    X(message_limit, "the keypair's message counter is used up") \
    X(not_sealed, "the suite could not seal it") \
    X(too_big, "larger than one datagram can carry") \
    X(malformed_message, "a datagram that is no WireGuard message") \
    X(unknown_index, "no keypair has the receiver index") \
    X(expired_key, "the keypair is older than reject-after-time") \
    X(peer_share, "while more arrives than can be opened, more than the peer's share of it") \
    X(replayed, "counter seen before or behind the window") \
    X(bad_tag, "authentication failed") \
    X(inner_malformed, "decrypted to something that is no IP packet") \
    X(inner_length, "the IP length exceeds the decrypted bytes") \
    X(wrong_source, "the inner source is not among the peer's allowed IPs") \
    X(ecn_lost, "not a drop: the path marked CE a packet that cannot carry it, which was delivered unmarked") \
    X(truncated, "a datagram larger than the receive buffer") \
    X(unawaited, "a response or cookie reply to nothing that we sent") \
    X(bad_mac1, "a handshake message whose MAC1 is wrong: made for another key, or not by a peer") \
    X(cookie_demanded, "under load, without a valid cookie: was answered with one") \
    X(cookie_lane, "under load, without a valid cookie: too many wait to be answered") \
    X(handshake_copy, "under load, a copy of a message that was let in or got a cookie") \
    X(rate_limited, "under load, more handshake messages than a source is given") \
    X(cookie_replies, "more cookie replies than the core takes") \
    X(handshake_queue, "the queue of handshake messages is full") \
    X(lane_full, "the queue of injected packets is full") \
    X(tun_write, "the TUN refused the packet") \
    X(udp_send, "the UDP socket refused the datagram") \
    X(queue_full, "a memory port or ring is full") \
    X(ring_detached, "nobody is attached to the ring") \
    X(not_wireguard, "a datagram without the form of a WireGuard message") \
    X(ring_share, "the rest of the ring is kept for peers that crypto has answered") \
    X(ring_record, "a ring record that contradicts itself")

enum wg_drop {
#define X(name, text) WG_DROP_##name,
    WG_DROPS(X)
#undef X
    WG_DROP_COUNT
};

#endif
