/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_TLS_H
#define STUB_TLS_H

#include <sel4vm/guest_vm.h>

struct stub_tls {
    seL4_CPtr tcb_cap;
};
struct stub_tls *camkes_get_tls(void);

#endif
