/* From a descriptor to a table. */
#include "suite.h"

#include <dlfcn.h>
#include <stdio.h>

bool suite_load(struct wg_suite *s, int fd, struct wg_suite_fault *fault)
{
    char path[40];
    union { void *symbol; const struct wgpy_suite *(*call)(void); } table; /* as POSIX has it */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return suite_fault(fault, WG_SUITE_unloadable, "%s", dlerror());
    table.symbol = dlsym(library, WGPY_SUITE_SYMBOL);
    if (!table.symbol)
        return suite_fault(fault, WG_SUITE_symbol, "%s", "");
    return suite_from(s, table.call(), fault);
}
