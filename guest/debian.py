"""Packages of Debian, fetched by apt from its signed lists into a folder of their own, and
unpacked. The machine's own sources, package status and list of architectures play no part.

What apt trusts here is Debian's archive keyring and nothing besides; each archive is compared
once more with the hash in the signed list before it is unpacked.
"""

import hashlib
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MERGED = {"bin", "sbin", "lib", "lib64"}  # of /usr, whatever a package says

CONFIGURATION = """Dir::Etc::main "/dev/null";
Dir::Etc::parts "{top}/apt/none";
Dir::Etc::sourcelist "{top}/apt/sources.list";
Dir::Etc::sourceparts "{top}/apt/none";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{top}/apt/none";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "{top}/apt/none";
Dir::State "{top}/apt/state";
Dir::State::status "{top}/apt/status";
Dir::Cache "{top}/apt/cache";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Default-Release "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
DPkg::Post-Invoke {{}};
APT::Update::Post-Invoke {{}};
APT::Update::Post-Invoke-Success {{}};
"""


class BuildError(Exception):
    """Said in one line, with the remedy where there is one."""


class FetchError(BuildError):
    """What is needed is not here and cannot be had."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    architecture: str
    sha256: str
    filename: str

    @property
    def archive(self) -> str:
        """Its name in apt's cache."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def run(*argv, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, cwd=cwd,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C", **(env or {})))
    except FileNotFoundError:
        raise BuildError(f"{argv[0]} is not installed: tools/packages.sh guests") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()
        said = [line for line in lines if not re.match(r"make(\[\d+\])?: \*\*\*", line)] or lines  # of each level, after the cause
        raise BuildError(f"{' '.join(map(str, argv[:3]))}: {said[-1]}")
    return done.stdout


def mirror() -> str:
    """MIRROR of the environment, or the mirror of Debian that apt of this machine uses. BuildError."""
    if given := os.environ.get("MIRROR"):
        return given
    for site in run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").split():
        if site.rstrip("/").endswith("/debian"):
            return site.rstrip("/").removesuffix("/debian")
    raise BuildError("apt of this machine knows no mirror of Debian: name one, MIRROR=http://... make guests")


class Archive:
    """The packages of one release for one architecture, kept in the folder `top`."""

    def __init__(self, top: Path, release: str, arch: str, mirror: str):
        self.top, self.release, self.arch = top, release, arch
        self._environment = {"APT_CONFIG": str(top / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
        if not Path(KEYRING).exists():
            raise BuildError(f"{KEYRING}: not here: apt-get install debian-archive-keyring")
        for name in ("none", "state/lists/partial", "cache/archives/partial"):
            (top / "apt" / name).mkdir(parents=True, exist_ok=True)
        suites = ((mirror + "/debian", release), (mirror + "/debian", release + "-updates"),
                  (mirror + "/debian-security", release + "-security"))
        (top / "apt/sources.list").write_text("".join(
            f"deb [arch={arch} signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in suites))
        (top / "apt/status").touch()
        (top / "apt.conf").write_text(CONFIGURATION.format(top=top, arch=arch))

    def apt(self, program: str, *argv, cwd: Path | None = None) -> str:
        return run(program, *argv, env=self._environment, cwd=cwd)

    def update(self) -> None:
        """The newest signed lists; apt fails where a signature is missing or wrong."""
        try:
            self.apt("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
        except BuildError as e:
            raise FetchError(str(e)) from None

    def resolve(self, names: list[str]) -> list[Package]:
        """What installing these would bring with it, by name."""
        said = self.apt("apt-get", "install", "-s", "-q", "--no-install-recommends", *names)
        wanted = [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+) ", said, re.MULTILINE)]
        records = self.apt("apt-cache", "show", "--no-all-versions", *sorted(wanted))
        return sorted((_package(r) for r in records.split("\n\n") if r.strip()), key=lambda p: p.name)

    def depends(self, name: str, like: str) -> str:
        """The package that a metapackage stands for."""
        found = re.findall(rf"Depends: ({like})$", self.apt("apt-cache", "depends", "--important", name), re.MULTILINE)
        if not found:
            raise BuildError(f"{name} of {self.release} depends on nothing like {like}")
        return found[0]

    def fetch(self, packages: list[Package]) -> list[Path]:
        """Their archives, each as the signed list says."""
        absent = [p for p in packages if not (self.top / "apt/cache/archives" / p.archive).exists()]
        if absent:
            try:
                self.apt("apt-get", "download", "-q", *(f"{p.name}={p.version}" for p in absent), cwd=self.top / "apt/cache/archives")
            except BuildError as e:
                raise FetchError(str(e)) from None
        return [self.verified(p) for p in packages]

    def verified(self, package: Package) -> Path:
        path = self.top / "apt/cache/archives" / package.archive
        if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
            raise BuildError(f"{path}: not what the signed list of {self.release} names: remove it and build again")
        return path


def _package(record: str) -> Package:
    fields = dict(re.findall(r"^([\w-]+): (.*)$", record, re.MULTILINE))
    return Package(fields["Package"], fields["Version"], fields["Architecture"], fields["SHA256"], fields["Filename"])


def place(name: str) -> str:
    """Where a file of a package is in a system whose /usr is merged."""
    path = PurePosixPath("/" + name.removeprefix("./").removeprefix("/"))
    if ".." in path.parts:
        raise BuildError(f"{name}: a package with a path that climbs")
    inner = path.relative_to("/")
    return str("usr" / inner if inner.parts and inner.parts[0] in MERGED else inner)


def unpack(deb: Path, root: Path) -> list[str]:
    """Writes the files and links of a package below `root`; their paths. Owners, times and
    what else an installation would do with them are left out. Absolute links become relative:
    else whoever follows one gets a file of the machine that builds."""
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    names = []
    with tar, tarfile.open(fileobj=tar.stdout, mode="r|") as contents:
        for member in contents:
            name = place(member.name)
            path = root / name
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if member.issym():
                target = member.linkname
                absolute = target.startswith("/")
                path.symlink_to(os.path.relpath(root / place(target), path.parent) if absolute else target)
            elif member.islnk():
                os.link(root / place(member.linkname), path)
            elif member.isfile():
                path.write_bytes(contents.extractfile(member).read())
                path.chmod(0o755 if member.mode & 0o111 else 0o644)
            names.append(name)
    if tar.returncode:
        raise BuildError(f"{deb}: dpkg-deb cannot read it")
    return names
