# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of one Blender: its engine runs outside the folder that it lives in, and its report is read when it has ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..environment import ROOT, SetupError, variables
from .chroot import OUTSIDE, System, mounted

MOST_SECONDS = 3000.0
ENGINE_SECONDS, ENGINE_RECORD = 30.0, "engine.json"
SCREEN = "1500x940"
# Out of the folder, into the real system, so that the add-on can start an engine there as its own.
ENGINE = """#!/bin/sh
export PYTHONPATH="{root}" OMP_NUM_THREADS=1
exec chroot /{outside} "{python}" "$@"
"""
BLENDER = 'openbox & exec blender --factory-startup --window-geometry 0 0 {width} {height} --python "{script}" -- "{job}"'
INSIDE = ROOT / "scripts" / "window" / "inside"
COMMAND_LINE = "command_line"


@dataclass
class Visit:
    """What came of a run: {"name", "ok", "detail"} for each check, and the names of the pictures in `out`."""

    name: str
    out: Path
    checks: list[dict] = field(default_factory=list)
    shots: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Did every check hold, and was there any?"""
        return bool(self.checks) and all(check["ok"] for check in self.checks)


def visit(system: System, root: Path, python: Path, out: Path, only: str = "") -> Visit:
    """Run this system's Blender through all parts, or those that `only` names. Raises `SetupError`."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.png"), *out.glob("*.log")):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="tw-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        shared = Path(folder)
        job, names = _prepare(shared, python, out, only), [name for name in only.split(",") if name]
        done = Visit(f"Blender {system.blender} ({system.suite})", out)
        with mounted(root, (shared, out, ROOT)):
            for part in _parts(names):
                part(done, root, shared, job, python)
                done.checks.append(checked("and its engine has ended with it", _engine_has_ended(shared / "home")))
        return done


def _parts(names: list[str]) -> list[Callable]:
    """The runs of Blender that these parts need."""
    window, command_line = names != [COMMAND_LINE], not names or COMMAND_LINE in names
    return [run for run, wanted in ((_window, window), (_command_line, command_line)) if wanted]


def _prepare(shared: Path, python: Path, out: Path, only: str) -> Path:
    """Everything that Blender needs, in a folder that both sides see; gives the file that names it."""
    shim = shared / "engine" / "bin" / "python"
    shim.parent.mkdir(parents=True)
    shim.write_text(ENGINE.format(root=ROOT, outside=OUTSIDE, python=python), "utf-8")
    shim.chmod(0o755)
    (shared / "home").mkdir(mode=0o700)
    job = {
        "zip": str(_extension(shared, python)),
        "photo": str(_photo(shared, python)),
        "python": str(shim),
        "out": str(out),
        "report": str(shared / "report.json"),
        "frames": str(shared / "frames"),
        "blend": str(shared / "moving.blend"),
        "only": only,
    }
    path = shared / "job.json"
    path.write_text(json.dumps(job), "utf-8")
    return path


def _extension(shared: Path, python: Path) -> Path:
    """The zip for a Blender whose Python has pyzmq."""
    command = [str(python), "-m", "scripts.extension.command", "--without-wheels", "--without-engine", "--out", str(shared)]
    _call(command)
    return next(shared.glob("*.zip"))


def _photo(shared: Path, python: Path) -> Path:
    target = shared / "bricks.png"
    code = "import shutil, sys; from scripts.demo_job import default_photo; shutil.copyfile(default_photo(), sys.argv[1])"
    _call([str(python), "-c", code, str(target)])
    return target


def _call(command: list[str]) -> str:
    ran = subprocess.run(command, cwd=ROOT, env=variables(), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SetupError(f"`{' '.join(command[1:5])}` failed: {(ran.stderr or ran.stdout).strip()[-300:]}")
    return ran.stdout


def _window(done: Visit, root: Path, shared: Path, job: Path, python: Path) -> None:
    """Start it on a screen of its own, and read what its script has seen."""
    width, height = SCREEN.split("x")
    inside = BLENDER.format(width=width, height=height, script=INSIDE / "main.py", job=job)
    words = ["xvfb-run", "-a", "-s", f"-screen 0 {SCREEN}x24 +extension GLX", "sh", "-c", inside]
    log = done.out / "blender.log"
    status = _run(root, shared, words, log)
    _read(done, shared, status, log, python)


def _command_line(done: Visit, root: Path, shared: Path, job: Path, python: Path) -> None:
    """`blender -b FILE -a`, without a screen, in the installation that another Blender left."""
    log, facts = done.out / "command_line.log", json.loads(job.read_text("utf-8"))
    shutil.rmtree(facts["frames"], ignore_errors=True)
    script = ["--factory-startup", "--python-exit-code", "3", "--python", str(INSIDE / "prepare.py"), "--", str(job)]
    prepared = _run(root, shared, ["blender", "-b", *script], log)
    status = _run(root, shared, ["blender", "-b", facts["blend"], "-a"], log) if prepared == 0 else prepared
    done.checks.append(checked("blender -b FILE -a goes through", status == 0, "" if status == 0 else f"status {status}, see {log}"))
    told = log.read_text("utf-8", "replace")
    done.checks.append(checked("and shows no traceback", "Traceback" not in told))
    done.checks += _frames(Path(facts["frames"]), python)


def checked(name: str, good: bool, detail: str = "") -> dict:
    """Whether something held, as a report has it."""
    return {"name": name, "ok": bool(good), "detail": detail}


def _run(root: Path, shared: Path, words: list[str], log: Path) -> int:
    """Run something in the system, its words at the end of `log`; gives its exit status, 124 if it had to be ended."""
    surroundings = {
        **{"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": "/tmp"},
        **{"LIBGL_ALWAYS_SOFTWARE": "1", "GALLIUM_DRIVER": "llvmpipe", "PYTHONUNBUFFERED": "1"},
        **{"PYTHONDONTWRITEBYTECODE": "1", "TEAMWORK_HOME": str(shared / "home")},
        **{"BLENDER_USER_RESOURCES": str(shared / "blender")},
    }
    start = ["chroot", str(root), "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in surroundings.items())]
    start += ["timeout", "--foreground", "-k", "5", str(int(MOST_SECONDS))]
    with log.open("ab") as output, _told(log):
        process = subprocess.Popen([*start, *words], stdout=output, stderr=output, start_new_session=True)
        try:
            return process.wait()
        finally:
            with suppress(ProcessLookupError):  # what is left of the screen, and of a run that was interrupted
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _told(log: Path) -> Iterator[None]:
    started = time.monotonic()
    print(f"Blender runs; its log is {log}", flush=True)
    yield
    print(f"Blender ran for {time.monotonic() - started:.0f} s", flush=True)


def _engine_has_ended(home: Path) -> bool:
    """Is the engine gone that Blender had started, its record with it? It may take a little longer than Blender."""
    deadline = time.monotonic() + ENGINE_SECONDS
    while (home / ENGINE_RECORD).exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return not (home / ENGINE_RECORD).exists()


def _read(done: Visit, shared: Path, status: int, log: Path, python: Path) -> None:
    report = shared / "report.json"
    ended = status == 0 and report.exists()
    if report.exists():
        told = json.loads(report.read_text("utf-8"))
        done.checks, done.shots = told["checks"], told["shots"]
        if told["frames"]:
            done.checks += _frames(shared / "frames", python)
        ended = ended and told["ended"]
    done.checks.append(checked("Blender went through everything and quit", ended, "" if ended else f"status {status}, see {log}"))


def _frames(folder: Path, python: Path) -> list[dict]:
    """Are the neural passes in the files of the animation, and no two frames the same?"""
    return json.loads(_call([str(python), "-m", "scripts.window.frames", str(folder)]).splitlines()[-1])


if __name__ == "__main__":
    sys.exit("Run scripts/window_test.py.")
