# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the environment, in a thread that starts children and waits for them. What is there already is kept."""

from __future__ import annotations

import json
import logging
import math
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import hardware, pythons, source
from .children import ROOM, Children
from .errors import SetupCancelled, SetupError
from .pip import PipTalk, index_options, is_folder
from .place import Installed, environment_folder, locked, log_file, python_of, remove_stamp, write_stamp
from .pythons import ALONE

log = logging.getLogger(__name__)

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"
STEPS = 5
RAW_PROGRESS = (24, 1)
"""The first pip that counts bytes for programs."""
USUAL_DOWNLOAD = 500e6
TRIAL = """
import json, sys
import torch, engine_server
apple = getattr(torch.backends, "mps", None)
device = "cuda" if torch.cuda.is_available() else "mps" if apple is not None and apple.is_available() else "cpu"
facts = dict(device=device, python=".".join(map(str, sys.version_info[:3])), torch=torch.__version__)
print("TRIED", json.dumps(facts | dict(engine=engine_server.__version__)))
"""


@dataclass(frozen=True)
class Plan:
    """What to set up. All but `home` may stay empty: then what fits is found.

    `python`: made from this Python. `source`: the engine's wheel, folder or requirement. `index`: a package index's
    URL, or a folder with wheels, in place of the usual ones. `device`: auto, cpu, cuda or mps. `own`: Blender's Python,
    the last resort to make a virtual environment from.
    """

    home: Path
    python: str = ""
    source: str = ""
    index: str = ""
    device: str = "auto"
    own: Path | None = None


@dataclass(frozen=True)
class Progress:
    """Step `step` of `steps` is under way; `factor` (0..1) of the whole is done, as far as that can be told."""

    step: int
    steps: int
    line: str
    factor: float


class Setup:
    """Starts at once. `progress` and `state` may be read from any thread; `sentence` says how it ended."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder = plan, environment_folder(plan.home)
        self.state, self.sentence = RUNNING, ""
        self.progress = Progress(1, STEPS, "Looking around", 0.0)
        self._children = Children(log_file(plan.home))
        self._thread = threading.Thread(target=self._run, name="teamwork-setup", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Is it still at work?"""
        return self.state == RUNNING

    def cancel(self) -> None:
        """End it soon; the next one goes on with what is there."""
        self._children.end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if it takes longer."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # ---- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        started = time.monotonic()
        try:
            with locked(self.plan.home):
                stamp = self._worked()
            taken = time.monotonic() - started
            self._end(DONE, f"The engine is set up ({taken:.0f} s): PyTorch {stamp.torch} on {stamp.device}.")
        except SetupCancelled:
            self._end(CANCELLED, "The set-up was cancelled; the next one goes on where it stopped.")
        except SetupError as error:
            self._end(FAILED, str(error))
        except OSError as error:
            self._end(FAILED, f"{error.filename or self.folder} cannot be written: {error.strerror or error}.")
        except Exception as error:
            log.debug("set-up failed", exc_info=True)
            self._end(FAILED, f"The set-up failed, which is a fault of Teamwork ({type(error).__name__}: {error}).")

    def _end(self, state: str, sentence: str) -> None:
        self.sentence, self.state = sentence, state

    def _worked(self) -> Installed:
        try:
            return self._work()
        finally:
            shutil.rmtree(self.plan.home / ROOM, ignore_errors=True)

    def _work(self) -> Installed:
        code = source.find(self.plan.source)
        torch = hardware.choose(self.plan.device)
        python = self._environment(torch)
        self._update_pip(python)
        keep = ["--constraint", str(code.constraints)] if code.constraints else []
        self._torch(python, keep, torch)
        self._engine(python, code, keep, torch.index)
        stamp = self._try(python, code, torch.device)
        write_stamp(self.folder, stamp)
        return stamp

    def _show(self, step: int, line: str, part: float = 0.0) -> None:
        self.progress = Progress(step, STEPS, line, (step - 1 + part) / STEPS)

    def _environment(self, torch: hardware.Torch) -> Path:
        """The Python of the environment, made anew unless there is one that works."""
        self._show(1, "Looking for a Python")
        python = python_of(self.folder)
        if self._usable(python):
            remove_stamp(self.folder)
            return python
        base = pythons.find(self.plan.python, self.plan.own, self._children.run)
        self._need_room(torch)
        remove_stamp(self.folder)
        self._show(1, f"Making the environment with {base}")
        shutil.rmtree(self.folder, ignore_errors=True)
        made = self._children.run([str(base), *ALONE, "-m", "venv", str(self.folder)]) == 0
        if not made or not python.exists():
            raise SetupError(f"{base} could not make an environment in {self.folder}: {self._see_log()}")
        return python

    def _usable(self, python: Path) -> bool:
        """Is it whole, of a version that fits, and of the kind that was chosen?"""
        if not python.exists() or pythons.judge(python).problem:
            return False
        if self.plan.python and pythons.judge(Path(self.plan.python).expanduser()).version != pythons.judge(python).version:
            return False
        return self._children.run([str(python), *ALONE, "-m", "pip", "--version"]) == 0

    def _need_room(self, torch: hardware.Torch) -> None:
        free = shutil.disk_usage(self.plan.home).free / 1e9
        if free < torch.gigabytes and not is_folder(self.plan.index):
            raise SetupError(
                f"The engine needs {torch.gigabytes:.0f} GB in {self.plan.home}, and {free:.1f} GB are free there:"
                " make room, or set TEAMWORK_HOME to a folder on another disk."
            )

    def _update_pip(self, python: Path) -> None:
        """A pip that counts bytes and takes up broken downloads; an older one will do if there is no newer."""
        if _pip_version(python) < RAW_PROGRESS:
            self._show(2, "Updating pip")
            self._talk(python, 2, "Updating pip", ["--upgrade", "pip"], "")

    def _engine(self, python: Path, code: source.Source, keep: Sequence[str], index: str) -> None:
        """The engine and all that it needs. An engine of the same version may still be another one, so the old one goes."""
        self._uninstall(python, source.PACKAGE)
        self._pip(python, 4, "Installing the engine", [*keep, code.requirement], index)

    def _torch(self, python: Path, keep: Sequence[str], torch: hardware.Torch) -> None:
        """A PyTorch of the chosen build: pip would call one of another build, but of that version, good enough."""
        build = _version(python, "torch").partition("+")[2]
        if build and not self.plan.index and build != torch.index.rpartition("/")[2]:
            self._uninstall(python, "torch")
        self._pip(python, 3, f"Installing {torch.title}", [*keep, "torch"], torch.index)

    def _uninstall(self, python: Path, package: str) -> None:
        self._children.run([str(python), *ALONE, "-m", "pip", "uninstall", "--yes", "--quiet", package])

    def _pip(self, python: Path, step: int, title: str, words: Sequence[str], index: str) -> None:
        talk, status = self._talk(python, step, title, words, index)
        if status != 0:
            raise SetupError(f"{title} failed. {talk.cause()}. {self._see_log()}")

    def _talk(self, python: Path, step: int, title: str, words: Sequence[str], index: str) -> tuple[PipTalk, int]:
        talk = PipTalk()
        bar = "raw" if _pip_version(python) >= RAW_PROGRESS else "off"

        def hear(line: str) -> bool:
            passing = talk.hear(line)
            self._show(step, f"{title}: {talk.line}" if talk.line else title, _part(talk.bytes))
            return passing

        self._show(step, title)
        where = index_options(self.plan.index, index)
        command = [str(python), *ALONE, "-u", "-m", "pip", "install", "--no-user", "--progress-bar", bar, *where, *words]
        return talk, self._children.run(command, hear)

    def _try(self, python: Path, code: source.Source, device: str) -> Installed:
        """Import what was installed. PyTorch has the last word on whether it can use the device."""
        self._show(5, "Trying the engine")
        lines: list[str] = []
        status = self._children.run([str(python), *ALONE, "-c", TRIAL], lambda line: lines.append(line) is not None)
        told = next((line.removeprefix("TRIED ") for line in lines if line.startswith("TRIED ")), None)
        if status != 0 or told is None:
            words = lines[-1].rstrip(".") if lines else "It said nothing"
            raise SetupError(f"The engine was installed but does not run. {words}. {self._see_log()}")
        facts = json.loads(told)
        if self.plan.device not in ("auto", "cpu", facts["device"]):
            advice = "update the driver of the GPU, or choose Automatic or CPU as the device"
            raise SetupError(f"PyTorch {facts['torch']} cannot compute on {self.plan.device} here: {advice}. {self._see_log()}")
        facts["device"] = facts["device"] if device != "cpu" else "cpu"
        return Installed(source=code.mark, **facts)

    def _see_log(self) -> str:
        return f"The log is {log_file(self.plan.home)}."


def _part(downloaded: int) -> float:
    """How far a step is that has downloaded so many bytes of an unknown number: it always grows, and never arrives."""
    return 1.0 - math.exp(-downloaded / USUAL_DOWNLOAD)


def _version(python: Path, package: str) -> str:
    """The version of a package in an environment, from the name of its metadata folder, such as "2.13.0+cpu"; "" without it."""
    folder = python.parent.parent
    places = [*folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages"]
    found = [path.name for place in places for path in place.glob(f"{package}-*.dist-info")]
    return found[0].removeprefix(f"{package}-").removesuffix(".dist-info") if found else ""


def _pip_version(python: Path) -> tuple[int, ...]:
    """The version of an environment's pip: (25, 1)."""
    return tuple(int(part) for part in _version(python, "pip").split(".")[:2] if part.isdigit())
