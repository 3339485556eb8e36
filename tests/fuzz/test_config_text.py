"""Invariants of everything that parses configuration text:

1. Any bytes give a value or a ConfigError (OSError for the errno of a reply): never
   another exception, and the error is one line that repeats no key.
2. A `set` with one bad line changes nothing: the handler is not called.
3. parse(format(x)) == x for set requests, device states and files.
"""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from wgpy.admin.uapi_server import UapiServer
from wgpy.config import ini, uapi, values
from wgpy.config.model import DeviceState, HostPort, KeySizes, PeerChange, PeerState, Prefix, PrefixChange, SetRequest, TunnelFile
from wgpy.errors import ConfigError

settings.register_profile("config", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
                          deadline=None)
settings.load_profile("config")

keys = st.binary(min_size=32, max_size=32)
ports = st.integers(1, 65535)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None)


def network(address, cidr):
    cidr = min(cidr, address.max_prefixlen)
    keep = (1 << address.max_prefixlen) - (1 << (address.max_prefixlen - cidr))
    return Prefix((int(address) & keep).to_bytes(len(address.packed), "big"), cidr)


prefixes = st.builds(network, v4 | v6, st.integers(0, 128))
numeric = st.builds(HostPort, (v4 | v6).map(str), ports) | st.builds(
    HostPort, v6.map(lambda a: f"{a}%eth0"), ports)
names = st.builds(HostPort, st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5}){0,2}", fullmatch=True), ports)
peer_changes = st.builds(
    PeerChange, keys, st.booleans(), st.booleans(), st.none() | keys, st.none() | numeric,
    st.none() | st.integers(0, 65535), st.booleans(),
    st.lists(st.builds(PrefixChange, prefixes, st.booleans()), max_size=4).map(tuple))
requests = st.builds(
    SetRequest, st.none() | keys, st.none() | st.integers(0, 65535), st.none() | st.integers(0, 2**32 - 1),
    st.booleans(), st.lists(peer_changes, max_size=4).map(tuple))
counters = st.integers(0, 2**64 - 1)
states = st.builds(
    DeviceState, keys, st.integers(0, 65535), st.integers(0, 2**32 - 1),
    st.lists(st.builds(PeerState, keys, keys, st.none() | numeric, st.integers(0, 65535),
                       st.lists(prefixes, max_size=4).map(tuple), st.integers(0, 2**62), counters, counters),
             max_size=4).map(tuple))
file_peers = st.lists(
    st.builds(PeerChange, keys, preshared_key=keys, endpoint=st.none() | numeric | names,
              keepalive=st.integers(0, 65535), replace_allowed_ips=st.just(True),
              allowed_ips=st.lists(st.builds(PrefixChange, prefixes, st.just(False)), max_size=4).map(tuple)),
    max_size=3, unique_by=lambda p: p.public_key).map(tuple)
hooks = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"),
                         min_size=1, max_size=20), max_size=2).map(tuple)
files = st.builds(
    TunnelFile,
    st.builds(SetRequest, keys, st.integers(0, 65535), st.integers(0, 2**32 - 1), st.just(True), file_peers),
    st.lists(st.builds(lambda a, c: f"{a}/{min(c, a.max_prefixlen)}", v4 | v6, st.integers(0, 128)),
             max_size=3).map(tuple),
    st.lists((v4 | v6).map(str), max_size=2).map(tuple), st.just(("corp.example",)) | st.just(()),
    st.none() | st.integers(68, 65535), st.just("auto") | st.just("off") | st.integers(1, 2**32 - 1),
    hooks, hooks, hooks, hooks, st.booleans())

_WORDS = ["set=1", "get=1", "private_key=" + "ab" * 32, "public_key=" + "cd" * 32, "endpoint=[::1]:5",
          "endpoint=1.2.3.4:5", "allowed_ip=10.0.0.0/8", "replace_peers=true", "remove=true", "fwmark=9",
          "[Interface]", "[Peer]", "PrivateKey = " + "A" * 43 + "=", "PublicKey=" + "B" * 42 + "A=",
          "Address = 10.0.0.1/8", "Endpoint = a:1", "PostUp = x", "Table=off", "#", "=", "\x00", "\x85"]
nearly = st.lists(st.sampled_from(_WORDS) | st.text(max_size=30), max_size=8).map("\n".join)


def one_line(error):
    text = str(error)
    assert text and "\n" not in text and "ab" * 8 not in text and "A" * 16 not in text


@given(st.binary(max_size=300) | nearly.map(str.encode))
def test_any_request(data):
    try:
        got = uapi.parse_request(data)
        assert got in (uapi.GET, uapi.METRICS) or isinstance(got, SetRequest)
    except ConfigError as e:
        one_line(e)


@given(nearly | st.text(max_size=300))
def test_any_answer(text):
    for parse in (uapi.parse_get, uapi.parse_metrics):
        try:
            parse(text)
        except ConfigError as e:
            one_line(e)
        except OSError:
            pass


@given(nearly | st.text(max_size=300))
def test_any_file(text):
    try:
        assert isinstance(ini.parse(text, "f.conf"), TunnelFile)
    except ConfigError as e:
        one_line(e)
        assert str(e).startswith("f.conf")


@given(requests)
def test_set_round_trip(request):
    assert uapi.parse_request(uapi.format_set(request).removesuffix("\n\n").encode()) == request


@given(states)
def test_get_round_trip(state):
    assert uapi.parse_get(uapi.format_get(state)) == state


@given(files)
def test_file_round_trip(file):
    assert ini.parse(ini.format_quick(file), "f.conf") == file


@given(st.text(max_size=40))
def test_any_value(text):
    for parse in (values.prefix, values.endpoint, values.numeric_host, values.interface_address,
                  values.key_hex, values.key_base64, lambda t: values.endpoint(t, names=True)):
        try:
            parse(text)
        except ValueError as e:
            assert "\n" not in str(e)


class Handler:
    key_sizes = KeySizes()

    def __init__(self):
        self.applied = []

    def apply(self, request):
        self.applied.append(request)

    def describe(self):
        return DeviceState()


@given(requests, st.sampled_from(["bogus=1", "nonsense", "listen_port=x", "remove=1", "endpoint=a:1"]),
       st.integers(0, 50))
def test_invalid_set_changes_nothing(request, bad, where):
    lines = uapi.format_set(request).removesuffix("\n\n").split("\n")
    lines.insert(1 + where % len(lines), bad)
    server, handler = UapiServer.__new__(UapiServer), Handler()
    server._handler = handler
    assert server.answer("\n".join(lines).encode()) == "errno=-22\n\n"
    assert handler.applied == []
    assert server.answer(uapi.format_set(request).removesuffix("\n\n").encode()) == "errno=0\n\n"
    assert handler.applied == [request]
