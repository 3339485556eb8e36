"""A hostile sender, run as a program so that it has an interpreter of its own:
`python -I -m wgpy.lab.flood initiations|garbage ADDRESS PORT PUBLIC_KEY RATE SECONDS`.

Initiations carry a valid MAC1, which anyone who knows the public key can compute, and
nothing else that is valid. Sends for its time or until SIGTERM and prints a JSON object:
datagrams sent, cookie replies and responses received, send errors.
"""

import base64
import hashlib
import json
import os
import random
import signal
import socket
import sys
import time

INITIATION, RESPONSE, COOKIE_REPLY = 1, 2, 3
BATCH = 32


def initiation(mac1_key: bytes) -> bytes:
    body = b"\1\0\0\0" + os.urandom(112)
    return body + hashlib.blake2s(body, digest_size=16, key=mac1_key).digest() + bytes(16)


def garbage() -> bytes:
    """Any length, any type; often one of the four exact sizes with random contents."""
    size = random.choice((0, 1, 16, 31, 32, 64, 92, 148, 149, 1200, random.randrange(1472)))
    return (bytes((random.randrange(6), 0, 0, 0)) + os.urandom(size))[:size]


def main(kind: str, address: str, port: str, key: str, rate: str, seconds: str) -> None:
    mac1_key = hashlib.blake2s(b"mac1----" + base64.b64decode(key)).digest()
    make = {"initiations": lambda: initiation(mac1_key), "garbage": garbage}[kind]
    stock = [make() for _ in range(4096)]
    out = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    out.connect((address, int(port)))
    out.setblocking(False)
    counts = {"sent": 0, "errors": 0, INITIATION: 0, RESPONSE: 0, COOKIE_REPLY: 0}
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    began = time.monotonic()
    while not ended and (elapsed := time.monotonic() - began) < float(seconds):
        if counts["sent"] + counts["errors"] >= elapsed * float(rate):
            time.sleep(0.0005)
        for i in range(BATCH):
            try:
                out.send(stock[(counts["sent"] + i) % len(stock)])
                counts["sent"] += 1
            except OSError:
                counts["errors"] += 1
        try:
            while answer := out.recv(2048):
                counts[answer[0]] = counts.get(answer[0], 0) + 1
        except OSError:
            pass
    print(json.dumps({"sent": counts["sent"], "errors": counts["errors"],
                      "cookies": counts[COOKIE_REPLY], "responses": counts[RESPONSE]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
