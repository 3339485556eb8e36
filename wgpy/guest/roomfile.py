"""The room file: which room a guest is, and where what it needs lies. docs/room-file.md describes it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wgpy.errors import ConfigError

DEFAULT = "/etc/wgpy/room.toml"
MAX_FILE = 1 << 16
ROOMS = {"black": ("crypto",), "crypto": ("black", "red"), "red": ("crypto",)}
_LINKS = {"black": {"wan", "clear"}, "crypto": set(), "red": {"lan", "clear"}}
_KEYS = {"raw", "store", "credential"}
_DEFAULT_UID = 65532


@dataclass(frozen=True)
class RoomFile:
    """`rings`: the region shared with each neighbour. `links`: what this guest calls its links.
    `keys`: what opens crypto's keys, by kind. `console`: the terminal at which crypto is administered;
    `state`: the directory that outlives its guest, crypto's or red's."""
    room: str
    site: Path
    rings: dict[str, str]
    links: dict[str, str]
    keys: dict[str, str]
    uid: int = _DEFAULT_UID
    console: Path | None = None
    state: Path | None = None


def named_by(command_line: str) -> str:
    """The file that the kernel's command line names, as wgpy.room=PATH, or DEFAULT."""
    found = [word.partition("=")[2] for word in command_line.split() if word.startswith("wgpy.room=")]
    return found[-1] if found else DEFAULT


def load(path: Path) -> RoomFile:
    """ConfigError, which names the key."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE:
            raise ConfigError(f"more than {MAX_FILE} bytes", source=str(path))
        table = tomllib.loads(data.decode())
    except FileNotFoundError:
        raise ConfigError("this guest was given no room file; docs/room-file.md says what it holds", source=str(path)) from None
    except OSError as e:
        raise ConfigError(e.strerror or str(e), source=str(path)) from None
    except (ValueError, RecursionError) as e:
        raise ConfigError(str(e).splitlines()[0], source=str(path)) from None
    return _Reader(str(path), table).room_file()


class _Reader:
    def __init__(self, source: str, table: dict[str, Any]):
        self._source, self._table = source, table

    def room_file(self) -> RoomFile:
        self._known(self._table, {"room", "site", "uid", "rings", "links", "keys", "console", "state"})
        room, site, uid = self._text(self._table, "room"), self._text(self._table, "site"), self._table.get("uid", _DEFAULT_UID)
        if room not in ROOMS:
            raise self._wrong("room", "one of black, crypto, red")
        if type(uid) is not int or not 0 < uid < 1 << 31:
            raise self._wrong("uid", "a number of a user that is not root")
        rings = self._texts("rings", set(ROOMS[room]))
        if missing := [name for name in ROOMS[room] if name not in rings]:
            raise self._wrong(f"rings.{missing[0]}", "a region")
        keys = self._texts("keys", _KEYS if room == "crypto" else set())
        console, state = (self._texts(name, {key} if room in rooms else set()).get(key)
                          for name, key, rooms in (("console", "tty", ("crypto",)), ("state", "dir", ("crypto", "red"))))
        if room == "crypto" and ("raw" in keys) == ("store" in keys):
            raise self._wrong("keys", "either raw or store")
        if "credential" in keys and "store" not in keys:
            raise self._wrong("keys.credential", "beside a store")
        if "store" in keys and "credential" not in keys and console is None:
            raise self._wrong("keys", "a credential with a store, or there has to be a console to ask at")
        return RoomFile(room, Path(site), rings, self._texts("links", _LINKS[room]), keys, uid,
                        Path(console) if console else None, Path(state) if state else None)

    def _texts(self, name: str, known: set[str]) -> dict[str, str]:
        table = self._table.get(name, {})
        if not isinstance(table, dict):
            raise self._wrong(name, "a table")
        self._known(table, known, f"{name}.")
        return {key: self._text(table, key, f"{name}.") for key in table}

    def _text(self, table: Mapping[str, Any], key: str, prefix: str = "") -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self._wrong(prefix + key, "a text")
        return value

    def _known(self, table: Mapping[str, Any], known: set[str], prefix: str = "") -> None:
        for key in table.keys() - known:
            raise ConfigError("is not known here", source=self._source, key=(prefix + key)[:80])

    def _wrong(self, key: str, wanted: str) -> ConfigError:
        return ConfigError(f"has to be {wanted}", source=self._source, key=key)
