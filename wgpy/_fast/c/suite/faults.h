/* Everything for which a suite's library is refused. The first column is the name that tools and
 * tests see, the last follows the library's name in a message. */
#ifndef WG_FAULTS_H
#define WG_FAULTS_H

#include <stdbool.h>

#define WG_SUITE_FAULTS(X) \
    X(unloadable, "cannot be loaded") \
    X(symbol, "does not export wgpy_suite") \
    X(table, "gives no table of functions") \
    X(abi, "is made for another version of the ABI") \
    X(table_size, "has a table of another size than this version of the ABI") \
    X(name, "has no name of 1 to 48 lower case letters, digits and '-' that is its own") \
    X(label, "has no Noise name or no identifier of 1 to 255 bytes") \
    X(size, "has a size that is out of bounds") \
    X(function, "lacks a function") \
    X(vector, "has a known answer that fits no function") \
    X(vectors, "has no known answer of a function") \
    X(known_answer, "does not give a known answer") \
    X(failed, "could not do the work of a function") \
    X(overrun, "writes outside a buffer") \
    X(keys, "gives other public keys for the same private key") \
    X(dh, "computes no shared secret of its own keys that both sides have") \
    X(dh_refusal, "computes a shared secret with a public key of zeros") \
    X(hash, "has another hash or MAC of the same bytes in other parts, or the same with another key") \
    X(aead, "does not open what it sealed") \
    X(seal_one, "does not seal one packet as a batch does") \
    X(clear, "leaves plaintext in what it seals, or in what it refuses to open") \
    X(forged, "opens what was changed") \
    X(cookie, "does not open the cookies that it sealed") \
    X(forged_cookie, "opens a cookie that was changed") \
    X(self_test, "says itself that it is out of order")

enum wg_suite_check {
    WG_SUITE_GOOD,
#define X(name, text) WG_SUITE_##name,
    WG_SUITE_FAULTS(X)
#undef X
};

/* What was found first. */
struct wg_suite_fault {
    enum wg_suite_check check;
    char detail[160]; /* "": none */
};

const char *suite_fault_name(enum wg_suite_check);
const char *suite_fault_text(enum wg_suite_check);
/* Notes it, with a detail as of printf. Always false. */
__attribute__((format(printf, 3, 4))) bool suite_fault(struct wg_suite_fault *, enum wg_suite_check, const char *detail, ...);

#endif
