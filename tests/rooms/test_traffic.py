"""Hosts that have nothing but a default route reach each other and, in small mode, the
Internet, through three rooms on each side (I2, I4, I5, F5)."""

import hashlib
import http.server
import os
import socketserver
import threading
from contextlib import contextmanager

import pytest
from rooms.nodes import WEB

from wgpy.lab.traffic import fetch, ping

pytestmark = pytest.mark.netns


class Page(http.server.BaseHTTPRequestHandler):
    body = os.urandom(3_000_000)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    """Without the name look-up of http.server's, which nothing would answer here."""
    allow_reuse_address = daemon_threads = True


@contextmanager
def serving(ns, address):
    """A web server there, for as long as the block lasts."""
    with ns.entered():
        server = Server((address, 8080), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def fetched(host, address):
    return fetch(host, f"{address}:8080", "/").sha256 == hashlib.sha256(Page.body).hexdigest()


def test_hosts_reach_each_other(both_modes):
    assert ping(both_modes.a.host, both_modes.b.address, wait=60).lost == 0
    assert ping(both_modes.b.host, both_modes.a.address).lost == 0
    for node, other in (both_modes.nodes, both_modes.nodes[::-1]):
        with serving(other.host, other.address):
            assert fetched(node.host, other.address)


def test_the_internet_is_beside_the_tunnel_in_small_mode_only(both_modes):
    with serving(both_modes.internet, WEB):
        if both_modes.a.mode == "small":
            assert ping(both_modes.a.host, WEB).lost == 0 and fetched(both_modes.a.host, WEB)
        else:
            assert ping(both_modes.a.host, WEB, wait=0.5).lost == 3
            for room in ("black", "red"):
                assert "clear0" not in both_modes.a.inside(room, "ip", "link").stdout
