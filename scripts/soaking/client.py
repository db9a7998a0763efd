# SPDX-License-Identifier: GPL-3.0-or-later
"""One client of the soak, a process that may be killed: `python -m scripts.soaking.client HOME ADDRESS ENGINE_KEY NAME MATERIALS`.

Keeps a few jobs under way and notes each in its ledger before it is submitted and when its end is here. Started anew after a
kill, it submits what its ledger holds open again, under the same names: an engine that knows them runs none twice.
It ends when the file `stop` stands in its home and no job is open.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from blender_addon.wire import ENDS, Cancelled, Client, Credentials, EngineSilent, Failed, JobFailed, Message, ProtocolError

from .jobs import SUBMITTED, Ledger, job, right

AT_ONCE = 3
CANCELLED_SHARE, SLOW_SHARE = 0.1, 0.1
OF_THE_QUEUE = ("queue-full", "engine-stopping")


class Worker:
    """Works through jobs of its own naming on one engine, which may vanish and come back."""

    def __init__(self, home: Path, address: str, engine_key: str, name: str, materials: float) -> None:
        self.home, self.address, self.name, self.materials = home, address, name, materials
        self.credentials = Credentials.remote(engine_key, home)
        self.ledger = Ledger(home / "ledger")
        noted = self.ledger.ends()
        self.number = len(noted)
        self.open = {name: job(name, materials) for name, ends in noted.items() if not ends}
        self.chance = random.Random(f"{name} {self.number}")

    def work(self) -> None:
        """Until it is told to stop and all has ended."""
        while not (self._stopping() and not self.open):
            try:
                with Client(self.address, self.credentials, timeout=2.0, name=self.name) as client:
                    self._serve(client)
            except (EngineSilent, ProtocolError):
                time.sleep(0.2)

    def _stopping(self) -> bool:
        return (self.home / "stop").exists()

    def _serve(self, client: Client) -> None:
        for sent in list(self.open.values()):
            self._submit(client, sent)
        while self.open or not self._stopping():
            while len(self.open) < AT_ONCE and not self._stopping():
                self._begin(client)
            message = client.poll(0.2)
            if isinstance(message, ENDS):
                self._end(client, message)
            elif self.chance.random() < SLOW_SHARE:
                time.sleep(0.2)

    def _begin(self, client: Client) -> None:
        name = f"{self.name}-{self.number}"
        self.number += 1
        self.open[name] = job(name, self.materials)
        self.ledger.note(name, SUBMITTED)
        self._submit(client, self.open[name])
        if self.chance.random() < CANCELLED_SHARE:
            client.cancel(name)

    def _submit(self, client: Client, sent: Message) -> None:
        """Give it to the engine. A full or stopping engine is no end: the job waits here and is tried again."""
        while True:
            try:
                client.submit(sent)
                return
            except JobFailed as error:
                if error.code not in OF_THE_QUEUE:
                    return self._note(sent.job_id, f"failed {error.code}")
                time.sleep(0.2)

    def _end(self, client: Client, end: Message) -> None:
        sent = self.open.get(end.job_id)
        if sent is None:
            return
        if isinstance(end, Failed) and end.code in OF_THE_QUEUE:
            return self._submit(client, sent)
        self._note(end.job_id, _how(end) if right(sent, end) else "wrong")
        client.acknowledge(end.job_id)

    def _note(self, name: str, how: str) -> None:
        self.ledger.note(name, how)
        self.open.pop(name, None)


def _how(end: Message) -> str:
    if isinstance(end, Failed):
        return f"failed {end.code}"
    return "cancelled" if isinstance(end, Cancelled) else "done"


if __name__ == "__main__":
    home, address, engine_key, name, materials = sys.argv[1:]
    Worker(Path(home), address, engine_key, name, float(materials)).work()
