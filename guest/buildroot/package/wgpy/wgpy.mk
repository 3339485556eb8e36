################################################################################
#
# wgpy
#
################################################################################

# The tree that this one lies in, without what was built there.
WGPY_SITE = $(BR2_EXTERNAL_WGPY_PATH)/../..
WGPY_SITE_METHOD = local
WGPY_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	$(addprefix --exclude=/,.venv .cache build dist tests benchmarks)
WGPY_LICENSE = MIT
WGPY_LICENSE_FILES = LICENSE
WGPY_SETUP_TYPE = setuptools
WGPY_DEPENDENCIES = host-python-cython python-pyseccomp wgpy-ring
WGPY_ENV = WGPY_EXTENSIONS="$(WGPY_EXTENSIONS)"

ifeq ($(BR2_PACKAGE_WGPY_CRYPTO),y)
WGPY_EXTENSIONS = ports plane
WGPY_DEPENDENCIES += openssl python-pynacl
else
WGPY_EXTENSIONS = ports
WGPY_DEPENDENCIES += iproute2 nftables
endif

ifeq ($(BR2_PACKAGE_WGPY_RED),y)
WGPY_DEPENDENCIES += python-pytun
endif

$(eval $(python-package))
