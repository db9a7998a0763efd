# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian in a folder, with its Blender, a screen that nobody sees, and what clicks on it. Needs root and Debian."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..environment import ROOT, SetupError

MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    *("blender", "python3-numpy", "python3-requests", "python3-zmq"),
    *("xvfb", "xauth", "xdotool", "imagemagick", "openbox", "procps"),
    *("libgl1", "libgl1-mesa-dri", "libglx-mesa0", "libegl1", "libegl-mesa0", "fonts-dejavu-core"),
)
OUTSIDE = "real"
# No service of a package may start on the real machine.
POLICY = "#!/bin/sh\nexit 101\n"


@dataclass(frozen=True)
class System:
    """One Debian release, the Blender that it has, and the packages that only it needs."""

    suite: str
    blender: str
    more: tuple[str, ...] = field(default=())

    @property
    def packages(self) -> tuple[str, ...]:
        """Everything that is installed on top of the smallest system."""
        return (*PACKAGES, *self.more)


SYSTEMS = (System("trixie", "4.3"), System("sid", "5.2", ("python3-cattr",)))


def require_debian() -> None:
    """Raises `SetupError` unless this is root on a Debian (or one of its kin): only there can all this be set up."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError(
            "The window test makes Debian systems in folders and runs Blender in them: run it as root on Debian or Ubuntu."
        )


def ensure(system: System, folder: Path, say=print) -> Path:
    """The root of this system in `folder`, made in minutes unless it is there (2 GB). Raises `SetupError`."""
    root = folder / system.suite
    stamp, wanted = root / "teamwork-stamp", hashlib.sha256(" ".join(system.packages).encode()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return root
    say(f"Setting up Debian {system.suite} with Blender {system.blender} in {root} (once; 2 GB, minutes)")
    if not (root / "usr/bin/apt-get").exists():
        _bootstrap(system.suite, root)
    _install(system, root)
    stamp.write_text(wanted, "utf-8")
    return root


def _bootstrap(suite: str, root: Path) -> None:
    if not shutil.which("debootstrap"):
        _call(["apt-get", "update", "-q"])
        _call(["apt-get", "install", "-y", "-q", "debootstrap"])
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_name(f"{root.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    _call(["debootstrap", "--variant=minbase", suite, str(partial), MIRROR])
    partial.rename(root)


def _install(system: System, root: Path) -> None:
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(POLICY, "utf-8")
    policy.chmod(0o755)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with mounted(root, ()):
        _call(["chroot", str(root), "apt-get", "update", "-q", "-o", "Acquire::Check-Valid-Until=false"], quiet)  # late mirrors
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *system.packages]
        _call(["chroot", str(root), *install], quiet)
        _call(["chroot", str(root), "apt-get", "clean"], quiet)


def _call(command: Sequence[str], more: dict[str, str] | None = None) -> None:
    ran = subprocess.run(command, env={**os.environ, **(more or {})}, capture_output=True, text=True, check=False)
    if ran.returncode:
        last = " / ".join((ran.stderr or ran.stdout).strip().splitlines()[-3:])
        raise SetupError(f"`{' '.join(command[:6])}` failed: {last}")


@contextmanager
def mounted(root: Path, shared: Sequence[Path]) -> Iterator[None]:
    """The system with /proc, shared memory and these folders of ours, each at its own path, and the whole real system
    below `OUTSIDE`; all let go of at the end.
    """
    mounts = [("proc", "proc", ["-t", "proc"]), ("tmpfs", "dev/shm", ["-t", "tmpfs"]), ("/", OUTSIDE, ["--bind"])]
    mounts += [(f"/{name}", f"{OUTSIDE}/{name}", ["--bind"]) for name in ("proc", "dev")]
    mounts += [(str(path), str(path.relative_to("/")), ["--bind"]) for path in shared]
    done: list[Path] = []
    try:
        for source, place, options in mounts:
            target = root / place
            target.mkdir(parents=True, exist_ok=True)
            if not os.path.ismount(target):
                _call(["mount", *options, source, str(target)])
                done.append(target)
                # letting go of what is mounted below this must never reach the real system's own mounts
                _call(["mount", "--make-private", str(target)])
        yield
    finally:
        for target in reversed(done):
            subprocess.run(["umount", "-l", str(target)], capture_output=True, check=False)


def default_folder() -> Path:
    """Where the systems are kept."""
    return ROOT / ".chroots"
