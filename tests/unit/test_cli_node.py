"""`wgpy node`: the verbs stand together, and what is said of nodes that are up, that
crashed, and that are none. No root needed."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner

from wgpy.cli import client, node_state
from wgpy.cli.commands import cli
from wgpy.errors import HostError
from wgpy.node import keeper

ROOM = {"state": "ready", "pid": 7, "restarts": 0, "status": {}}


def document(name):
    return {"node": name, "mode": "small", "pid": 5, "up": True, "missing": ["eth9"],
            "not_configured": [{"room": "black", "line": "route x", "reason": "no", "needed": True}],
            "alarms": {"flood": {"active": True, "count": 2}, "under_load": {"active": False, "count": 0}},
            "reloads": {"count": 0, "refused": ""},
            "rooms": {"black": ROOM, "crypto": ROOM | {"status": {"peers": [{"sessions": 1}, {}]}}, "red": ROOM}}


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """lima is up, puno's supervisor crashed."""
    monkeypatch.setenv("WGPY_RUN_DIR", str(tmp_path))
    monkeypatch.setattr("wgpy.node.counters.firewall_counters", lambda name: {})
    lima, puno = keeper.Lock("lima"), keeper.Lock("puno")
    lima.write_pid()
    puno.close()
    for name in ("lima", "puno"):
        (tmp_path / name / "status.json").write_text(json.dumps(document(name)))
    yield tmp_path
    lima.close()


def said(*arguments):
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_verbs_of_tunnels_and_of_nodes():
    top = {"up", "down", "show", "why", "genkey", "genpsk", "pubkey", "doctor", "node", "vms", "camkes", "site", "keys", "suite", "lab"}
    assert set(cli.commands) == top
    assert set(cli.commands["node"].commands) == {"up", "down", "status", "reload", "top", "why", "audit"}
    assert set(cli.commands["vms"].commands) == {"up", "down", "reload", "status", "top", "console"}
    assert set(cli.commands["keys"].commands) == {"seal", "list", "passphrase", "psk", "unlock"}
    assert set(cli.commands["suite"].commands) == {"check", "include"}
    assert set(cli.commands["site"].commands) == {"new", "check", "explain", "show"}


def test_a_line_for_each_node_also_for_one_that_crashed(run_dir):
    lima, puno = said("node", "status").splitlines()
    assert lima == ("lima: up, small; black ready, crypto ready, red ready; 1 of 2 sites; FLOOD; "
                    "not configured: black: route x: no")
    assert puno.startswith("puno: its supervisor crashed: wgpy node up ")
    told = json.loads(said("node", "status", "--json"))
    assert told["lima"]["up"] and set(told["puno"]) == {"error"}


def test_the_rooms_of_one_node(run_dir):
    assert said("node", "status", "lima").splitlines() == [
        "lima: up, small, supervisor 5, 1 of 2 sites", "  flood: 2 times, now",
        *(f"  {room}: ready, process 7, restarts 0" for room in ("black", "crypto", "red")),
        "  not configured: black: route x: no", "  eth9: no such interface yet"]
    assert list(json.loads(said("node", "status", "lima", "--json"))) == ["lima"]


def test_the_only_node_that_is_up_needs_no_name(run_dir):
    """One that crashed is not asked about."""
    assert node_state.document(None)["node"] == "lima"
    with pytest.raises(HostError, match="puno: no such node is up"):
        node_state.document("puno")
    puno = keeper.Lock("puno")
    puno.write_pid()
    with pytest.raises(HostError, match="which node\\? lima, puno"):
        node_state.document(None)
    puno.close()


@pytest.mark.parametrize("answer", (b"[]\n\n", b"7\n\n", b"null\n\n", b"x\n\n", b"[" * 60000 + b"\n\n", b""))
def test_an_answer_that_is_none(run_dir, answer):
    """Crypto gives it, which the command need not trust."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run_dir / "lima" / "admin.sock"))
        server.listen()

        def serve():
            with server.accept()[0] as s:
                s.recv(4096)
                s.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(HostError, match="^lima: no answer$"):
                node_state.ask("lima", cmd="keys")
        finally:
            thread.join()


@pytest.mark.parametrize("arguments", (("status", "wg0"), ("top", "wg0"), ("reload", "wg0"), ("why", "x", "--node", "wg0")))
def test_who_names_a_tunnel_is_told_its_verb(run_dir, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(client, "socket_path", lambda name: str(tmp_path / f"{name}.sock"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wg0.sock"))
        server.listen()
        with pytest.raises(HostError, match="^wg0 is a tunnel, no node: wgpy show wg0, wgpy why wg0$"):
            CliRunner().invoke(cli, ["node", *arguments], catch_exceptions=False, standalone_mode=False)


def test_who_names_a_node_where_a_tunnel_is_meant_is_told_its_verb(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "socket_path", lambda name: str(tmp_path / f"{name}.sock"))
    with pytest.raises(HostError, match="^lima is a node, no tunnel: wgpy node why SITE --node lima$"):
        CliRunner().invoke(cli, ["why", "lima"], catch_exceptions=False, standalone_mode=False)
    with pytest.raises(HostError, match="^puno: no such tunnel is up"):
        CliRunner().invoke(cli, ["why", "puno"], catch_exceptions=False, standalone_mode=False)


def test_a_name_that_is_nothing(run_dir):
    for name in ("nobody", "../x"):
        with pytest.raises(HostError):
            node_state.document(name)
