/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_GUEST_VM_H
#define STUB_GUEST_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long seL4_Word;
typedef unsigned long seL4_CPtr;
typedef struct vm vm_t;
typedef struct vm_vcpu vm_vcpu_t;

int vm_run(vm_t *vm);
int seL4_TCB_Suspend(seL4_CPtr thread);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ZF_LOGF_IF(wrong, ...) do { if (wrong) stub_fatal(__VA_ARGS__); } while (0)
void stub_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
