/* Invariant: known answers of whatever function, with whatever sizes and pointers of them are NULL, are
 * run or refused without touching a byte beside the buffers that each function has. */
#include "fuzz.h"
#include "toy_suite.h"
#include "suite/suite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct wgpy_suite table = toy_suite();
    struct wg_suite_fault fault = {0};
    static struct wg_suite suite;
    CHECK(suite_from(&suite, &table, &fault) && suite_known_answers(&suite.table, &fault));
    while (in.left) {
        struct wgpy_vector *v = &toy_vectors[take(&in) % toy_made];
        struct wgpy_part *part = take(&in) % 5 ? &v->in[take(&in) % 4] : &v->out;
        switch (take(&in) % 5) {
        case 0: v->function = take(&in) % 12; break;
        case 1: part->size = take(&in) % 101; break;
        case 2: part->size = SIZE_MAX >> take(&in) % 40; break;
        case 3: v->counter = take(&in); break;
        default: part->data = take(&in) & 1 ? NULL : toy_in[take(&in) % 4]; break;
        }
    }
    bool good = suite_known_answers(&suite.table, &fault);
    CHECK(good || (fault.check && memchr(fault.detail, 0, sizeof fault.detail)));
    return 0;
}
