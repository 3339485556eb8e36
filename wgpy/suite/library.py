"""A library that was loaded, as a Suite."""

from wgpy._fast.plane import LoadedSuite
from wgpy.suite.record import Suite


def suite_of(loaded: LoadedSuite) -> Suite:
    """Its functions are those of the library, its `table` is what the data plane takes."""
    return Suite(
        name=loaded.name, construction=loaded.noise, identifier=loaded.identifier, table=loaded,
        private=loaded.private, clamp=lambda key: key, public=loaded.public, dh=loaded.dh, hash=loaded.hash,
        hmac=loaded.hmac, kdf=loaded.kdf, mac=loaded.mac, seal=loaded.seal, open=loaded.open,
        xseal=loaded.cookie_seal, xopen=loaded.cookie_open, self_test=loaded.test,
        entropy_size=loaded.entropy_size, private_size=loaded.private_size, public_size=loaded.public_size,
        shared_size=loaded.shared_size, hash_size=loaded.hash_size, block_size=loaded.hash_block,
        key_size=loaded.key_size, tag_size=loaded.tag_size, mac_size=loaded.mac_size,
        xkey_size=loaded.cookie_key_size, xnonce_size=loaded.cookie_nonce_size, xtag_size=loaded.cookie_tag_size)
