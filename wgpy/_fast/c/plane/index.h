/* Indices of keypairs and initiations, ours, or those that peers gave us: open addressing, linear
 * probing. */
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

/* The refs of one index in turn, then 0; `at` is the index at first. */
static inline uint32_t index_next(const struct wg_index *x, uint32_t local, uint32_t *at)
{
    uint32_t i = *at & x->mask;
    while (x->place[i].ref && x->place[i].local != local)
        i = (i + 1) & x->mask;
    *at = i + 1;
    return x->place[i].ref;
}

/* 0: nobody's. */
static inline uint32_t index_find(const struct wg_index *x, uint32_t local)
{
    uint32_t at = local;
    return index_next(x, local, &at);
}

#endif
