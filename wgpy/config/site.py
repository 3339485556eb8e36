"""The site file: one TOML document that describes one node as a whole.

`parse` reports every error at once; `load` raises the first. Secrets never stand in the
file: `psk` is a name in the key store.
"""

from wgpy.config import site_check, site_read, site_text
from wgpy.config.site_model import Site, SuiteSizes
from wgpy.errors import ConfigError

MAX_FILE = 1 << 20  # bytes


def parse(text: str, source: str, sizes: SuiteSizes | None = None) -> tuple[Site | None, list[ConfigError], list[str]]:
    """(site or None, errors in order of lines, warnings as lines of text); never raises.
    `source` names the file in them. `sizes`: of the suite that the file names; None where nobody
    has asked its library: keys may then have any length."""
    report = site_text.Report(text, source)
    site = None
    data = report.load()
    if data is not None:
        site = site_read.read(data, report, sizes)
    if site is not None:
        site_check.check(site, report)
    return report.result(site)


def load(path: str) -> Site:
    """The site of a file, its suite not asked for sizes. ConfigError with the first error; OSError
    if unreadable."""
    return read(path)[0]


def read(path: str, sizes: SuiteSizes | None = None) -> tuple[Site, bytes]:
    """The site of a file, and the file's bytes; `sizes` as for parse(). Errors as of load()."""
    with open(path, "rb") as f:
        data = f.read(MAX_FILE + 1)
    return checked(data, str(path), sizes), data


def checked(data: bytes, source: str, sizes: SuiteSizes | None = None) -> Site:
    """The site of a file's bytes. ConfigError with the first error, and how many more there are."""
    site, errors, _ = parse_bytes(data, source, sizes)
    return good(site, errors, source)


def good(site: Site | None, errors: list[ConfigError], source: str) -> Site:
    """As checked(), of what parse() has found."""
    if site is None:
        first, more = errors[0], len(errors) - 1
        tail = f" (and {more} more: wgpy site check {source})" if more else ""
        raise ConfigError(first.message + tail, source=first.source, line=first.line,
                          key=first.key)
    return site


def parse_bytes(data: bytes, source: str, sizes: SuiteSizes | None = None) -> tuple[Site | None, list[ConfigError], list[str]]:
    """As `parse`, for a file's bytes; longer than MAX_FILE or not UTF-8 is an error. A byte
    order mark, as editors of Windows write it, is none."""
    if len(data) > MAX_FILE:
        return None, [ConfigError(f"longer than {MAX_FILE} bytes", source=source, line=1)], []
    try:
        return parse(text_of(data), source, sizes)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return None, [ConfigError("not UTF-8 text", source=source, line=line)], []


def text_of(data: bytes) -> str:
    """UnicodeDecodeError."""
    return data.decode("utf-8-sig")
