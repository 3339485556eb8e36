"""A suite of one's own in files, requests and the key store: keys of any length, and a wrong one
named with its place and what is expected. F8, I6."""

import base64
import dataclasses
import os

import pytest
from site_files import KEY, LIMA, edited
from wide_suite import WIDE

from wgpy.config import ini, uapi
from wgpy.config.explain import explain
from wgpy.config.model import NO_KEY, DeviceState, KeySizes, PeerChange, PeerState, SetRequest, SuiteFile, SuiteState
from wgpy.config.site import parse
from wgpy.config.site_changes import stays
from wgpy.config.site_model import SuiteSizes
from wgpy.crypto import stamps
from wgpy.crypto.engine import Engine
from wgpy.crypto.sealed import Damaged, Document
from wgpy.errors import ConfigError, WgpyError
from wgpy.isolate.library import _verdict
from wgpy.protocol.device import Device
from wgpy.protocol.peer import Peer

WIDE_KEY = base64.b64encode(b"\4" + bytes(range(96))).decode()
DIGEST = "ab" * 32
SUITE = f'[suite]\nlibrary = "/usr/lib/wgpy/suites/x.so"\nsha256 = "{DIGEST}"\n'
SITE = edited(LIMA, (KEY, WIDE_KEY)) + SUITE
SIZES = SuiteSizes(97, 36)


def refusals(text, sizes=None):
    return [str(e) for e in parse(text, "f.toml", sizes)[1]]


def test_a_site_of_another_suite_is_read_with_its_sizes():
    site, errors, warnings = parse(SITE, "f.toml", SIZES)
    assert errors == warnings == [] and len(site.peers[0].public_key) == 97
    assert site.suite == SuiteFile("/usr/lib/wgpy/suites/x.so", DIGEST)
    assert site.mtu == 1500 - 48 - 36
    assert parse(SITE, "f.toml")[1] == [], "whose library nobody asked: any length will do"


@pytest.mark.parametrize("text, sizes, words", [
    (LIMA + SUITE, SIZES, "f.toml:14: site.public_key: a key is 132 characters of base64 (97 bytes)"),
    (edited(LIMA, (KEY, WIDE_KEY)), None, "f.toml:14: site.public_key: a key is 44 characters of base64"),
    (edited(LIMA, (KEY, "AAAA")) + SUITE, None, "f.toml:14: site.public_key: a key is base64 of 16 to 256 bytes"),
    (edited(SITE, (DIGEST, DIGEST[1:])), SIZES, "f.toml:19: suite.sha256: must be the 64 hexadecimal digits that sha256sum prints"),
    (edited(SITE, ("/usr/lib", "lib")), SIZES, "f.toml:18: suite.library: must be an absolute path without '..' or special characters"),
    (edited(SITE, ("sha256 =", "sha512 =")), SIZES, "f.toml:17: suite: sha256 is missing"),
])
def test_what_is_wrong_is_said_with_file_line_and_length(text, sizes, words):
    assert words in refusals(text, sizes)


def test_a_small_tag_gives_the_tunnel_more_and_a_large_one_less():
    assert [parse(SITE, "f", SuiteSizes(97, n))[0].mtu for n in (28, 32, 48)] == [1424, 1420, 1404]


def test_the_explanation_names_the_library():
    assert "cryptographic functions of /usr/lib/wgpy/suites/x.so, 36 bytes" in explain(parse(SITE, "f", SIZES)[0])


def test_the_suite_stays_while_the_node_is_up():
    before = parse(SITE, "f.toml", SIZES)[0]
    assert stays(before, before) == ""
    for after in (dataclasses.replace(before, suite=None), dataclasses.replace(before, suite=SuiteFile("/x.so", DIGEST))):
        assert "[suite] cannot change while the node is up" in stays(before, after)


CONF = f"""[Interface]
PrivateKey = {base64.b64encode(bytes(range(1, 49))).decode()}
SuiteLibrary = /usr/lib/wgpy/suites/x.so
SuiteSha256 = {DIGEST}
[Peer]
PublicKey = {WIDE_KEY}
PresharedKey = {KEY}
AllowedIPs = 10.0.0.0/8
"""


def test_a_tunnel_file_names_its_suite_and_comes_back_unchanged():
    file = ini.parse(CONF, "f.conf", sizes=KeySizes(48, 97))
    assert file.suite == SuiteFile("/usr/lib/wgpy/suites/x.so", DIGEST) and len(file.request.private_key) == 48
    assert ini.parse(ini.format_quick(file), "f.conf", sizes=KeySizes(48, 97)) == file
    assert ini.parse(CONF, "f.conf") == file


@pytest.mark.parametrize("change, sizes, words", [
    (("\n", "\n"), KeySizes(), "f.conf:2: PrivateKey: a key is 44 characters of base64"),
    (("\n", "\n"), KeySizes(48, 96), "f.conf:6: PublicKey: a key is 128 characters of base64 (96 bytes)"),
    ((KEY, WIDE_KEY), KeySizes(48, 97), "f.conf:7: PresharedKey: a key is 44 characters of base64"),
    ((f"SuiteSha256 = {DIGEST}\n", ""), KeySizes(48, 97), "f.conf:3: SuiteLibrary and SuiteSha256 stand together: one is missing"),
    (("/usr/lib/wgpy/suites/x.so", "x.so"), KeySizes(48, 97), "f.conf:3: SuiteLibrary: must be an absolute path"),
])
def test_a_wrong_line_of_a_tunnel_file_is_named(change, sizes, words):
    with pytest.raises(ConfigError) as caught:
        ini.parse(CONF.replace(*change), "f.conf", sizes=sizes)
    assert str(caught.value).startswith(words)


STATE = DeviceState(b"\7" * 48, 51820, peers=(PeerState(b"\4" + bytes(96), keepalive=25),), suite=SuiteState("wide", b"\4" * 97))


def test_wg_is_told_what_it_knows_and_no_key_that_it_would_take_for_another():
    text = uapi.format_get(STATE)
    assert uapi.parse_get(text) == STATE
    ours = [line for line in text.splitlines() if line.startswith("suite")]
    assert [line.partition("=")[0] for line in ours] == ["suite", "suite_own_key", "suite_private_key", "suite_public_key"]
    # as wg(8) reads it: lines of a peer that has no public_key are nobody's
    seen = [line.partition("=")[0] for line in text.splitlines() if line not in ours]
    assert "listen_port" in seen and not {"private_key", "public_key"} & set(seen)
    narrow = dataclasses.replace(STATE, peers=(PeerState(b"\4" * 32),))
    assert "\npublic_key=" in uapi.format_get(narrow) and uapi.parse_get(uapi.format_get(narrow)) == narrow


def test_a_request_has_keys_of_the_suite_and_no_others():
    request = SetRequest(private_key=b"\7" * 48, peers=(PeerChange(b"\4" * 97, preshared_key=b"p" * 32),))
    block = uapi.format_set(request).removesuffix("\n").encode()
    assert uapi.parse_request(block, KeySizes(48, 97)) == request
    with pytest.raises(ConfigError, match="private_key: a key is 64 hexadecimal digits"):
        uapi.parse_request(block)
    assert uapi.parse_request(f"set=1\nprivate_key={'0' * 64}\n".encode(), KeySizes(48, 97)).private_key == NO_KEY


class Plane:
    aead = "none"


@pytest.mark.parametrize("request_, words", [
    (SetRequest(private_key=b"\7" * 32), "not a private key of suite wide, which has 48 bytes"),
    (SetRequest(private_key=b"\xff" * 48), "not a private key of suite wide"),
    (SetRequest(peers=(PeerChange(b"\4" * 32),)), "a public key of suite wide has 97 bytes"),
])
def test_the_engine_takes_no_key_of_another_suite(request_, words):
    with pytest.raises(WgpyError, match=words):
        Engine(Device(WIDE, bytes), Plane()).check(request_)


def test_stamps_of_peers_with_long_keys_outlive_the_room():
    memory, key, stamp = stamps.memory(), b"\4" + bytes(range(96)), b"\x40" + bytes(10) + b"\1"
    try:
        stamps.Stamps(os.dup(memory)).keep(key, stamp)
        peer, stranger = Peer(WIDE, key), Peer(WIDE, key[::-1])
        stamps.Stamps(os.dup(memory)).restore({key: peer, key[::-1]: stranger})
        assert peer.greatest_timestamp == stamp and not any(stranger.greatest_timestamp)
        stamps.Stamps(os.dup(memory)).restore({})
        assert not any(os.pread(memory, stamps.BYTES, 0))
    finally:
        os.close(memory)


def test_the_key_store_keeps_private_keys_of_any_suite():
    document = Document()
    document.private_key, document.psks["a"] = bytearray(b"\7" * 48), bytearray(32)
    assert Document.decode(document.encode()).private_key == document.private_key
    document.psks["a"] = bytearray(48)
    with pytest.raises(Damaged):
        Document.decode(document.encode())


@pytest.mark.parametrize("status, report, said, words", [
    (None, b'{"check": "load"}\n', b"", "load: does not end within"),
    (-11, b'{"check": "load"}\n{"check": "self-test"}\n', b"", r"self-test: crashes \(SIGSEGV\)"),
    (3, b'{"check": "self-test"}\n', b"", r"self-test: ends the process \(status 3\)"),
    (0, b"", b"", r"load: ends the process \(status 0\)"),
    (0, b'{"check": "check", "done": {}}\n', b"hello\n", "check: prints 'hello'"),
    (0, b'{"check": "dh", "refused": "does not commute"}\n', b"", "dh: does not commute"),
    (0, b"\xff[[[", b"", "load: ends the process"),
    (0, b'"done"\n', b"", "load: ends the process"),
])
def test_whatever_the_trial_comes_to_is_one_line_with_the_check(status, report, said, words):
    with pytest.raises(WgpyError, match=words) as caught:
        _verdict(status, report, said)
    assert "\n" not in str(caught.value)
