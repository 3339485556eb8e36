/* usage: harness LIBRARY CHECK DESCRIPTOR   But for `table` the table has been looked at before: this trusts its sizes. */
#include "harness.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

const struct wgpy_suite *suite;
const char *volatile at = "loading";
int says = 2;
static int failures;

static void say(const char *kind, const char *format, va_list args)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%s ", kind);

    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    n = n < (int)sizeof line - 2 ? n : (int)sizeof line - 2;
    line[n++] = '\n';
    if (write(says, line, (size_t)n) != n)
        _exit(4);
}

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("fail", format, args);
    va_end(args);
    if (++failures == 8)
        _exit(1);
}

void note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("note", format, args);
    va_end(args);
}

void plainly(const char *kind, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(kind, format, args);
    va_end(args);
}

void figure(const char *name, double value)
{
    plainly("figure", "%s %.6g", name, value);
}

void give_up(const char *why)
{
    plainly("gave-up", "%s", why);
    _exit(5);
}

static void crashed(int signal)
{
    static const char *const names[] = {[SIGSEGV] = "SIGSEGV", [SIGBUS] = "SIGBUS", [SIGILL] = "SIGILL", [SIGFPE] = "SIGFPE",
                                        [SIGABRT] = "SIGABRT"};

    plainly("fail", "%s in %s", names[signal], at);
    _exit(1);
}

static const struct {
    const char *name;
    void (*check)(void);
} checks[] = {
    {"table", check_table}, {"vectors", check_vectors}, {"self-test", check_self_test}, {"keys", check_keys},
    {"points", check_points}, {"hash", check_hash}, {"mac", check_mac}, {"lengths", check_lengths},
    {"batches", check_batches}, {"forgeries", check_forgeries}, {"additional", check_additional}, {"cookie", check_cookie},
    {"bounds", check_bounds}, {"allocations", check_allocations}, {"calls", check_calls}, {"threads", check_threads},
    {"wiping", check_wiping}, {"process", check_process}, {"timing", check_timing}, {"secrets", check_secrets},
    {"speed", check_speed},
};

int main(int argc, char **argv)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    const struct wgpy_suite *(*get)(void);
    void *library;

    if (argc != 4)
        give_up("usage: harness LIBRARY CHECK DESCRIPTOR");
    says = atoi(argv[3]);
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &(struct sigaction){.sa_handler = crashed, .sa_flags = (int)SA_RESETHAND}, NULL);
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail("%s", dlerror());
    *(void **)&get = library ? dlsym(library, WGPY_SUITE_SYMBOL) : NULL;
    if (library && !get)
        fail("it exports no %s", WGPY_SUITE_SYMBOL);
    at = WGPY_SUITE_SYMBOL;
    if (get && !(suite = get()))
        fail("%s() gives no table", WGPY_SUITE_SYMBOL);
    if (!suite)
        return 1;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!strcmp(checks[i].name, argv[2])) {
            checks[i].check();
            plainly("done", "%d", failures);
            return failures ? 1 : 0;
        }
    give_up("no such check");
}
