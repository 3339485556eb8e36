/* One message of a handshake: a context is made for it, and nothing of the key is left. */
#include "suite.h"

#include <errno.h>

#include "core/burn.h"

int suite_once(const struct wgpy_suite *t, const uint8_t *key, uint64_t counter, struct wgpy_part additional, uint8_t *data,
               size_t size, bool seals)
{
    void *context = t->context_new(key);
    int ret = context ? (seals ? t->seal_one : t->open_one)(context, counter, additional, data, size) : -ENOMEM;
    if (context)
        t->context_free(context);
    burn_stack();
    return !ret ? 0 : !context || seals ? -ENOMEM : -EBADMSG;
}
