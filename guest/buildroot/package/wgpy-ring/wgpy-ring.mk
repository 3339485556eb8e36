################################################################################
#
# wgpy-ring
#
################################################################################

WGPY_RING_SITE = $(BR2_EXTERNAL_WGPY_PATH)/../module
WGPY_RING_SITE_METHOD = local
WGPY_RING_LICENSE = GPL-2.0 or MIT
WGPY_RING_LICENSE_FILES = wgpy_ring.c

define WGPY_RING_LINUX_CONFIG_FIXUPS
	$(call KCONFIG_ENABLE_OPT,CONFIG_UIO)
endef

$(eval $(kernel-module))
$(eval $(generic-package))
