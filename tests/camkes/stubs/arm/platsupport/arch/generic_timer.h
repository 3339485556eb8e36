/* The timer of a processor as it is at QEMU, its registers variables. */
#ifndef STUB_GENERIC_TIMER_H
#define STUB_GENERIC_TIMER_H

#include <stdint.h>

extern uint64_t stub_ticks, stub_compare;

static inline uint64_t generic_timer_get_ticks(void)
{
    return stub_ticks;
}

static inline uint32_t generic_timer_get_freq(void)
{
    return 62500000;
}

static inline void generic_timer_set_compare(uint64_t ticks)
{
    stub_compare = ticks;
}

#endif
