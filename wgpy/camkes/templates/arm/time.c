/*
 * The clock of upstream's time server multiplies nanoseconds by the timer's frequency in 64 bits. At QEMU's 62.5 MHz
 * that overflows 295 s after the start; from then on each time to wait for is past, and the server serves an interrupt
 * without end, above every guest. Here nothing overflows. The linker puts it in the place of ltimer_default_init.
 */
#include <errno.h>
#include <platsupport/arch/generic_timer.h>
#include <platsupport/ltimer.h>

#define SECOND 1000000000ull /* ns */

static int get_time(void *data, uint64_t *time)
{
    uint64_t ticks = generic_timer_get_ticks(), frequency = generic_timer_get_freq();

    *time = ticks / frequency * SECOND + ticks % frequency * SECOND / frequency;
    return 0;
}

static int set_timeout(void *data, uint64_t ns, timeout_type_t type)
{
    uint64_t now, frequency = generic_timer_get_freq();

    if (type == TIMEOUT_PERIODIC) {
        return ENOSYS; /* the time server makes periods of single times */
    }
    get_time(data, &now);
    if (type == TIMEOUT_RELATIVE) {
        ns += now;
    }
    if (now > ns) {
        return ETIME;
    }
    generic_timer_set_compare(ns / SECOND * frequency + ns % SECOND * frequency / SECOND);
    return 0;
}

int __real_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie);
int __wrap_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie);

int __wrap_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie)
{
    int err = __real_ltimer_default_init(ltimer, ops, callback, cookie);

    if (!err) {
        ltimer->get_time = get_time;
        ltimer->set_timeout = set_timeout;
    }
    return err;
}
