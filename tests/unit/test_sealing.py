"""`wgpy keys seal` and `passphrase`, `wgpy site show` and `wgpy node audit verify`, as an
administrator types them (A2, I6). No root needed."""

import base64
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from nacl.public import PrivateKey
from site_files import KEY, KEY2, LIMA, PUNO, edited

from wgpy.cli.keys import keys

SITE = edited(LIMA, ('["192.0.2.10/24"]', '["192.0.2.10/24", "2001:db8::2/64"]')) + 'psk = "cusco"\n' + PUNO


def b64(key):
    return base64.b64encode(bytes(key)).decode()


def key_pair():
    private = PrivateKey.generate()
    return b64(private), b64(private.public_key)


class Admin:
    def __init__(self, directory):
        self.directory = directory
        self.cusco, self.puno = key_pair()[1], key_pair()[1]
        self.site = directory / "lima.toml"
        self.site.write_text(edited(SITE, (KEY, self.cusco), (KEY2, self.puno)))
        self.credential = directory / "secret"
        self.credential.write_text("correct horse\n")
        self.state = directory / "state" / "lima"

    def run(self, *arguments, stdin="", fails=False):
        environment = os.environ | {"WGPY_STATE_DIR": str(self.directory / "state"),
                                    "WGPY_RUN_DIR": str(self.directory / "run")}
        done = subprocess.run([sys.executable, "-I", "-m", "wgpy.cli", *map(str, arguments)], input=stdin, text=True,
                              capture_output=True, env=environment, timeout=60, start_new_session=True)
        assert "Traceback" not in done.stderr
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    def seal(self, *arguments, **options):
        return self.run("keys", "seal", self.site, "--credential", self.credential, *arguments, **options)

    def everything(self):
        return b"".join(p.read_bytes() for p in self.state.rglob("*") if p.is_file())


@pytest.fixture
def admin(tmp_path):
    return Admin(tmp_path)


def test_a_new_store_has_a_new_key_that_others_can_be_told(admin):
    done = json.loads(admin.seal("--new-psk", "cusco", "--json"))
    assert done["created"] and done["psks"] == ["cusco"] and done["missing"] == []
    assert (admin.state / "keys.sealed").stat().st_mode & 0o777 == 0o600
    assert admin.state.stat().st_mode & 0o777 == 0o700
    block = admin.run("site", "show", admin.site)
    assert done["public_key"] in block and '"10.1.0.0/24"' in block
    assert '"192.0.2.10:51820"' in block and '"[2001:db8::2]:51820"' in block
    assert json.loads(admin.run("site", "show", admin.site, "--json"))["public_key"] == done["public_key"]


def test_sealing_again_keeps_the_key_and_adds(admin):
    first = json.loads(admin.seal("--json"))
    assert first["missing"] == ["cusco"]
    psk = b64(os.urandom(32))
    second = json.loads(admin.seal("--psk", "cusco", "--json", stdin=psk + "\n"))
    assert not second["created"] and second["public_key"] == first["public_key"]
    assert second["missing"] == [] and psk not in json.dumps(second)


def test_import_of_a_wg_file_and_no_plaintext_left(admin):
    private, public = key_pair()
    psk, other = b64(os.urandom(32)), b64(os.urandom(32))
    conf = admin.directory / "wg0.conf"
    conf.write_text(f"[Interface]\nPrivateKey = {private}\nAddress = 10.1.0.1/24\n"
                    f"[Peer]\nPublicKey = {admin.cusco}\nPresharedKey = {psk}\n"
                    f"[Peer]\nPublicKey = {admin.puno}\nPresharedKey = {other}\n")
    conf.chmod(0o600)
    done = json.loads(admin.seal("--import", conf, "--json"))
    assert done["public_key"] == public and done["psks"] == ["cusco"]
    assert any("puno has no psk" in note for note in done["notes"])
    stored = admin.everything()
    for secret in (private, psk, other):
        assert secret.encode() not in stored and base64.b64decode(secret) not in stored
    assert private not in json.dumps(done) and psk not in json.dumps(done)
    third, _ = key_pair()
    conf.write_text(f"[Interface]\nPrivateKey = {third}\n")
    assert "--replace-key" in admin.seal("--import", conf, fails=True)
    assert json.loads(admin.seal("--json"))["public_key"] == public
    assert json.loads(admin.seal("--import", conf, "--replace-key", "--json"))["public_key"] != public


def test_errors_are_one_line_and_leave_no_half_store(admin):
    admin.credential.write_text("")
    assert "credential has" in admin.seal(fails=True)
    admin.credential.write_text("correct horse")
    assert "no [[site]] has psk" in admin.seal("--new-psk", "nobody", fails=True)
    assert "44 characters" in admin.seal("--psk", "cusco", stdin="short\n", fails=True)
    assert not list(admin.state.glob("keys*")) if admin.state.exists() else True
    assert "no keys yet" in admin.run("site", "show", admin.site, fails=True)
    assert "terminal" in admin.run("keys", "seal", admin.site, fails=True)
    admin.seal()
    admin.credential.write_text("wrong")
    assert "does not open" in admin.seal(fails=True)
    store = admin.state / "keys.sealed"
    data = bytearray(store.read_bytes())
    data[4096 + 130] ^= 1
    store.write_bytes(data)
    admin.credential.write_text("correct horse")
    assert "changed since it was sealed" in admin.seal(fails=True)
    store.write_bytes(bytes(data)[:10_000])
    assert "truncated" in admin.seal(fails=True)
    for text in (admin.seal(fails=True), admin.run("keys", "seal", admin.directory / "none", fails=True)):
        assert len(text.splitlines()) == 1


def test_a_change_of_passphrase_while_the_node_is_down(admin):
    admin.seal()
    other = admin.directory / "other"
    other.write_text("battery staple")
    admin.run("keys", "passphrase", admin.site, "--old", admin.credential, "--new", other)
    assert "does not open" in admin.seal(fails=True)
    again = ("keys", "passphrase", admin.site, "--old", admin.credential, "--new", other)
    assert "does not open" in admin.run(*again, fails=True)
    admin.credential.write_text("battery staple")
    admin.seal()
    assert "no such node" in admin.run("keys", "passphrase", "lima", "--old", other, "--new", other, fails=True)


def test_a_running_node_keeps_its_store_to_itself(admin):
    from wgpy.node.state import open_keys
    admin.seal()
    fd = open_keys(admin.state)
    assert "in use by a running node" in admin.seal(fails=True)
    os.close(fd)
    admin.seal()


def test_verifying_a_trail_from_the_command_line(admin):
    from wgpy.admin.audit import AuditLog
    admin.state.mkdir(parents=True)
    log = AuditLog(os.open(admin.state / "audit.log", os.O_RDWR | os.O_APPEND | os.O_CREAT))
    for _ in range(3):
        log.add("test", "x", "ok")
    told = json.loads(admin.run("node", "audit", "verify", "lima", "--json"))
    assert told["entries"] == 3 and told["hash"] == log.head.hash
    assert log.head.hash in admin.run("node", "audit", "verify", admin.site)
    assert "unbroken" in admin.run("node", "audit", "verify", admin.state / "audit.log", "--head", log.head.hash)
    lines = (admin.state / "audit.log").read_bytes().splitlines(keepends=True)
    (admin.state / "audit.log").write_bytes(lines[0] + lines[2])
    assert "does not follow" in admin.run("node", "audit", "verify", "lima", fails=True)
    (admin.state / "audit.log").write_bytes(lines[0])
    assert "missing at the end" in admin.run("node", "audit", "verify", "lima", "--head", log.head.hash, fails=True)
    assert "no audit log" in admin.run("node", "audit", "verify", "nobody", fails=True)


def test_an_administrator_who_is_not_root_asks_the_node(tmp_path, monkeypatch):
    """I1: the supervisor's lock is root's, and the group wgpy-admin may change the passphrase."""
    asked = []

    def refuse(name):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("wgpy.node.keeper.holder", refuse)
    monkeypatch.setattr("wgpy.cli.node_state.ask", lambda node, via=None, **request: asked.append((node, request)))
    (tmp_path / "old").write_text("a")
    (tmp_path / "new").write_text("b")
    done = CliRunner().invoke(keys, ["passphrase", "lima", "--old", str(tmp_path / "old"), "--new", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert asked == [("lima", {"cmd": "passphrase-change", "old": "a", "new": "b"})]


def test_a_trail_that_red_kept_is_read_with_the_nodes_key_store_and_says_what_is_missing(admin):
    from wgpy.admin.audit import AuditLog
    from wgpy.crypto.keystore import FileSlot, KeyStore
    from wgpy.crypto.pieces import DATA, TRAILS, Piece, Sealer
    from wgpy.ring.lane import PIECE, PIECES
    admin.seal()
    store, file, trail = admin.state / "keys.sealed", admin.directory / "kept", admin.directory / "trail"
    with open(store, "rb") as f:
        sealer = Sealer(bytes(KeyStore.open(FileSlot(f.fileno()), bytearray(b"correct horse")).document.private_key))
    kept, number, logs = bytearray(PIECE * PIECES), 0, []
    for life in (1, 2):
        log = AuditLog(os.open(admin.directory / str(life), os.O_RDWR | os.O_APPEND | os.O_CREAT))
        for _ in range(20):
            log.add("console", "x", "ok")
        logs.append((admin.directory / str(life)).read_bytes())
        for at in range(0, len(logs[-1]), DATA):
            number += 1
            data, place = logs[-1][at:at + DATA], TRAILS[number % len(TRAILS)]
            kept[place * PIECE:(place + 1) * PIECE] = sealer.seal(Piece(place, number, life, 0, number, len(data), at, data))
    file.write_bytes(kept)
    command = ("node", "audit", "kept", file, "--keys", store, "--credential", admin.credential)
    for start in (1, 2):
        said = admin.run(*command, "--start", start)
        assert said.encode() == logs[-start]
        trail.write_text(said)
        assert "20 entries, unbroken" in admin.run("node", "audit", "verify", trail)
    assert "the trails of 2 starts" in admin.run(*command, "--start", 3, fails=True)
    place = TRAILS[number % len(TRAILS)]
    file.write_bytes(kept[:place * PIECE] + bytes(PIECE) + kept[(place + 1) * PIECE:])
    assert admin.run(*command).encode() == logs[1][:len(logs[1]) // DATA * DATA], "nothing says that there was more"
    place = TRAILS[2]
    file.write_bytes(kept[:place * PIECE] + bytes(PIECE) + kept[(place + 1) * PIECE:])
    assert "pieces 2 to 2 of the trail are missing" in admin.run(*command, fails=True)
    file.write_bytes(os.urandom(len(kept)))
    assert "nothing there was kept for this node" in admin.run(*command, fails=True)
    admin.credential.write_text("wrong")
    assert "does not open" in admin.run(*command, fails=True)
