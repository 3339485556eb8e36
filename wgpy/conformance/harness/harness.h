/* What the checks of a suite share. One process runs one check. It says lines on a descriptor:
 * `fail TEXT`, `note TEXT`, `figure NAME NUMBER`, of the table also `size`, `text` and `loads`;
 * at last `done`, or `gave-up TEXT` when it could not look. */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wgpy_suite.h"

enum { ROOM = 1 << 17, SHORT = 300 };

extern const struct wgpy_suite *suite;
/* The function that is being called, for the line that a crash leaves. */
extern const char *volatile at;

__attribute__((format(printf, 1, 2))) void fail(const char *format, ...); /* after eight the process ends */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
void figure(const char *name, double value);
/* A line of another kind. */
__attribute__((format(printf, 2, 3))) void plainly(const char *kind, const char *format, ...);
extern int says; /* the descriptor */
/* Ends the check: what was wrong was not the library. */
__attribute__((noreturn)) void give_up(const char *why);

/* The same bytes in every run. */
void fill(void *out, size_t size);
uint32_t below(uint32_t bound);
bool zero(const uint8_t *data, size_t size);

/* `size` bytes, the byte behind them (or in front of them) not accessible; `slot` is 0 to 15. */
uint8_t *guarded(int slot, size_t size, bool behind);
void read_only(int slot, bool yes);

/* A private key and its public key, of random bytes. */
void new_pair(uint8_t *private_key, uint8_t *public_key);
/* A context of random bytes, or of these. */
void *new_context(const uint8_t *key);
/* Seals or opens one packet as a batch; its verdict. */
bool one(bool seals, void *context, uint64_t counter, uint8_t *data, uint32_t size);
/* Whether `data` has a piece of sixteen bytes (or all, of fewer than that) of `plain` in its place. */
bool shows(const uint8_t *data, const uint8_t *plain, size_t size);

extern const uint32_t edges[]; /* lengths where something begins or ends, up to the longest */
extern const size_t edge_count;
/* All lengths below SHORT, then the edges, then random ones; the same number each time. */
enum { LENGTHS = SHORT + 1 + 160 };
uint32_t length(size_t number);

void check_table(void);
void check_vectors(void);
void check_self_test(void);
void check_keys(void);
void check_points(void);
void check_hash(void);
void check_mac(void);
void check_lengths(void);
void check_batches(void);
void check_forgeries(void);
void check_additional(void);
void check_cookie(void);
void check_bounds(void);
void check_allocations(void);
void check_calls(void);
void check_threads(void);
void check_wiping(void);
void check_process(void);
void check_timing(void);
void check_secrets(void);
void check_speed(void);

#endif
