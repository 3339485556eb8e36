"""From the site file to what the engine is asked to do."""

from collections.abc import Mapping

from wgpy.config.model import NO_KEY, PeerChange, Prefix, PrefixChange, SetRequest
from wgpy.config.site_model import Peer, Site


def request(site: Site, psks: Mapping[str, bytes | bytearray], before: Site | None = None,
            private_key: bytes | None = None) -> SetRequest:
    """Turns a node configured by `before` into `site`'s. Sessions of peers that stay go
    on; an endpoint is set only where the file changed it, so that a peer that roamed
    stays where it is. KeyError names a psk that is not in `psks`."""
    old = {p.public_key: p for p in before.peers} if before else {}
    kept = {p.public_key for p in site.peers}
    changes = [PeerChange(key, remove=True) for key in old if key not in kept]
    changes += [_change(p, old.get(p.public_key), psks) for p in site.peers if p != old.get(p.public_key)]
    return SetRequest(private_key=private_key, peers=tuple(changes))


def _change(peer: Peer, old: Peer | None, psks: Mapping[str, bytes | bytearray]) -> PeerChange:
    moved = peer.endpoints and (old is None or old.endpoints != peer.endpoints)
    return PeerChange(
        peer.public_key, preshared_key=NO_KEY if peer.psk is None else psks[peer.psk],
        endpoint=peer.endpoints[0] if moved else None, keepalive=peer.keepalive, replace_allowed_ips=True,
        allowed_ips=tuple(PrefixChange(Prefix(n.network_address.packed, n.prefixlen)) for n in peer.networks))
