/* Buffers that show whether a function wrote beside them. */
#ifndef WG_GUARDED_H
#define WG_GUARDED_H

#include "core/wg.h"

#include <stdlib.h>

enum { GUARD = 64, GUARD_BYTE = 0xa5 };

struct guarded {
    uint8_t *memory, *data; /* data: at any place but an aligned one */
    size_t size;
};

/* Filled with GUARD_BYTE all over; `data` is NULL without memory. */
static inline struct guarded guarded_new(size_t size)
{
    struct guarded g = {malloc(size + 2 * GUARD + 1), NULL, size};
    if (g.memory) {
        memset(g.memory, GUARD_BYTE, size + 2 * GUARD + 1);
        g.data = g.memory + GUARD + 1;
    }
    return g;
}

static inline bool guarded_intact(const struct guarded *g)
{
    uint8_t differs = 0;
    for (size_t i = 0; i < GUARD; i++)
        differs |= (uint8_t)(g->memory[i] ^ GUARD_BYTE) | (uint8_t)(g->data[g->size + i] ^ GUARD_BYTE);
    return !differs;
}

static inline void guarded_free(struct guarded *g)
{
    free(g->memory);
    *g = (struct guarded){0};
}

#endif
