/* What happens for each packet: no allocation, no system call. And what must never happen: that the
 * process is another one after the library was called. */
#define _GNU_SOURCE
#include "harness.h"
#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BATCH = 64, BLOCK = 2048, ROUNDS = 200 };

static uint8_t data[BATCH][BLOCK], large[WGPY_PACKET_MAX + WGPY_TAG_MAX];
static void *contexts[2];

/* Packets of many lengths, some forged, and single ones with additional data. */
static void traffic(int rounds)
{
    static const uint32_t sizes[] = {0, 1, 64, 576, 1420};
    struct wgpy_packet packets[BATCH];
    struct wgpy_part additional = {large, suite->hash_size};

    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < BATCH; i++)
            packets[i] = (struct wgpy_packet){contexts[i % 2], (uint64_t)round, data[i], sizes[(i / 8 + (size_t)round) % 5], 0};
        at = "seal";
        suite->seal(packets, round % 2 ? BATCH : 1);
        packets[0].data[packets[0].size] ^= (uint8_t)(round & 4);
        at = "open";
        suite->open(packets, round % 2 ? BATCH : 1);
        packets[0] = (struct wgpy_packet){contexts[0], (uint64_t)round, large, WGPY_PACKET_MAX, 0};
        at = "seal";
        if (round % 16 == 0)
            suite->seal(packets, 1);
        at = "seal_one";
        suite->seal_one(contexts[0], (uint64_t)round, additional, data[0], 12);
        at = "open_one";
        suite->open_one(contexts[0], (uint64_t)round, additional, data[0], 12);
    }
}

static void prepare(void)
{
    for (int i = 0; i < 2; i++)
        contexts[i] = new_context(NULL);
}

void check_allocations(void)
{
    unsigned long before;

    if (!watched)
        give_up("the allocator is a sanitizer's");
    prepare();
    before = allocations; /* also for the very first packet of a context */
    traffic(ROUNDS);
    if (allocations != before)
        fail("%lu allocations in %d rounds of seal, open, seal_one and open_one", allocations - before, ROUNDS);
}

static void called(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    fail("system call %d in %s", info->si_syscall, at);
    syscall(SYS_exit_group, 1);
}

/* From here on write, exit and the return of a signal's handler are all that there is. */
static void *alone(void *unused)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

    sigaction(SIGSYS, &(struct sigaction){.sa_sigaction = called, .sa_flags = SA_SIGINFO}, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        give_up("seccomp is not available");
    if (!unused)
        traffic(ROUNDS);
    else
        syscall(SYS_getppid);
    syscall(SYS_write, says, "done 0\n", 7);
    syscall(SYS_exit_group, 0);
    return NULL;
}

void check_calls(void)
{
    prepare();
    alone(getenv("HARNESS_SELF") ? "trap" : NULL);
}

struct process {
    char threads[16], place[4096], locale[256];
    int descriptors;
    mode_t umask;
    struct sigaction actions[32]; /* all but those for real time */
    sigset_t mask;
};

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    if (!directory)
        give_up("/proc is not mounted");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void look(struct process *p)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");

    memset(p, 0, sizeof *p);
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "Threads: %15s", p->threads);
    if (!status || !getcwd(p->place, sizeof p->place))
        give_up("/proc is not mounted");
    fclose(status);
    snprintf(p->locale, sizeof p->locale, "%s", setlocale(LC_ALL, NULL));
    p->descriptors = open_descriptors();
    p->umask = umask(077);
    umask(p->umask);
    for (int i = 1; i < 32; i++)
        sigaction(i, NULL, &p->actions[i]);
    sigprocmask(0, NULL, &p->mask);
}

void check_process(void)
{
    static struct process before, after;
    struct wgpy_part part = {large, 100};
    uint8_t private_key[WGPY_PUBLIC_MAX], public_key[WGPY_PUBLIC_MAX], out[WGPY_PUBLIC_MAX];

    look(&before);
    prepare();
    traffic(4);
    for (int i = 0; i < 4; i++) {
        new_pair(private_key, public_key);
        suite->dh(private_key, public_key, out);
        suite->hash(&part, 1, out);
        suite->mac(large, suite->mac_size, &part, 1, out);
        suite->cookie_seal(large, large, part, data[0], suite->mac_size);
        suite->cookie_open(large, large, part, data[0], suite->mac_size);
    }
    if (suite->self_test)
        suite->self_test((char *)out, sizeof out);
    look(&after);
    if (strcmp(before.threads, after.threads))
        fail("it has started threads: there were %s, there are %s", before.threads, after.threads);
    if (before.descriptors != after.descriptors)
        fail("it leaves descriptors open: there were %d, there are %d", before.descriptors, after.descriptors);
    if (strcmp(before.place, after.place) || strcmp(before.locale, after.locale) || before.umask != after.umask)
        fail("it changes the working directory, the locale or the umask");
    for (int i = 1; i < 32; i++)
        if (before.actions[i].sa_handler != after.actions[i].sa_handler || before.actions[i].sa_flags != after.actions[i].sa_flags ||
            sigismember(&before.mask, i) != sigismember(&after.mask, i))
            fail("it changes what signal %d does", i);
}
