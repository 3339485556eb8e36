"""Keys, tables and the seal and open stages, in C. Plane is what wgpy.protocol.interface.Plane
says, with the stages and two views for tests beside it."""

from typing import Self

from wgpy._fast.ports import Stage
from wgpy.constants import DEFAULT_MTU, HANDSHAKE_TOS, PLANE_PEERS, PLANE_PREFIXES, Lengths
from wgpy.notices import Activity, Endpoint, Notice, PeerStats

class CryptoStage(Stage):
    """Seal or open over one plane, for one queue. Made by Plane."""
    mtu: int          # inner bytes at which padding stops; AttributeError where it opens

class Plane:
    notice_fd: int
    aead: str
    lengths: Lengths  # of messages, with the suite that the plane has

    def __new__(cls, *, max_peers: int = PLANE_PEERS, max_prefixes: int = PLANE_PREFIXES, queues: int = 1,
                 aead: str | None = None, suite: LoadedSuite | None = None) -> Self:
        """Without a `suite` it is WireGuard's. Raises ValueError for an unknown or failing AEAD backend,
        which a `suite` brings itself, and for sizes: 1 to 1048576 peers, 1 to 16 queues."""

    def seal_stage(self, queue: int = 0, mtu: int = DEFAULT_MTU) -> CryptoStage:
        """The stage of a tun-to-udp pump; each queue's at most once at a time. ValueError for
        a queue that the plane does not have."""
    def open_stage(self, queue: int = 0) -> CryptoStage: """The stage of a udp-to-tun pump."""
    def lookup(self, address: bytes) -> int | None: """The slot that packets to the address go to."""
    def set_counter(self, slot: int, counter: int) -> None:
        """Moves the current keypair's send counter forward, to test its limits."""

    def set_public_key(self, key: bytes | None) -> None: ...
    def add_peer(self) -> int: ...
    def remove_peer(self, slot: int) -> None: ...
    def set_endpoint(self, slot: int, endpoint: Endpoint | None) -> None: ...
    def endpoint(self, slot: int) -> Endpoint | None: ...
    def clear_source(self, slot: int) -> None: ...
    def allow(self, slot: int, address: bytes, cidr: int) -> None: ...
    def disallow(self, slot: int, address: bytes, cidr: int) -> None: ...
    def disallow_all(self, slot: int) -> None: ...
    def prefixes(self) -> dict[int, list[tuple[bytes, int]]]: ...
    @property
    def prefix_count(self) -> int: ...
    def install(self, slot: int, *, local_index: int, remote_index: int, send_key: bytes | bytearray,
                receive_key: bytes | bytearray, initiator: bool, now: int) -> list[int]: ...
    def live_indices(self, slot: int) -> list[int]: ...
    def expire(self, slot: int, now: int) -> list[int]: ...
    def wipe(self, slot: int) -> list[int]: ...
    def await_response(self, slot: int, index: int | None) -> None: ...
    def keepalive(self, slot: int) -> None: ...
    def flush(self, slot: int) -> None: ...
    def purge(self, slot: int) -> int: ...
    def send(self, datagram: bytes, *, slot: int | None = None, endpoint: Endpoint | None = None,
             tos: int = HANDSHAKE_TOS) -> None: ...
    def received(self, slot: int, octets: int) -> None: ...
    def notices(self) -> list[Notice]: ...
    def handshakes(self, limit: int = 64) -> list[tuple[bytes, Endpoint]]: ...
    @property
    def handshake_depth(self) -> int: ...
    def under_load(self, now: int) -> bool: ...
    def activity(self, slot: int) -> Activity: ...
    def rearm(self, slot: int, bits: int) -> None: ...
    def stats(self, slot: int) -> PeerStats: ...
    def drops(self) -> dict[str, int]: ...

def load_suite(fd: int) -> LoadedSuite:
    """The library that the descriptor holds, which the caller has opened and examined; it stays in
    this process. Its table and sizes were looked at; of its functions none was called. SuiteError."""

class LoadedSuite:
    """A library's table (wgpy/suite/wgpy_suite.h, which says what each member is), for Plane and for
    the protocol core. Sizes are bytes. ValueError for arguments of another size than they have,
    SuiteError for what the library could not do."""
    name: str
    noise: bytes
    identifier: bytes
    entropy_size: int
    private_size: int
    public_size: int
    shared_size: int
    hash_size: int
    hash_block: int
    key_size: int
    tag_size: int
    mac_size: int
    cookie_key_size: int
    cookie_nonce_size: int
    cookie_tag_size: int
    lengths: Lengths  # of messages

    def test(self) -> str | None:
        """Runs the known answers, what has to hold of any suite, and the library's own self-test: None,
        or what is wrong. Whatever the library does in it, it does to this process."""
    def measure(self, length: int, packets: int) -> float:
        """As aead_measure."""
    def private(self, entropy: bytes) -> bytes | None: """None: other bytes are to be drawn."""
    def public(self, private: bytes) -> bytes | None: """None: it is no private key."""
    def dh(self, private: bytes, public: bytes) -> bytes | None: """None: refused."""
    def hash(self, data: bytes) -> bytes: ...
    def hmac(self, key: bytes, data: bytes) -> bytes: ...
    def kdf(self, chain: bytes, data: bytes, n: int) -> tuple[bytes, ...]:
        """1 to 3 outputs of hash_size bytes: HKDF as in the Noise specification, section 4.3."""
    def mac(self, key: bytes, data: bytes) -> bytes: """With a key of hash_size or mac_size."""
    def seal(self, key: bytes, counter: int, plaintext: bytes, aad: bytes) -> bytes: """Ciphertext and tag."""
    def open(self, key: bytes, counter: int, sealed: bytes, aad: bytes) -> bytes | None:
        """The plaintext, or None when the tag is wrong or missing."""
    def cookie_seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes: ...
    def cookie_open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes | None: ...

def aead_backends() -> list[tuple[str, bool, str | None, float | None]]:
    """(name, supported, error or None, ns to seal 1420 bytes or None), best first."""
def aead_measure(name: str, length: int, packets: int) -> float:
    """Nanoseconds to seal each of `packets` packets of `length` bytes as one batch. ValueError
    for an unknown backend, and for what does not fit into a batch; as of the next two."""
def aead_seal(name: str, key: bytes, counter: int, plaintext: bytes) -> bytes:
    """Seals one packet; key of 32 bytes. Returns ciphertext and tag."""
def aead_open(name: str, key: bytes, counter: int, sealed: bytes) -> bytes | None:
    """The plaintext, or None when the tag is wrong or missing."""
