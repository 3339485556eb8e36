# Where Buildroot has the sources of its own Python packages from.
WGPY_PYPI = $(firstword $(subst /packages/,/packages/ ,$(PYTHON_CFFI_SITE)))

include $(sort $(wildcard $(BR2_EXTERNAL_WGPY_PATH)/package/*/*.mk))
