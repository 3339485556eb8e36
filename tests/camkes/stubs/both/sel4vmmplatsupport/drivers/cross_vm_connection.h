/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_CROSS_VM_CONNECTION_H
#define STUB_CROSS_VM_CONNECTION_H

#include <sel4vm/guest_vm.h>

typedef void (*event_callback_fn)(void *argument);
typedef void (*emit_fn)(void);
void consume_connection_event(vm_t *vm, seL4_Word event, bool interrupt);

#endif
