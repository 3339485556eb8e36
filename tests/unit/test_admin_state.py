"""The files that the supervisor opens for crypto, and credentials (A2, I1)."""

import errno
import json
import mmap
import os
import shutil
import subprocess
import sys

import pytest

from wgpy.admin.audit import AuditLog, last_head, verify
from wgpy.daemon import admin, credentials
from wgpy.errors import HostError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "keys.sealed").write_bytes(b"x")
    return tmp_path


def test_the_trail_rotates_and_its_chain_goes_on(directory, monkeypatch):
    monkeypatch.setattr(admin, "AUDIT_BYTES", 2000)
    state = admin.State(directory)
    fds = state.give()
    log = AuditLog(fds["audit"])
    for i in range(40):
        log.add("test", "x", "ok", i=i)
        fd = state.rotate()
        if fd is not None:
            log.rotate(fd)
    files = admin.trails(directory)
    assert len(files) > 3 and [p.name for p in files][:2] == ["audit.log.001", "audit.log.002"]
    assert verify([(p.name, p.read_bytes()) for p in files]) == log.head
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in files)
    again = state.give()  # after a restart of crypto
    resumed = AuditLog(again["audit"], last_head(again["audit.old"]))
    assert resumed.head == log.head
    state.close()


def test_crypto_dies_between_the_renaming_and_its_first_line(directory, monkeypatch):
    monkeypatch.setattr(admin, "AUDIT_BYTES", 10)
    state = admin.State(directory)
    AuditLog(state.give()["audit"]).add("test", "x", "ok")
    os.close(state.rotate())
    fds = state.give()
    AuditLog(fds["audit"], last_head(fds["audit.old"])).add("test", "y", "ok")
    assert verify([(p.name, p.read_bytes()) for p in admin.trails(directory)]).entries == 2
    state.close()


def test_a_rotation_that_fails_leaves_what_there_was(directory, monkeypatch):
    monkeypatch.setattr(admin, "AUDIT_BYTES", 10)
    state = admin.State(directory)
    log = AuditLog(state.give()["audit"])
    log.add("test", "x", "ok")
    opened = os.open
    monkeypatch.setattr(admin.os, "open", lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
    with pytest.raises(OSError):
        state.rotate()
    monkeypatch.setattr(admin.os, "open", opened)
    assert [p.name for p in admin.trails(directory)] == ["audit.log"]
    AuditLog(state.give()["audit"]).add("test", "y", "ok")
    log.rotate(state.rotate())
    assert [p.name for p in admin.trails(directory)] == ["audit.log.001", "audit.log"]
    state.close()


def test_no_store_and_no_link_in_its_place(tmp_path):
    with pytest.raises(HostError, match="wgpy site seal"):
        admin.State(tmp_path)
    (tmp_path / "keys.sealed").symlink_to("/etc/passwd")
    with pytest.raises(HostError):
        admin.State(tmp_path)


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
    code = "from wgpy.daemon import credentials; credentials.find('lima', None)"
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
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
    assert admin.firewall_counters("no-such-node") == {}
    assert json.dumps(admin.firewall_counters("no-such-node")) == "{}"
