"""The site file: one TOML document that describes one node as a whole.

`parse` reports every error at once; `load` raises the first. Secrets never stand in the
file: `psk` is a name in the key store.
"""

from wgpy.config import site_check, site_read, site_text
from wgpy.config.site_model import Site
from wgpy.errors import ConfigError

MAX_FILE = 1 << 20  # bytes


def parse(text: str, source: str) -> tuple[Site | None, list[ConfigError], list[str]]:
    """(site or None, errors in order of lines, warnings as lines of text); never raises.
    `source` names the file in them."""
    report = site_text.Report(text, source)
    site = None
    data = report.load()
    if data is not None:
        site = site_read.read(data, report)
    if site is not None:
        site_check.check(site, report)
    return report.result(site)


def load(path: str) -> Site:
    """The site of a file. ConfigError with the first error; OSError if unreadable."""
    path = str(path)
    with open(path, "rb") as f:
        data = f.read(MAX_FILE + 1)
    site, errors, _ = parse_bytes(data, path)
    if errors:
        first, more = errors[0], len(errors) - 1
        tail = f" (and {more} more: wgpy site check {path})" if more else ""
        raise ConfigError(first.message + tail, source=first.source, line=first.line,
                          key=first.key)
    return site


def parse_bytes(data: bytes, source: str) -> tuple[Site | None, list[ConfigError], list[str]]:
    """As `parse`, for a file's bytes; longer than MAX_FILE or not UTF-8 is an error. A byte
    order mark, as editors of Windows write it, is none."""
    if len(data) > MAX_FILE:
        return None, [ConfigError(f"longer than {MAX_FILE} bytes", source=source, line=1)], []
    try:
        return parse(text_of(data), source)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return None, [ConfigError("not UTF-8 text", source=source, line=line)], []


def text_of(data: bytes) -> str:
    """UnicodeDecodeError."""
    return data.decode("utf-8-sig")
