# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that the extension carries: pinned by name and hash, fetched once with pip into a folder."""

from __future__ import annotations

import hashlib
import platform as machine
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("wheels.toml")


class BuildError(Exception):
    """The extension cannot be made; the text is one sentence with the fix."""


@dataclass(frozen=True)
class Wheel:
    """One wheel: its file name, the SHA-256 of its bytes, and the Blender platforms that it is for."""

    file: str
    sha256: str
    platforms: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, str, list[str]]:
        """Python ("cp311"), ABI, and operating systems, as its name has them."""
        python, abi, systems = self.file.removesuffix(".whl").split("-")[-3:]
        return python, abi, systems.split(".")

    @property
    def requirement(self) -> str:
        """A line of pip's requirements: this version, and no other bytes."""
        name, version = self.file.split("-")[:2]
        return f"{name}=={version} --hash=sha256:{self.sha256}\n"


def pinned() -> list[Wheel]:
    """All wheels of `wheels.toml`."""
    entries = tomllib.loads(LIST.read_text("utf-8"))["wheel"]
    return [Wheel(entry["file"], entry["sha256"], tuple(entry["platforms"])) for entry in entries]


def platforms() -> list[str]:
    """Blender's names of the platforms that there are wheels for."""
    return sorted({platform for wheel in pinned() for platform in wheel.platforms})


def this_platform() -> str:
    """Blender's name of the platform that this is."""
    system = {"Darwin": "macos"}.get(machine.system(), machine.system().lower())
    processor = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    return f"{system}-{processor.get(machine.machine().lower(), machine.machine().lower())}"


def wheels_for(platform: str, cache: Path) -> list[Path]:
    """The files that the zip of a platform carries, fetched if the cache lacks them. Raises `BuildError`."""
    return [fetch(wheel, cache) for wheel in pinned() if platform in wheel.platforms]


def fetch(wheel: Wheel, cache: Path) -> Path:
    """The file in the cache; pip fetches it if it is not there as it should be. Raises `BuildError`."""
    path = cache / wheel.file
    if not path.exists() or digest(path) != wheel.sha256:
        cache.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        said = _download(wheel, cache)
        if not path.exists() or digest(path) != wheel.sha256:
            raise BuildError(f"{wheel.file} could not be fetched; put it into {cache}, or mend what pip says: {said}")
    return path


def digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(wheel: Wheel, cache: Path) -> str:
    """Let pip fetch one wheel for another system than this; gives pip's last line."""
    python, abi, systems = wheel.tags
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(wheel.requirement, "utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--requirement", str(wanted), "--dest", str(cache), "--implementation", "cp"]
        command += ["--python-version", python.removeprefix("cp"), "--abi", abi]
        command += [word for system in systems for word in ("--platform", system)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stderr.strip().splitlines() or ["nothing"])[-1]
