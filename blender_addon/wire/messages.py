# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages: frozen dataclasses whose annotations are their rules, held when they are made and when they are decoded.

Decoded images are read-only views into the received frames: copy one before you write into it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .image import ChannelImage
from .schema import Count, Name, Scalar, Seconds, Sentence, check, fields_of


@dataclass(frozen=True)
class Message:
    """The root of all messages. Making one that breaks a rule raises `ProtocolError`."""

    def __post_init__(self) -> None:
        for name, hint in fields_of(type(self)).items():
            check(hint, getattr(self, name), f"{type(self).__name__}.{name}")


@dataclass(frozen=True)
class ModelInfo(Message):
    """A model that the engine offers, and its `tasks`. Sizes are bytes; `native_size` is the side that it was trained for."""

    name: str
    title: str
    licence: str
    teammates: tuple[Name, ...]
    tasks: tuple[Name, ...]
    size_bytes: Count
    memory_bytes: Count
    native_size: Count
    default_steps: Count


@dataclass(frozen=True)
class CatalogueEntry(Message):
    """A model that is here or can be fetched. `place` is bundled, in-a-folder, fetched or at-the-hub; 0 means not known."""

    # kind is team, base, or adapter (for `base`); token: the hub asks for one; page has the licence
    name: str
    kind: Name
    place: Name
    title: str
    licence: str
    base: str
    size_bytes: Count
    memory_bytes: Count
    token: bool
    page: str


@dataclass(frozen=True)
class JobInfo(Message):
    """A job of this client that the engine holds; `state` is queued, running, done, failed or cancelled."""

    job_id: Name
    task: Name
    state: Name
    position: Count


@dataclass(frozen=True)
class Failure(Message):
    """A job that failed lately, `seconds` ago."""

    job_id: Name
    code: Name
    sentence: Sentence
    seconds: Seconds


# ---- client to engine ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Message):
    """Who is there? Answered by `Welcome`."""

    protocol: Count
    client: str


@dataclass(frozen=True)
class Share(Message):
    """Where can files be handed over? `proof` is what stands there in the file `proof`, or empty. Answered by `Shared`."""

    proof: str


@dataclass(frozen=True)
class Heartbeat(Message):
    """Are you alive? Answered by `Alive`, whatever the workers do."""


@dataclass(frozen=True)
class GetStatus(Message):
    """How are you? Answered by `Status`."""


@dataclass(frozen=True)
class GetCatalogue(Message):
    """Which models are there, here and to be fetched? Answered by `Catalogue`."""


@dataclass(frozen=True)
class GetJobs(Message):
    """Which jobs of mine do you hold? Answered by `Jobs`."""


@dataclass(frozen=True)
class Unload(Message):
    """End the workers, so that all their memory is free. Answered by `Status`, or by `Refused` while a job runs."""


@dataclass(frozen=True)
class Submit(Message):
    """Run a task. Answered by `Accepted` or `Failed`. The same `job_id` twice runs once. No `outputs` means all of them."""

    job_id: Name
    task: Name
    model: str
    inputs: dict[Name, ChannelImage]
    outputs: tuple[Name, ...]
    options: dict[Name, Scalar]


@dataclass(frozen=True)
class Cancel(Message):
    """End the job: at once while it waits, within one step while it runs."""

    job_id: Name


@dataclass(frozen=True)
class Fetch(Message):
    """Send the job's state or its kept end again, and its news to me from now on."""

    job_id: Name


@dataclass(frozen=True)
class Acknowledge(Message):
    """I have the job's end; you may forget it."""

    job_id: Name


# ---- engine to client ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Welcome(Message):
    """The engine and what it can do. Memory is the device's, in bytes; 0 means not known before its worker has started."""

    protocol: Count
    engine_version: str
    device: str
    memory_free: Count
    memory_total: Count
    models: tuple[ModelInfo, ...]
    tasks: tuple[Name, ...]
    instance: Name


@dataclass(frozen=True)
class Shared(Message):
    """The folder for files, empty where there is none; `agreed` is whether the proof was right: files may be used from now on."""

    instance: Name
    folder: str
    agreed: bool


@dataclass(frozen=True)
class Alive(Message):
    """I live. `instance` changes when the engine is started anew; `finished` are this client's jobs that have ended."""

    instance: Name
    finished: tuple[Name, ...]


@dataclass(frozen=True)
class Status(Message):
    """The engine's state; `worker` is none, starting, idle or busy. Memory is the device's, in bytes."""

    # done, failed and cancelled count jobs since the engine's start; warm: models that stay loaded; failures: newest first
    instance: Name
    uptime: Seconds
    device: str
    worker: Name
    worker_pid: Count
    memory_free: Count
    memory_total: Count
    queued: Count
    queue_limit: Count
    kept: Count
    kept_bytes: Count
    running: Count
    done: Count
    failed: Count
    cancelled: Count
    warm: tuple[str, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Catalogue(Message):
    """All models that the engine knows, those that jobs can use and those that it could fetch."""

    models: tuple[CatalogueEntry, ...]


@dataclass(frozen=True)
class Jobs(Message):
    """This client's jobs, oldest first."""

    jobs: tuple[JobInfo, ...]


@dataclass(frozen=True)
class Accepted(Message):
    """The job waits with `position` jobs before it, or (0) is next or runs. It comes before all news of the job."""

    job_id: Name
    position: Count
    instance: Name


@dataclass(frozen=True)
class Progress(Message):
    """Step `step` of `total` is done (total 0: not known yet). `preview` is small, of the wanted result so far."""

    job_id: Name
    step: Count
    total: Count
    stage: str
    seconds_left: Seconds | None
    preview: ChannelImage | None


@dataclass(frozen=True)
class Result(Message):
    """The job's end: its images, and what is known about their making (seed, steps, seconds, model, ...)."""

    job_id: Name
    outputs: dict[Name, ChannelImage]
    info: dict[Name, Scalar]


@dataclass(frozen=True)
class Failed(Message):
    """The job's end without a result: a code for programs, a sentence for people."""

    job_id: Name
    code: Name
    sentence: Sentence


@dataclass(frozen=True)
class Cancelled(Message):
    """The job's end because a client cancelled it."""

    job_id: Name


@dataclass(frozen=True)
class Refused(Message):
    """The message was not understood or not allowed. Its form never changes between versions of the protocol."""

    code: Name
    sentence: Sentence


@dataclass(frozen=True)
class Registry:
    """The messages that one kind of sender may send, by their names on the wire."""

    sender: str
    kinds: dict[str, type[Message]]

    @staticmethod
    def of(sender: str, *kinds: type[Message]) -> Registry:
        """The registry of these messages."""
        return Registry(sender, {type_name(kind): kind for kind in kinds})


def type_name(kind: type[Message]) -> str:
    """The name of a message on the wire: GetStatus is `get-status`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("-")


FROM_CLIENT = Registry.of("client", Hello, Share, Heartbeat, GetStatus, GetCatalogue, GetJobs, Unload, Submit, Cancel, Fetch, Acknowledge)
FROM_ENGINE = Registry.of("engine", Welcome, Shared, Alive, Status, Catalogue, Jobs, Accepted, Progress, Result, Failed, Cancelled, Refused)
ENDS = (Result, Failed, Cancelled)
"""A job's last message is one of these."""
