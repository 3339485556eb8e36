#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
const bool watched = false;
_Atomic unsigned long allocations;
void keep_freed(struct freed *f, bool on) { (void)f, (void)on; }
#else
/* The program's definitions are those that libraries find; the C library's own have these names. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

const bool watched = true;
_Atomic unsigned long allocations;
static struct freed *freed;

void keep_freed(struct freed *f, bool on)
{
    freed = on ? f : NULL;
}

static void keep(const struct freed *f, void *block)
{
    size_t size = block ? malloc_usable_size(block) : 0;

    size = size < f->size - f->kept ? size : f->size - f->kept;
    memcpy(f->place + f->kept, block, size);
    freed->kept += size;
}

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocations++;
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    *block = memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

void free(void *block)
{
    if (freed)
        keep(freed, block);
    __libc_free(block);
}
#endif
