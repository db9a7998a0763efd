# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the engine and the clients of the soak, kills them at random moments, and judges what is left."""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from blender_addon.wire import Client, Credentials, KeyRing, WireError, read_engine_record
from scripts.environment import ROOT

from .jobs import Ledger

SETTLE = 120.0
"""Seconds that open jobs have to end once no new ones are given and nothing is killed any more."""
BEGUN = re.compile(rb"job (\S+): \w+ on ")


class Engine:
    """An engine at a fixed port with a home of its own, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.log, self.starts = home, home.with_suffix(".log"), []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.credentials = Credentials.local(home)
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it listens. Raises `RuntimeError` if it does not."""
        self.starts.append(self.log.stat().st_size if self.log.exists() else 0)
        command = [sys.executable, "-m", "engine_server", "serve", "--address", self.address, "--home", str(self.home)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=_variables(self.home))
        for _ in range(600):
            record = read_engine_record(self.home)
            if record and record.pid == self.process.pid:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the engine did not start: {self.log.read_text('utf-8', 'replace')[-2000:]}")

    def worker(self) -> int:
        """The process of its worker; 0 if it has none, or does not answer."""
        try:
            with Client(self.address, self.credentials, timeout=1.0, name="soak") as client:
                return client.status().worker_pid
        except WireError:
            return 0

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """In good order."""
        self.process.terminate()
        self.process.wait(60)

    def begun(self) -> list[Counter]:
        """How often workers began each job, for every start of the engine: from its log."""
        log = self.log.read_bytes()
        ends = [*self.starts[1:], len(log)]
        return [Counter(BEGUN.findall(log[start:end])) for start, end in zip(self.starts, ends, strict=True)]


class Clients:
    """The clients' processes, each with a home, a key and a ledger of its own."""

    def __init__(self, folder: Path, engine: Engine, count: int, materials: float) -> None:
        self._engine, self._materials = engine, materials
        self.homes = [folder / f"client{number}" for number in range(count)]
        for home in self.homes:
            KeyRing(engine.home).add(home.name, Credentials.remote(engine.credentials.engine_public, home).client.public)
        self.processes = [self._start(home) for home in self.homes]

    def _start(self, home: Path) -> subprocess.Popen:
        words = [home, self._engine.address, self._engine.credentials.engine_public, home.name, self._materials]
        command = [sys.executable, "-m", "scripts.soaking.client", *map(str, words)]
        return subprocess.Popen(command, cwd=ROOT, env=_variables(home))

    def kill(self, chance: random.Random) -> None:
        """Kill one of them, and start it again."""
        number = chance.randrange(len(self.homes))
        self.processes[number].kill()
        self.processes[number].wait()
        self.processes[number] = self._start(self.homes[number])

    def ends(self) -> dict[str, list[str]]:
        """Every job that was submitted, with the ends that its client noted."""
        return {name: ends for home in self.homes for name, ends in Ledger(home / "ledger").ends().items()}

    def finish(self) -> None:
        """Let them end what is open; those that do not within `SETTLE` seconds are ended."""
        for home in self.homes:
            (home / "stop").touch()
        deadline = time.monotonic() + SETTLE
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def soak(folder: Path, options: argparse.Namespace, kills: tuple[str, ...]) -> dict:
    """Run it in `folder`; `options` are those of the command. Gives the figures, with all `faults` in words."""
    chance, engine, started = random.Random(options.seed), Engine(folder / "engine"), time.monotonic()
    engine.start()
    clients = Clients(folder, engine, options.clients, options.materials)
    memory = Memory(engine)
    try:
        killed = _disturb(engine, clients, memory, options, kills, chance)
        clients.finish()
        memory.look()
    finally:
        for process in clients.processes:
            process.kill()
        engine.stop()
    ends = clients.ends()
    return {
        "jobs": len(ends),
        "seconds": time.monotonic() - started,
        "killed": dict(killed),
        "ends": dict(Counter(how for all_ends in ends.values() for how in all_ends)),
        "memory": memory.seen,
        "faults": faults(ends, engine.begun()),
    }


def _disturb(
    engine: Engine, clients: Clients, memory: Memory, options: argparse.Namespace, kills: tuple[str, ...], chance: random.Random
) -> Counter:
    """Kill until the time or the jobs are spent; gives what was killed how often."""
    deadline, killed = time.monotonic() + 60 * options.minutes, Counter()
    strike = time.monotonic() + chance.expovariate(1 / options.every)
    while time.monotonic() < deadline and not (options.jobs and len(clients.ends()) >= options.jobs):
        time.sleep(0.1)
        if not kills or time.monotonic() < strike:
            continue
        memory.look()
        victim = chance.choice(kills)
        killed[victim] += _strike(victim, engine, clients, chance)
        strike = time.monotonic() + chance.expovariate(1 / options.every)
    return killed


def _strike(victim: str, engine: Engine, clients: Clients, chance: random.Random) -> int:
    """Kill one of that kind; 0 if there was none to kill."""
    if victim == "client":
        clients.kill(chance)
    elif victim == "engine":
        engine.kill()
        engine.start()
    elif pid := engine.worker():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return 0
    else:
        return 0
    return 1


class Memory:
    """Resident bytes of the engine and of its worker, when first seen and when last seen."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.seen = engine, {}

    def look(self) -> None:
        """Measure both, if they are there."""
        for name, pid in (("server", self._engine.process.pid), ("worker", self._engine.worker())):
            if size := resident(pid):
                self.seen[name] = (self.seen.get(name, (size,))[0], size)


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 where there is none, or where the system does not tell (only Linux does)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pid else 0
    except (OSError, ValueError, AttributeError):
        return 0


def faults(ends: dict[str, list[str]], begun: list[Counter]) -> list[str]:
    """What went wrong, in words: jobs without an end, with two, with wrong pixels, or begun twice by one engine."""
    found = [f"{name} never ended" for name, all_ends in ends.items() if not all_ends]
    found += [f"{name} ended {len(all_ends)} times" for name, all_ends in ends.items() if len(all_ends) > 1]
    found += [f"{name} came back wrong" for name, all_ends in ends.items() if "wrong" in all_ends]
    return found + [f"{name.decode()} was begun {n} times" for each in begun for name, n in each.items() if n > 1]


def _variables(home: Path) -> dict[str, str]:
    return os.environ | {"TEAMWORK_HOME": str(home), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
