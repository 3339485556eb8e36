/* As much of upstream's interface as the clock uses. */
#ifndef STUB_LTIMER_H
#define STUB_LTIMER_H

#include <stdint.h>

typedef enum { TIMEOUT_ABSOLUTE, TIMEOUT_PERIODIC, TIMEOUT_RELATIVE } timeout_type_t;
typedef struct {
    int nothing;
} ps_io_ops_t;
typedef void (*ltimer_callback_fn_t)(void *token, int event);
typedef struct {
    int (*get_time)(void *data, uint64_t *time);
    int (*set_timeout)(void *data, uint64_t ns, timeout_type_t type);
    void *data;
} ltimer_t;

#endif
