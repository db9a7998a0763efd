# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a Python that the environment can be made from, on a computer that may have none, or many that do not fit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import SetupError

OLDEST, NEWEST = (3, 11), (3, 13)
VERSIONS = ("3.12", "3.11", "3.13")
"""Those that fit, the ones that most packages are tested with first."""
ASK_SECONDS = 30.0
ALONE = ("-I", "-X", "utf8")
"""Python by itself, whatever the variables say; what it prints is UTF-8 on every system."""
QUESTION = (
    "import sys, sysconfig, venv, ensurepip, ctypes, ssl; "
    "print(*sys.version_info[:2], sys.maxsize > 2**32, sysconfig.get_platform(), sys.base_prefix)"
)
HIDDEN = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}

Run = Callable[[list[str]], int]
"""Runs a command of uv; gives its exit status."""


@dataclass(frozen=True)
class Verdict:
    """What is known about one Python: `problem` is empty if the environment can be made from it."""

    path: Path
    version: str
    problem: str


def clean_environment() -> dict[str, str]:
    """The variables without those that make one Python use another's modules: in Blender they are Blender's."""
    foreign = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def judge(path: Path) -> Verdict:
    """Ask a Python what it is. Never raises."""
    asked = _ask([str(path), *ALONE, "-c", QUESTION])
    if asked is None:
        version = (_ask([str(path), *ALONE, "-c", "import sys; print(*sys.version_info[:2])"]) or "").replace(" ", ".")
        return Verdict(path, version, "has no venv (python3-venv)" if version else "does not run")
    major, minor, wide, system, base = asked.split(maxsplit=4)
    version = f"{major}.{minor}"
    if not OLDEST <= (int(major), int(minor)) <= NEWEST:
        return Verdict(path, version, f"is Python {version}")
    return Verdict(path, version, _problem(wide == "True", system, base, platform.machine()))


def _problem(wide: bool, system: str, base: str, machine: str) -> str:
    """What is wrong with a Python of a version that fits, made for `system` and installed in `base`, on such a machine."""
    if not wide:
        return "is a 32 bit Python"
    if "WindowsApps" in base:
        return "is from the Microsoft Store, and Blender cannot see what that one writes"
    return "is for Intel Macs" if machine == "arm64" and system.startswith("macosx") and system.endswith("x86_64") else ""


def _ask(command: list[str]) -> str | None:
    """What a command prints; None if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=ASK_SECONDS, env=clean_environment(),
            check=False, stdin=subprocess.DEVNULL, **HIDDEN,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    said = (done.stdout or "").strip()
    return said if done.returncode == 0 and said else None


def find(chosen: str, own: Path | None, run: Run) -> Path:
    """The Python to make the environment from: the chosen one; one of this computer; one that uv fetches; or `own`,
    Blender's, from which a virtual environment can be made that leaves it as it is.

    Raises `SetupError` that says what was looked at.
    """
    if chosen:
        return _chosen(Path(chosen).expanduser())
    verdicts = []
    for path in candidates():
        verdicts.append(judge(path))
        if not verdicts[-1].problem:
            return path
    path = _from_uv(run) or _own(own, verdicts)
    if path is None:
        raise SetupError(f"{_seen(verdicts)} Install Python 3.12 or uv, or choose a Python of {_span()} in the preferences.")
    return path


def _chosen(path: Path) -> Path:
    if not path.is_file():
        raise SetupError(f"There is no Python at {path}: choose one of {_span()}, or leave the field empty.")
    verdict = judge(path)
    if verdict.problem:
        raise SetupError(f"{path} {verdict.problem}: choose a Python of {_span()} with venv, or leave the field empty.")
    return path


def _own(own: Path | None, verdicts: list[Verdict]) -> Path | None:
    if own is None:
        return None
    verdicts.append(judge(own))
    return None if verdicts[-1].problem else own


def _span() -> str:
    return f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"


def _seen(verdicts: Iterable[Verdict]) -> str:
    told = ", ".join(f"{each.path} {each.problem}" for each in verdicts)
    return f"No Python here fits the engine ({told})." if told else "There is no Python on this computer for the engine."


def candidates() -> Iterator[Path]:
    """Pythons of this computer, by their names in the usual places; each once."""
    seen: set[Path] = set()
    for path in (*_named(), *_windows()):
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield path


def _named() -> Iterator[Path]:
    names = [*(f"python{version}" for version in VERSIONS), "python3", "python"]
    for name in names:
        found = shutil.which(name, path=_without_stubs(search_path()) if sys.platform == "darwin" else search_path())
        if found:
            yield Path(found)


def _without_stubs(path: str) -> str:
    """Without the folder of macOS' own Python, which is too old, and where there is none asks in a window whether to install it."""
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder.rstrip("/") != "/usr/bin")


def _windows() -> Iterator[Path]:
    """What the Python launcher of Windows knows."""
    if sys.platform != "win32" or not shutil.which("py"):
        return
    for version in VERSIONS:
        path = _ask(["py", f"-{version}", *ALONE, "-c", "import sys; print(sys.executable)"])
        if path:
            yield Path(path)


def search_path() -> str:
    """PATH and the places that a program started from a desktop does not have in it."""
    home = Path.home()
    frameworks = [f"/Library/Frameworks/Python.framework/Versions/{version}/bin" for version in VERSIONS]
    more = [home / ".local/bin", home / ".cargo/bin", "/opt/homebrew/bin", "/usr/local/bin", *frameworks]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, more)])


def _from_uv(run: Run) -> Path | None:
    """A Python that uv has or fetches; None without uv, or if it has no success (its reason is in the log)."""
    uv = shutil.which("uv", path=search_path())
    if uv is None:
        return None
    wanted = f">={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"
    find_it = [uv, "python", "find", "--no-project", wanted]
    found = _ask(find_it)
    if found is None and run([uv, "python", "install", VERSIONS[0]]) == 0:
        found = _ask(find_it)
    return Path(found) if found and not judge(Path(found)).problem else None
