/* The suite of toy_suite.h as a library: its text is all that it needs of wgpy. -DSLY: a table that
 * is refused. */
#include "toy_suite.h"

const struct wgpy_suite *wgpy_suite(void)
{
    static struct wgpy_suite table;
    table = toy_suite();
#ifdef SLY
    table.tag_size = 64;
#endif
    return &table;
}
