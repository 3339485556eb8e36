/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_CROSSVM_H
#define STUB_CROSSVM_H

#include <camkes/dataport_caps.h>
#include <sel4vmmplatsupport/drivers/cross_vm_connection.h>
#include <sel4vmmplatsupport/drivers/pci_helper.h>

struct camkes_consumes_event {
    vm_t *vm;
    unsigned int id;
    int (*reg_callback)(event_callback_fn callback, void *argument);
    seL4_CPtr irq_notification;
};

struct camkes_crossvm_connection {
    dataport_caps_handle_t *handle;
    emit_fn emit_fn;
    struct camkes_consumes_event consume_event;
};

int cross_vm_connections_init(vm_t *vm, uintptr_t first_address, struct camkes_crossvm_connection *connections, int number,
                              vmm_pci_space_t *pci, seL4_CPtr irq_notification);
int camkes_cross_vm_connections_init(vm_t *vm, vmm_pci_space_t *pci, seL4_CPtr irq_notification, uintptr_t first_address);

#endif
