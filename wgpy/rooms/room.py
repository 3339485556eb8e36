"""python -P -s -m wgpy.rooms.room ROOM: the process of one room. Descriptor 3 is the
channel to the supervisor; everything else comes over it."""

import gc
import importlib
import logging
import os
import socket
import sys
import threading

from wgpy import logs
from wgpy.errors import HostError, WgpyError
from wgpy.isolate import jail, start
from wgpy.rooms import control

CONTROL_FD = 3
MODULES = {"black": "wgpy.black.main", "crypto": "wgpy.crypto.main", "red": "wgpy.red.main"}


def main() -> None:
    """Ends without cleaning up: the kernel does, and nothing of a room is worth keeping."""
    start.begin()
    room = sys.argv[1] if len(sys.argv) == 2 else ""
    if room not in MODULES:
        sys.exit("usage: python -P -s -m wgpy.rooms.room black|crypto|red")
    os.closerange(CONTROL_FD + 1, 65536)
    logs.begin(logs.Stderr(), room, when=False)
    module = importlib.import_module(MODULES[room])
    channel = control.Channel(socket.socket(fileno=CONTROL_FD))
    first = channel.receive()
    if first is None:
        sys.exit(f"{room}: no supervisor")
    options, fds = first
    os.umask(0o077)
    try:
        with jail.step("what is loaded beforehand"):
            _preload()
        jail.enter_network(fds.pop("netns", None))
        running = module.Room(channel, options, fds)
        jail.enter(room, options.pop("uid"), running.as_root, running.library)
        running.load()
        running.start()
        jail.lock(room, running.writable())
    except (WgpyError, OSError) as e:
        sys.exit(f"{room}: {e}")
    gc.collect()
    gc.freeze()
    try:
        with jail.step("the threads that move packets"):
            running.launch()
        channel.send({"ready": True})
        running.run()
    except HostError as e:
        print(f"{room}: {e}", file=sys.stderr, flush=True)
    except Exception:
        logging.getLogger(__name__).exception("internal error")
    finally:
        sys.stdout.flush()
        os._exit(0)


def _preload() -> None:
    """What CPython would otherwise import or open on first use, behind the jail."""
    for name in ("encodings.idna", "encodings.ascii", "encodings.latin_1", "encodings.utf_8_sig", "traceback", "linecache", "tokenize",
                 "unicodedata", "_strptime", "locale"):
        importlib.import_module(name)
    logging.getLogger().handlers[0].format(logging.makeLogRecord({"msg": ""}))
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()


if __name__ == "__main__":
    main()
