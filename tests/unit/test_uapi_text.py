"""UAPI text (wireguard.com/xplatform): whole-request validation, formats, errno signs."""

import pytest

from wgpy.config import uapi
from wgpy.config.model import DeviceState, HostPort, PeerChange, PeerState, Prefix, PrefixChange, SetRequest
from wgpy.errors import ConfigError

A, B, SECRET = "aa" * 32, "bb" * 32, "5e" * 32


def parse(*lines):
    return uapi.parse_request("\n".join(lines).encode())


def test_whole_set():
    got = parse("set=1", f"private_key={SECRET}", "listen_port=51820", "fwmark=7",
                "replace_peers=true", f"public_key={A}", "update_only=true",
                f"preshared_key={B}", "endpoint=[fe80::1%eth0]:5", "persistent_keepalive_interval=25",
                "replace_allowed_ips=true", "allowed_ip=10.1.2.3/8", "allowed_ip=-fd00::/64",
                "protocol_version=1", f"public_key={B}", "remove=true")
    assert got == SetRequest(
        bytes.fromhex(SECRET), 51820, 7, True,
        (PeerChange(bytes.fromhex(A), update_only=True, preshared_key=bytes.fromhex(B),
                    endpoint=HostPort("fe80::1%eth0", 5), keepalive=25, replace_allowed_ips=True,
                    allowed_ips=(PrefixChange(Prefix(b"\x0a\0\0\0", 8)),
                                 PrefixChange(Prefix(b"\xfd" + bytes(15), 64), True))),
         PeerChange(bytes.fromhex(B), remove=True)))


def test_absent_values_stay_unchanged():
    assert parse("set=1") == SetRequest()
    assert parse("set=1").private_key is None


def test_replace_allowed_ips_voids_what_stood_before():
    peer = parse("set=1", f"public_key={A}", "allowed_ip=1.0.0.0/8", "replace_allowed_ips=true",
                 "allowed_ip=2.0.0.0/8").peers[0]
    assert [c.prefix.address[0] for c in peer.allowed_ips] == [2]


def test_mapped_endpoint_becomes_ipv4():
    peer = parse("set=1", f"public_key={A}", "endpoint=[::ffff:192.0.2.1]:9").peers[0]
    assert peer.endpoint == HostPort("192.0.2.1", 9)


@pytest.mark.parametrize("line, text", [
    ("private_key=zz", "line 2"), ("private_key=" + "ab" * 31, "private_key"),
    ("listen_port=65536", "0 to 65535"), ("listen_port=-1", "0 to 65535"),
    ("listen_port=+1", "0 to 65535"), ("listen_port= 1", "0 to 65535"),
    ("fwmark=4294967296", "4294967295"), ("fwmark=0x1", "fwmark"),
    ("replace_peers=false", "only 'true'"), ("bogus=1", "unknown key"), ("nonsense", "key=value"),
    ("endpoint=1.2.3.4:5", "before the first public_key"), ("", "key=value"),
    (f"public_key={A}\nlisten_port=1", "after the first public_key"),
    (f"public_key={A}\nendpoint=1.2.3.4", "HOST:PORT"), (f"public_key={A}\nendpoint=::1:5", "brackets"),
    (f"public_key={A}\nendpoint=host:5", "numeric"), (f"public_key={A}\nendpoint=[1.2.3.4]:5", "brackets"),
    (f"public_key={A}\nendpoint=1.2.3.4:0", "1 to 65535"),
    (f"public_key={A}\nallowed_ip=10.0.0.0", "prefix length"),
    (f"public_key={A}\nallowed_ip=10.0.0.0/33", "prefix length"),
    (f"public_key={A}\nallowed_ip=fe80::%1/64", "prefix length"),
    (f"public_key={A}\npersistent_keepalive_interval=65536", "65535"),
    (f"public_key={A}\nprotocol_version=2", "protocol_version"),
    (f"public_key={A}\nremove=1", "remove"), ("public_key=", "hexadecimal"),
])
def test_bad_line_is_named(line, text):
    with pytest.raises(ConfigError) as e:
        parse("set=1", *line.split("\n"), "fwmark=1" if "public" not in line else "remove=true")
    assert text.replace("line ", ":") in str(e.value)
    assert str(e.value).startswith("uapi:") and "\n" not in str(e.value)


@pytest.mark.parametrize("key", ["private_key", "preshared_key"])
def test_error_never_repeats_a_key(key):
    secret = "ab" * 31 + "a"
    first = [f"public_key={A}"] if key == "preshared_key" else []
    for lines in ([f"{key}={secret}"], [secret], [f"{secret}={key}"]):
        with pytest.raises(ConfigError) as e:
            parse("set=1", *first, *lines)
        assert "abab" not in str(e.value)


def test_secrets_are_not_in_reprs():
    request = parse("set=1", f"private_key={SECRET}", f"public_key={A}", f"preshared_key={SECRET}")
    state = DeviceState(bytes.fromhex(SECRET), peers=(PeerState(bytes(32), bytes.fromhex(SECRET)),))
    for text in (repr(request), repr(state)):
        assert SECRET not in text and repr(bytes.fromhex(SECRET))[2:20] not in text


@pytest.mark.parametrize("block", [b"", b"set=2", b"get=0", b"\xff", b"hello", b"get=1\nx=1"])
def test_bad_operation(block):
    with pytest.raises(ConfigError):
        uapi.parse_request(block)


def test_get_text_is_what_wg_expects():
    state = DeviceState(bytes.fromhex(SECRET), 51820, 0, (
        PeerState(bytes.fromhex(A), bytes(32), HostPort("2001:db8::1", 7), 25,
                  (Prefix(bytes([10, 0, 0, 0]), 8),), 1_700_000_000_000_000_001, 11, 22),))
    assert uapi.format_get(state) == (
        f"private_key={SECRET}\nlisten_port=51820\npublic_key={A}\npreshared_key={'00' * 32}\n"
        "protocol_version=1\nendpoint=[2001:db8::1]:7\nlast_handshake_time_sec=1700000000\n"
        "last_handshake_time_nsec=1\ntx_bytes=22\nrx_bytes=11\npersistent_keepalive_interval=25\n"
        "allowed_ip=10.0.0.0/8\nerrno=0\n\n")
    assert uapi.parse_get(uapi.format_get(state)) == state


def test_no_private_key_no_line():
    assert uapi.format_get(DeviceState()) == "errno=0\n\n"


def test_errno_signs():
    assert uapi.reply_errno(22, to_set=True) == "errno=-22\n\n"
    assert uapi.reply_errno(22, to_set=False) == "errno=22\n\n"
    for value in ("-98", "98"):
        with pytest.raises(OSError) as e:
            uapi.parse_get(f"errno={value}\n\n")
        assert e.value.errno == 98


def test_metrics_round_trip():
    text = uapi.format_metrics({"aead": "openssl", "drop_no_peer": 3})
    assert uapi.parse_metrics(text) == {"aead": "openssl", "drop_no_peer": 3}
