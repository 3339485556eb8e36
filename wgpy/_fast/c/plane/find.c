/* What a local index stands for: a keypair of a peer, or an initiation that waits for its answer.
 * Owns nothing; whoever calls holds a lock of the plane, which guards its indices. */
#include "plane.h"

struct wg_keypair *plane_find(struct wg_plane *p, uint32_t local, uint32_t *slot)
{
    uint32_t ref = index_find(&p->index, local) - 1;
    if (ref == UINT32_MAX || ref % WG_REFS == WG_REF_AWAITED)
        return NULL;
    *slot = ref / WG_REFS;
    return &p->peer[ref / WG_REFS].keypair[ref % WG_REFS];
}

bool plane_knows(const struct wg_plane *p, uint32_t local) { return index_find(&p->index, local) != 0; }

uint8_t *plane_awaits(struct wg_plane *p, uint32_t local)
{
    uint32_t ref = index_find(&p->index, local) - 1;
    return ref == UINT32_MAX || ref % WG_REFS != WG_REF_AWAITED ? NULL : &p->peer[ref / WG_REFS].answers;
}
