/* The bounded queue: order, bounds and what is forgotten, wherever in the ring it begins. */
#include "check.h"
#include "core/queue.h"

#include <errno.h>

enum { SLOTS = 5 };

struct entry {
    uint32_t number, key;
};

static bool put(struct wg_queue *q, uint32_t number)
{
    struct entry *e = queue_put_begin(q);
    if (!e)
        return false;
    *e = (struct entry){number, number % 3};
    queue_put_end(q);
    return true;
}

static uint32_t take(struct wg_queue *q)
{
    struct entry e;
    return queue_take(q, &e) ? e.number : UINT32_MAX;
}

static bool has_key(const void *entry, uint32_t key) { return ((const struct entry *)entry)->key == key; }

static void from(uint32_t first)
{
    struct wg_queue q;
    CHECK(!queue_init(&q, SLOTS, sizeof(struct entry)));
    for (uint32_t i = 0; i < first; i++)
        CHECK(put(&q, 0) && take(&q) == 0);
    CHECK(take(&q) == UINT32_MAX && !queue_peek(&q) && queue_depth(&q) == 0);
    for (uint32_t i = 1; i <= SLOTS; i++)
        CHECK(put(&q, i) && queue_depth(&q) == i);
    CHECK(!put(&q, 6) && queue_depth(&q) == SLOTS);
    CHECK(((const struct entry *)queue_peek(&q))->number == 1);
    queue_pop(&q);
    CHECK(put(&q, 6)); /* 2 3 4 5 6, keys 2 0 1 2 0 */
    CHECK(queue_forget(&q, has_key, 2) == 2 && queue_depth(&q) == 3 && queue_forget(&q, has_key, 2) == 0);
    CHECK(put(&q, 7) && put(&q, 8) && !put(&q, 9));
    const uint32_t left[] = {3, 4, 6, 7, 8};
    for (uint32_t i = 0; i < SLOTS; i++)
        CHECK(take(&q) == left[i]);
    CHECK(take(&q) == UINT32_MAX);
    queue_free(&q);
    queue_free(&q); /* nothing is left of it */
}

int main(void)
{
    for (uint32_t first = 0; first <= SLOTS; first++)
        from(first);
    return 0;
}
