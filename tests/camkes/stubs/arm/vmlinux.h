/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_VMLINUX_H
#define STUB_VMLINUX_H

#include <camkes/dataport_caps.h>
#include <sel4vmmplatsupport/drivers/cross_vm_connection.h>

struct camkes_crossvm_connection {
    dataport_caps_handle_t *handle;
    emit_fn emit_fn;
    seL4_Word consume_badge;
    const char *connection_name;
};

typedef int (*async_event_handler_fn_t)(vm_t *vm, void *cookie);
int register_async_event_handler(seL4_Word badge, async_event_handler_fn_t callback, void *cookie);
int cross_vm_connections_init(vm_t *vm, uintptr_t first_address, struct camkes_crossvm_connection *connections, int number);

struct stub_module {
    const char *name;
    void *cookie;
    void (*start)(vm_t *vm, void *cookie);
};
#define DEFINE_MODULE(named, argument, function) \
    __attribute__((used)) struct stub_module stub_module_##named = {.name = #named, .cookie = argument, .start = function};

#endif
