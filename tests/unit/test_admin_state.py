"""The files that the supervisor opens for crypto, and credentials (A2, I1)."""

import errno
import json
import mmap
import os
import shutil
import subprocess
import sys

import pytest

from wgpy.admin.audit import START, Head, verify
from wgpy.errors import HostError
from wgpy.node import counters, credentials, state, trail
from wgpy.node.trail import Trail, trails


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "keys.sealed").write_bytes(b"x")
    return tmp_path


def whole(directory):
    return verify([(p.name, p.read_bytes()) for p in trails(directory)])


def test_the_trail_rotates_and_its_chain_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(trail, "AUDIT_BYTES", 2000)
    kept = Trail(tmp_path)
    for i in range(40):
        assert kept.add("test", "x", "ok", i=i) == ""
    files = trails(tmp_path)
    assert len(files) > 3 and [p.name for p in files][:2] == ["audit.log.001", "audit.log.002"]
    assert whole(tmp_path) == kept.head
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in files)
    kept.close()
    again = Trail(tmp_path)  # after a restart
    assert again.head == whole(tmp_path)
    again.add("test", "x", "ok")
    assert again.head == whole(tmp_path)
    again.close()


def test_power_fails_between_the_renaming_and_the_first_line(tmp_path, monkeypatch):
    kept = Trail(tmp_path)
    kept.add("test", "x", "ok")
    kept._log._add("wgpy", "rotated", "ok", "", {})
    os.close(kept._following(tmp_path))
    (tmp_path / "audit.log.new").write_text("what an earlier attempt left")
    again = Trail(tmp_path)
    again.add("test", "y", "ok")
    assert whole(tmp_path).entries == 3
    monkeypatch.setattr(trail, "AUDIT_BYTES", 10)
    again.add("test", "z", "ok")
    assert whole(tmp_path) == again.head and len(trails(tmp_path)) == 3
    again.close()


def test_a_rotation_that_fails_leaves_what_there_was_and_is_not_tried_at_each_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(trail, "AUDIT_BYTES", 10)
    kept = Trail(tmp_path)
    kept.add("test", "x", "ok")
    with monkeypatch.context() as m:
        m.setattr(trail.os, "open", lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
        for _ in range(5):
            assert kept.add("test", "y", "ok") == ""
    assert [p.name for p in trails(tmp_path)] == ["audit.log"] and whole(tmp_path).entries == 7
    kept._again = 0.0
    kept.add("test", "z", "ok")
    assert [p.name for p in trails(tmp_path)] == ["audit.log.001", "audit.log"] and whole(tmp_path) == kept.head
    kept.close()


def test_crypto_is_given_no_descriptor_of_the_trail(directory):
    kept = state.State(directory)
    fds = kept.give()
    assert set(fds) == {"keys"}
    os.close(fds["keys"])
    kept.close()


def test_no_store_and_no_link_in_its_place(tmp_path):
    with pytest.raises(HostError, match="wgpy keys seal"):
        state.State(tmp_path)
    (tmp_path / "keys.sealed").symlink_to("/etc/passwd")
    with pytest.raises(HostError):
        state.State(tmp_path)


def content(fds):
    data = os.pread(fds["credential"], 100, 0)
    assert not any(mmap.mmap(fds["unlocked"], mmap.PAGESIZE)[:])
    for fd in fds.values():
        os.close(fd)
    return data


def test_credentials_by_path_and_from_systemd(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a")
    assert content(credentials.find("lima", str(tmp_path / "file"))) == b"a"
    with pytest.raises(HostError, match="No such file"):
        credentials.find("lima", str(tmp_path / "none"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "wgpy").write_text("b")
    assert content(credentials.find("lima", None)) == b"b"
    (tmp_path / "wgpy-lima").write_text("c")
    assert content(credentials.find("lima", None)) == b"c"


def test_without_credential_and_terminal_the_remedy_is_said():
    code = "from wgpy.node import credentials; credentials.find('lima', None)"
    done = subprocess.run([sys.executable, "-I", "-c", code], start_new_session=True, capture_output=True, text=True)
    assert "HostError" in done.stderr and "--credential" in done.stderr


def fake_systemd_creds(tmp_path, monkeypatch, script):
    tool = tmp_path / "bin" / "systemd-creds"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


def test_an_encrypted_credential_is_decrypted_into_memory_only(tmp_path, monkeypatch):
    fake_systemd_creds(tmp_path, monkeypatch, 'test "$1 $2 $4" = "decrypt --name=wgpy-lima -" && tr a-z A-Z < "$3"')
    sealed = tmp_path / "lima.cred"
    sealed.write_text("secret")
    assert content(credentials.find("lima", str(sealed))) == b"SECRET"
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"SECRET" in p.read_bytes()]


def test_systemd_creds_that_refuses_or_is_missing(tmp_path, monkeypatch):
    sealed = tmp_path / "lima.cred"
    sealed.write_text("secret")
    fake_systemd_creds(tmp_path, monkeypatch, 'case $1 in has-tpm2) printf "partial\\n-firmware\\n+system\\n"; exit 3;; esac\n'
                       "echo 'no key for this' >&2; exit 1")
    with pytest.raises(HostError, match="no key for this"):
        credentials.find("lima", str(sealed))
    assert credentials.tpm2() == "no TPM2: firmware"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="systemd-creds"):
        credentials.find("lima", str(sealed))
    assert "missing" in credentials.tpm2()


def test_the_real_tool_is_understood():
    said = credentials.tpm2()
    assert said == "" or "TPM2" in said or "systemd-creds" in said
    if shutil.which("systemd-creds"):
        assert "missing" not in said


def test_counters_of_no_node_are_none():
    assert counters.firewall_counters("no-such-node") == {}
    assert json.dumps(counters.firewall_counters("no-such-node")) == "{}"


def test_a_disk_that_is_full_from_the_beginning_is_tried_again(tmp_path, monkeypatch):
    full = [True]
    opened = os.open

    def open_(path, *rest, **more):
        if full[0] and str(path).endswith("audit.log"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *rest, **more)
    monkeypatch.setattr(os, "open", open_)
    kept = Trail(tmp_path / "audit")
    for _ in range(2):
        assert kept.add("test", "x", "ok") == kept.error == "No space left on device" and kept.errno == errno.ENOSPC
    assert kept.head == Head(0, START) and kept.last(3) == []
    full[0] = False
    assert kept.add("test", "y", "ok") == "" == kept.error and kept.head.entries == 1 and len(kept.last(3)) == 1
    kept.close()


def test_a_disk_that_is_not_there_is_no_full_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Trail(tmp_path / "nowhere" / "audit")


def test_a_trail_in_memory_ends_when_it_is_full(monkeypatch):
    monkeypatch.setattr(trail, "MEMORY_BYTES", 1000)
    kept, written = Trail(None), 0
    while not kept.add("test", "x", "ok"):
        written += 1
    assert 2 < written < 10 and kept.head.entries == written and "in memory is full" in kept.error
    assert verify([("memory", "\n".join([*kept.last(100), ""]).encode())]) == kept.head
    kept.close()
