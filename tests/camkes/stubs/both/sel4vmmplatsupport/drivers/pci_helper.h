/* As much of upstream's interface as the glue uses, written from its documentation. */
#ifndef STUB_PCI_HELPER_H
#define STUB_PCI_HELPER_H

typedef struct vmm_pci_space vmm_pci_space_t;

#endif
