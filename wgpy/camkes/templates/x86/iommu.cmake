# A card reaches the memory of its own guest and no other.
set(CAmkESVMGuestDMAIommu ON CACHE BOOL "" FORCE)
set(KernelIOMMU ON CACHE BOOL "" FORCE)
