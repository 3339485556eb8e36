/* Receiver indices of all keypairs and initiations: open addressing, linear probing. */
#ifndef WG_INDEX_H
#define WG_INDEX_H

#include <stdint.h>

struct wg_index_place {
    uint32_t local;
    uint32_t ref; /* whose index it is, the caller's to say; 0: free place */
};
struct wg_index {
    struct wg_index_place *place;
    uint32_t mask;
};

int index_init(struct wg_index *, uint32_t most); /* 0 or -ENOMEM */
void index_free(struct wg_index *);
void index_add(struct wg_index *, uint32_t local, uint32_t ref);
void index_remove(struct wg_index *, uint32_t local, uint32_t ref);

/* 0: nobody's. */
static inline uint32_t index_find(const struct wg_index *x, uint32_t local)
{
    uint32_t i = local & x->mask;
    while (x->place[i].ref && x->place[i].local != local)
        i = (i + 1) & x->mask;
    return x->place[i].ref;
}

#endif
