# SPDX-License-Identifier: GPL-3.0-or-later
"""What pip says, and how it is said to a user."""

from __future__ import annotations

import re
from pathlib import Path

_RAW = re.compile(r"Progress (\d+) of (\d+)")
_TOLD = re.compile(r"\s*(Collecting|Downloading|Using cached|Building wheel for|Installing collected packages:)\s+(\S+)")
_VERBS = {"Using cached": "Found", "Building wheel for": "Building", "Installing collected packages:": "Unpacking"}

_CAUSES = (
    (r"No space left on device|Errno 28", "The disk is full: make room, then set up again"),
    (r"CERTIFICATE_VERIFY_FAILED", "The package index's certificate is not trusted here: see your proxy's settings"),
    (
        r"NewConnectionError|ConnectTimeout|Name or service not known|getaddrinfo failed|Temporary failure in name|"
        r"ProxyError|Max retries exceeded|ReadTimeout|Connection (refused|reset|aborted)|Network is unreachable",
        "The package index cannot be reached: see whether this computer is online, then set up again",
    ),
    (
        r"Permission denied|Errno 13|WinError 5|Access is denied",
        "A file cannot be written, perhaps because an engine still uses it: end all Blenders but this one, then set up again",
    ),
    (r"Could not find a version|No matching distribution", "The package index has no build of {package} for this computer"),
)
_WANTED = re.compile(r"No matching distribution found for ([\w.\-\[\]=<>~!+]+)")
MEGABYTE = 1e6


class PipTalk:
    """Follows what pip says: `line` is for the user, `bytes` have been downloaded."""

    def __init__(self) -> None:
        self.line, self.bytes = "", 0
        self._what, self._before = "", 0
        self._last: list[str] = []

    def hear(self, line: str) -> bool:
        """Take a line; True if it is only of use at the moment."""
        raw = _RAW.fullmatch(line)
        if raw:
            self._count(int(raw[1]), int(raw[2]))
            return True
        self._last = [*self._last[-60:], line]
        told = _TOLD.match(line)
        if told:
            self._what = f"{_VERBS.get(told[1], told[1])} {_short(told[2])}"
            self.line, self._before = self._what, self.bytes
        return False

    def _count(self, done: int, total: int) -> None:
        if total:
            self.bytes = self._before + done
            self.line = f"{self._what}, {done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB"

    def cause(self) -> str:
        """Why it failed: a cause that is known, else pip's own last error."""
        text = "\n".join(self._last)
        wanted = _WANTED.search(text)
        for pattern, sentence in _CAUSES:
            if re.search(pattern, text):
                return sentence.format(package=wanted[1] if wanted else "a package")
        errors = [line for line in self._last if line.startswith(("ERROR:", "error:"))] or self._last[-1:]
        return errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else "pip said nothing"


def _short(word: str) -> str:
    """A wheel's name and version, or a package without its constraints."""
    name = word.rsplit("/", 1)[-1].rstrip(",")
    return "-".join(name.split("-")[:2]) if name.endswith(".whl") else re.split(r"[\[<>=!~;(@]", name)[0]


def index_options(index: str, extra: str) -> list[str]:
    """Where pip looks: in the user's own index, folder or page of links alone; else also in one that has PyTorch."""
    if not index:
        return ["--extra-index-url", extra] if extra else []
    if is_folder(index):
        return ["--no-index", "--find-links", str(Path(index).expanduser())]
    return ["--index-url", index]


def is_folder(index: str) -> bool:
    """Is the user's index a folder of this computer? No network is needed then."""
    return bool(index) and Path(index).expanduser().is_dir()
