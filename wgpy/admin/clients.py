"""Connected clients of a local socket: each has a bounded buffer and its turn, and none
can hold up another. A request ends with a blank line."""

import errno
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

from wgpy.loop import READ, WRITE, Watcher

MAX_CLIENTS = 64
MAX_REQUEST = 8 << 20  # bytes; room for every allowed IP that the plane can hold
MAX_LINE = 1024
_CHUNK = 65536
_Who = TypeVar("_Who")


class Clients(Generic[_Who]):
    """`reply(client, block)` gives the text to answer a request with, or None when
    client.answer() will come later; it must not raise. `may_be_long(start)` says of a
    request by its start whether its lines may have any length up to `longest`, which
    bounds a request of that kind; others have at most `long`."""

    def __init__(self, loop: Watcher, reply: Callable[["Client[_Who]", bytes], str | None],
                 may_be_long: Callable[[bytes], bool] = lambda start: False, *, most: int = MAX_CLIENTS,
                 long: int = MAX_REQUEST, longest: int = MAX_REQUEST):
        self._loop, self.reply, self.may_be_long, self._most = loop, reply, may_be_long, most
        self.long, self.longest = long, longest
        self._clients: dict[int, Client[_Who]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, connection: socket.socket, who: _Who) -> None:
        """Takes over a non-blocking connection; `who` is for reply(), as `client.who`."""
        if len(self._clients) >= self._most:
            self.drop_idlest()
        client = Client(connection, self, who)
        self._clients[client.fd] = client
        self._loop.watch(client.fd, READ, client.ready)

    def accept(self, listener: socket.socket, who: _Who) -> None:
        """The next connection that waits at a non-blocking listener; none is no error. Out of
        descriptors, the idlest client makes room."""
        try:
            connection, _ = listener.accept()
        except OSError as e:  # gone again, or out of descriptors: the loop goes on
            if e.errno in (errno.EMFILE, errno.ENFILE) and self._clients:
                self.drop_idlest()
            return
        connection.setblocking(False)
        self.add(connection, who)

    def drop(self, client: "Client[_Who]") -> None:
        """Closes the connection, with what was not answered."""
        del self._clients[client.fd]
        self._loop.forget(client.fd)
        client.socket.close()

    def drop_idlest(self) -> None:
        """The client first in the table: active ones are moved to the end."""
        self.drop(next(iter(self._clients.values())))

    def touch(self, client: "Client[_Who]") -> None:
        """It said something: others are idler."""
        self._clients[client.fd] = self._clients.pop(client.fd)

    def want(self, client: "Client[_Who]", events: int) -> None:
        """READ or WRITE, in place of what it waited for."""
        self._loop.watch(client.fd, events, client.ready)

    def rest(self, client: "Client[_Who]") -> None:
        """Hears of nothing until want()."""
        self._loop.forget(client.fd)

    def has(self, client: "Client[_Who]") -> bool:
        """False once it was dropped, even if another has its descriptor by now."""
        return self._clients.get(client.fd) is client

    def close(self) -> None:
        """Drops all; the listener is its owner's."""
        for client in list(self._clients.values()):
            self.drop(client)


class Client(Generic[_Who]):
    """While a reply is awaited, or waits to be written, nothing more is read."""

    def __init__(self, connection: socket.socket, clients: Clients[_Who], who: _Who):
        self.socket, self.fd, self._clients, self.who = connection, connection.fileno(), clients, who
        self._in, self._out = bytearray(), bytearray()
        self._seen = 0  # of self._in, searched for the end of a request
        self._ended = False

    def ready(self, events: int) -> None:
        """Of the loop: reads a piece, and serves at most one request."""
        try:
            if events & READ and not self._out:
                self._read()
            self._serve()
        except OSError:
            self._clients.drop(self)

    def _read(self) -> None:
        data = self.socket.recv(_CHUNK)
        self._ended = not data
        self._in += data
        self._clients.touch(self)

    def _serve(self) -> None:
        """At most one request a turn, so that a stream of them shares with others."""
        if self._out:
            self._write()
            return
        block = self._next_request()
        if block is not None:
            self._clients.rest(self)
            reply = self._clients.reply(self, block)
            if reply is not None:
                self.answer(reply)
        elif self._ended:
            self._clients.drop(self)

    def answer(self, text: str) -> None:
        """Once for each request; a client that is gone meanwhile is passed over."""
        if not self._clients.has(self):
            return
        self._out += text.encode("ascii")
        try:
            self._write()
        except OSError:
            self._clients.drop(self)

    def _next_request(self) -> bytes | None:
        end = self._in.find(b"\n\n", max(0, self._seen - 1))
        if end < 0:
            line = len(self._in) - (self._in.rfind(b"\n") + 1)
            self._seen = len(self._in)
            free = self._clients.may_be_long(bytes(self._in[:16]))
            if len(self._in) > (self._clients.longest if free else self._clients.long) or line > MAX_LINE and not free:
                raise ConnectionAbortedError("request too long")
            return None
        block = bytes(self._in[:end])
        del self._in[:end + 2]
        self._seen = 0
        return block.lstrip(b"\n")

    def _write(self) -> None:
        try:
            del self._out[:self.socket.send(self._out)]
        except BlockingIOError:
            pass
        # EPOLLOUT also brings us back for a request that is buffered already.
        again = self._out or b"\n\n" in self._in or self._ended
        self._clients.want(self, WRITE if again else READ)
