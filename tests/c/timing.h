/* Put in front of a backend for timing_aead.c: the verdict on a tag is public. */
#include <valgrind/memcheck.h>
#define AEAD_PUBLIC(p, n) VALGRIND_MAKE_MEM_DEFINED(p, n)
