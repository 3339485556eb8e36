/* The clock of the time server on arm, after each of these seconds: prints what goes wrong. */
#include <errno.h>
#include <stdio.h>

#include <platsupport/arch/generic_timer.h>
#include <platsupport/ltimer.h>

uint64_t stub_ticks, stub_compare;
static int no_timer;

int __real_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie);
int __wrap_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie);

int __real_ltimer_default_init(ltimer_t *ltimer, ps_io_ops_t ops, ltimer_callback_fn_t callback, void *cookie)
{
    (void)ltimer, (void)ops, (void)callback, (void)cookie;
    return no_timer;
}

static void wrong(const char *what, uint64_t second, uint64_t is)
{
    printf("%s after %llu s: %llu\n", what, (unsigned long long)second, (unsigned long long)is);
}

int main(void)
{
    const uint64_t seconds[] = {0, 1, 294, 295, 296, 600, 295147, 295148, 100000000}, hz = generic_timer_get_freq();
    ltimer_t timer = {0};

    no_timer = 5;
    if (__wrap_ltimer_default_init(&timer, (ps_io_ops_t){0}, NULL, NULL) != 5 || timer.get_time != NULL)
        printf("a timer that is not there\n");
    no_timer = 0;
    if (__wrap_ltimer_default_init(&timer, (ps_io_ops_t){0}, NULL, NULL) != 0)
        printf("a timer that is there\n");
    for (unsigned i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        uint64_t second = seconds[i], now = 0;

        stub_ticks = second * hz + 5;
        timer.get_time(NULL, &now);
        if (now != second * 1000000000 + 80)
            wrong("time", second, now);
        if (timer.set_timeout(NULL, now + 500000000, TIMEOUT_ABSOLUTE) || stub_compare != stub_ticks + hz / 2)
            wrong("absolute", second, stub_compare);
        stub_compare = 0;
        if (timer.set_timeout(NULL, 500000000, TIMEOUT_RELATIVE) || stub_compare != stub_ticks + hz / 2)
            wrong("relative", second, stub_compare);
        stub_compare = 7;
        if (timer.set_timeout(NULL, now - 1, TIMEOUT_ABSOLUTE) != ETIME || stub_compare != 7)
            wrong("past", second, stub_compare);
    }
    if (timer.set_timeout(NULL, 1, TIMEOUT_PERIODIC) != ENOSYS)
        printf("a period\n");
    return 0;
}
