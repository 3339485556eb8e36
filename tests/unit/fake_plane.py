"""A plane that moves no packets: it records what it is told and gives what it is fed."""

from wgpy.notices import CONFIRMED, Activity, Notice, PeerStats


class FakePlane:
    notice_fd, aead = -1, "fake"

    def __init__(self, max_peers=1024):
        self.slots, self.calls, self.sent = {}, [], []
        self.pending_notices, self.pending_handshakes = {}, []
        self.max_peers, self.next_slot = max_peers, 0
        self.public_key, self.awaited, self.loaded = None, {}, False

    def set_public_key(self, key):
        self.public_key = key

    def await_response(self, slot, index):
        self.awaited[slot] = index

    def under_load(self, now):
        return self.loaded

    def add_peer(self):
        self.next_slot += 1
        self.slots[self.next_slot] = {"endpoint": None, "allowed": [], "keys": [], "rx": 0}
        return self.next_slot

    def remove_peer(self, slot):
        del self.slots[slot]

    def set_endpoint(self, slot, endpoint):
        self.slots[slot]["endpoint"] = endpoint

    def endpoint(self, slot):
        return self.slots[slot]["endpoint"]

    def clear_source(self, slot):
        self.calls.append(("clear_source", slot))

    def allow(self, slot, address, cidr):
        for other in self.slots.values():
            if (address, cidr) in other["allowed"]:
                other["allowed"].remove((address, cidr))
        self.slots[slot]["allowed"].append((address, cidr))

    def disallow(self, slot, address, cidr):
        if (address, cidr) in self.slots[slot]["allowed"]:
            self.slots[slot]["allowed"].remove((address, cidr))

    def disallow_all(self, slot):
        self.slots[slot]["allowed"].clear()

    def prefixes(self):
        return {slot: list(facts["allowed"]) for slot, facts in self.slots.items() if facts["allowed"]}

    @property
    def prefix_count(self):
        return sum(map(len, self.prefixes().values()))

    def install(self, slot, *, local_index, remote_index, send_key, receive_key, initiator, now):
        self.calls.append(("install", slot))
        self.slots[slot]["keys"].append(
            (local_index, remote_index, bytes(send_key), bytes(receive_key), initiator))
        return []

    def live_indices(self, slot):
        return [k[0] for k in self.slots[slot]["keys"]]

    def expire(self, slot, now):
        """As if all were too old."""
        self.calls.append(("expire", slot))
        return self.wipe(slot)

    def wipe(self, slot):
        freed = self.live_indices(slot)
        self.slots[slot]["keys"].clear()
        return freed

    def keepalive(self, slot):
        self.calls.append(("keepalive", slot))

    def flush(self, slot):
        self.calls.append(("flush", slot))

    def purge(self, slot):
        return 0

    def send(self, datagram, *, slot=None, endpoint=None, tos=0x88):
        self.sent.append((datagram, slot, endpoint))

    def received(self, slot, octets):
        self.slots[slot]["rx"] += octets

    def notices(self):
        """A promotion is one of the latest keypair."""
        raised, self.pending_notices = self.pending_notices, {}
        return [Notice(slot, bits, self.live_indices(slot)[-1] if bits & CONFIRMED else None)
                for slot, bits in raised.items()]

    def handshakes(self, limit=64):
        out, self.pending_handshakes = self.pending_handshakes[:limit], self.pending_handshakes[limit:]
        return out

    @property
    def handshake_depth(self):
        return len(self.pending_handshakes)

    def activity(self, slot):
        return Activity()

    def rearm(self, slot, bits):
        pass

    def stats(self, slot):
        return PeerStats(self.slots[slot]["rx"], 0, 0, 0, 0)

    def drops(self):
        return {"no_peer": 3}
