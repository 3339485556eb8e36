/* The process's allocator, watched. With a sanitizer it is the sanitizer's, and `watched` is false. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const bool watched;
/* Calls of malloc and its kin, by all threads. */
extern _Atomic unsigned long allocations;
/* While `on`, what blocks hold when they are freed is put behind what is there of others at `place`,
 * which has room for `size` bytes, the first `kept` of them taken. */
struct freed {
    uint8_t *place;
    size_t size, kept;
};
void keep_freed(struct freed *, bool on);

#endif
