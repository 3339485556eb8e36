# This machine has no IOMMU: a card that were passed through would reach all of its memory.
set(CAmkESVMGuestDMAIommu OFF CACHE BOOL "" FORCE)
set(KernelIOMMU OFF CACHE BOOL "" FORCE)
