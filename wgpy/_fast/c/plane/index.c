/* The table of indices. No lock: it is changed under the plane's write lock and read under a
 * read lock. */
#include "index.h"

#include <errno.h>
#include <stdlib.h>

int index_init(struct wg_index *x, uint32_t most)
{
    uint32_t places = 16;
    while (places < most * 4)
        places *= 2;
    x->mask = places - 1;
    x->place = calloc(places, sizeof *x->place);
    return x->place ? 0 : -ENOMEM;
}

void index_free(struct wg_index *x) { free(x->place); }

void index_add(struct wg_index *x, uint32_t local, uint32_t ref)
{
    uint32_t i = local & x->mask;
    while (x->place[i].ref)
        i = (i + 1) & x->mask;
    x->place[i] = (struct wg_index_place){local, ref};
}

/* By shifting back what follows: no place is left that means "removed". */
void index_remove(struct wg_index *x, uint32_t local, uint32_t ref)
{
    uint32_t mask = x->mask, hole = local & mask;
    while (x->place[hole].ref && x->place[hole].ref != ref)
        hole = (hole + 1) & mask;
    if (!x->place[hole].ref)
        return;
    for (uint32_t i = (hole + 1) & mask; x->place[i].ref; i = (i + 1) & mask) {
        uint32_t home = x->place[i].local & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            x->place[hole] = x->place[i];
            hole = i;
        }
    }
    x->place[hole] = (struct wg_index_place){0};
}
