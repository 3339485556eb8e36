/* In a test's guest: what a program of a room does with a UIO device.
 *
 *   ring_probe load FILE OFFSET INDEX            prints the word there
 *   ring_probe store FILE OFFSET INDEX VALUE
 *   ring_probe fits FILE BYTES INDEX             can that much be mapped?
 *   ring_probe during FILE OFFSET INDEX COMMAND  runs it while the map is there
 *   ring_probe ask FILE OFFSET INDEX VALUE TIMES rings, waits for an answer, prints the count
 *
 * INDEX: of the map, which lies at that many pages. Numbers as C writes them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, ANSWER_MS = 20000 };

static int fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int ask(int fd, volatile uint32_t *bell, uint32_t value, int times)
{
    while (times--) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        uint32_t count;
        *bell = value;
        if (poll(&p, 1, ANSWER_MS) != 1)
            return fail("poll");
        if (read(fd, &count, sizeof count) != sizeof count)
            return fail("read");
        printf("%u\n", count);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    size_t offset = strtoul(argv[3], NULL, 0), length = (offset / PAGE + 1) * PAGE;
    off_t at = (off_t)strtoul(argv[4], NULL, 0) * PAGE;
    uint32_t value = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 0) : 0;
    int fd = open(argv[2], O_RDWR);
    if (fd < 0)
        return fail("open");
    int fits = !strcmp(argv[1], "fits");
    uint8_t *area = mmap(NULL, fits ? offset : length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    if (area == MAP_FAILED)
        return fail("mmap");
    if (fits)
        return 0;
    volatile uint32_t *word = (volatile uint32_t *)(void *)(area + offset);
    if (!strcmp(argv[1], "during") && argc > 5)
        return system(argv[5]) != 0;
    if (!strcmp(argv[1], "load"))
        printf("%#x\n", *word);
    else if (!strcmp(argv[1], "store"))
        *word = value;
    else if (!strcmp(argv[1], "ask") && argc > 6)
        return ask(fd, word, value, atoi(argv[6]));
    return 0;
}
