/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_GUEST_X86_CONTEXT_H
#define STUB_GUEST_X86_CONTEXT_H

#include <sel4vm/guest_vm.h>

typedef enum vcpu_context_reg {
    VCPU_CONTEXT_EAX,
    VCPU_CONTEXT_EBX,
    VCPU_CONTEXT_ECX,
    VCPU_CONTEXT_EDX,
} vcpu_context_reg_t;

int vm_get_thread_context_reg(vm_vcpu_t *vcpu, vcpu_context_reg_t reg, seL4_Word *value);
int vm_set_thread_context_reg(vm_vcpu_t *vcpu, vcpu_context_reg_t reg, seL4_Word value);

#endif
