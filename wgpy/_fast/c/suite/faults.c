/* The words for what is wrong with a library. */
#include "faults.h"

#include <stdarg.h>
#include <stdio.h>

const char *suite_fault_name(enum wg_suite_check check)
{
    static const char *const names[] = {
        "good",
#define X(name, text) #name,
        WG_SUITE_FAULTS(X)
#undef X
    };
    return names[check];
}

const char *suite_fault_text(enum wg_suite_check check)
{
    static const char *const texts[] = {
        "",
#define X(name, text) text,
        WG_SUITE_FAULTS(X)
#undef X
    };
    return texts[check];
}

bool suite_fault(struct wg_suite_fault *fault, enum wg_suite_check check, const char *detail, ...)
{
    va_list arguments;
    va_start(arguments, detail);
    fault->check = check;
    vsnprintf(fault->detail, sizeof fault->detail, detail, arguments);
    va_end(arguments);
    return false;
}
