/* Allowed IPs: longest-prefix match, one owner a prefix, IPv4 and IPv6 apart
 * (a path-compressed binary trie as in the Linux module's allowedips.c). All nodes
 * come from one pool that is fixed at creation. Lookups may run beside each other;
 * a writer needs the plane's write lock. */
#ifndef WG_TRIE_H
#define WG_TRIE_H

#include "core/wg.h"

struct wg_trie;

/* A trie for at most `prefixes` prefixes; NULL when there is no memory. The pool is
 * reserved, not touched, so that an empty trie costs no resident memory. */
struct wg_trie *trie_new(uint32_t prefixes);
void trie_free(struct wg_trie *);

/* `family` is 4 or 6; `addr` has 4 or 16 bytes; bits behind `cidr` are ignored.
 * Adding a prefix that another peer owns moves it. 0, -EINVAL (family, cidr or peer
 * WG_NO_PEER) or -ENOSPC. */
int trie_insert(struct wg_trie *, int family, const uint8_t *addr, unsigned cidr, uint32_t peer);
/* Removes the exact prefix if `peer` owns it. 0, -EINVAL or -ENOENT. */
int trie_remove(struct wg_trie *, int family, const uint8_t *addr, unsigned cidr, uint32_t peer);
/* Visits the whole pool in use, not the peer's prefixes alone. */
void trie_remove_peer(struct wg_trie *, uint32_t peer);
/* Owner of the longest prefix that holds `addr`, or WG_NO_PEER. */
uint32_t trie_lookup(const struct wg_trie *, int family, const uint8_t *addr);

/* Calls `each` for every prefix of `peer` (all peers for WG_NO_PEER), sorted by
 * address then length, IPv4 first. `addr` has 16 bytes, unused ones zero. */
typedef void (*trie_each)(void *arg, int family, const uint8_t addr[16], unsigned cidr, uint32_t peer);
void trie_walk(const struct wg_trie *, uint32_t peer, trie_each each, void *arg);
/* Another number after every change. */
uint32_t trie_version(const struct wg_trie *);
/* Prefixes now in the trie. */
uint32_t trie_count(const struct wg_trie *);

#endif
