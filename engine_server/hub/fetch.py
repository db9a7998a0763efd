# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a model from the Hugging Face hub into the engine's home: with progress, resumable, checked by its sums.

The hub's own library asks, authenticates and transfers. What this adds: a file that was interrupted, by a lost connection
or the end of the process, goes on where it stopped (the library begins again), and one disk check for the whole model.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .errors import HubError, explained, no_room, offline
from .offers import Offer
from .store import PARTIAL, RECORD, Installed, installed, models_folder, write_record

AT_ONCE = 4
MARGIN = 100_000_000
"""Bytes that stay free on the disk."""
BLOCK = 1 << 18

OnBytes = Callable[[int, int], None]
"""Gets the bytes that are here and the bytes that it will be; called from several threads."""


@dataclass(frozen=True)
class File:
    """One file of a repository: its path there, its size, and its sum: SHA-256 of large files, else Git's own of a blob."""

    path: str
    size: int
    sha256: str
    blob: str

    def partial(self, folder: Path) -> Path:
        """Where it grows. The name holds the sum, so that a file that has changed at the hub begins anew."""
        return folder / f"{self.path}.{(self.sha256 or self.blob)[:12]}{PARTIAL}"

    def here(self, folder: Path) -> int:
        """How many of its bytes are on the disk."""
        whole, partial = folder / self.path, self.partial(folder)
        return self.size if whole.is_file() else min(partial.stat().st_size, self.size) if partial.is_file() else 0


@dataclass(frozen=True)
class Plan:
    """What is to be fetched of one offer: the files at one commit."""

    offer: Offer
    commit: str
    licence: str
    files: tuple[File, ...]


def fetch(offers: Iterable[Offer], home: Path | None, on_bytes: OnBytes, offline_only: bool = False) -> list[Installed]:
    """Fetch the offers that are not here yet; returns all of them. Raises `HubError`."""
    offers = list(offers)
    here = installed(home)
    missing = [offer for offer in offers if offer.name not in here]
    plans = [_asked(offer, offline_only) for offer in missing]
    _require_room(plans, models_folder(home))
    tally = _Tally(plans, models_folder(home), on_bytes)
    made = {plan.offer.name: _fetch_plan(plan, home, tally) for plan in plans}
    return [made.get(offer.name) or here[offer.name] for offer in offers]


def _asked(offer: Offer, offline_only: bool) -> Plan:
    """What the hub says about an offer just now."""
    if offline_only:
        raise offline(offer, "the network was ruled out by --offline")
    from huggingface_hub import HfApi, get_token

    try:
        info = HfApi().model_info(offer.repo, revision=offer.revision, files_metadata=True, timeout=30)
    except Exception as error:
        raise explained(error, offer, bool(get_token())) from error
    files = tuple(_file(entry) for entry in info.siblings or () if offer.wants(entry.rfilename))
    if not files:
        raise HubError("download-failed", f"{offer.repo} does not hold the files of {offer.name} any more; see {offer.page}.")
    return Plan(offer, info.sha, _licence(info, offer), files)


def _file(entry) -> File:
    sha256 = getattr(entry.lfs, "sha256", "") if entry.lfs else ""
    return File(entry.rfilename, entry.size or 0, sha256, entry.blob_id or "")


def _licence(info, offer: Offer) -> str:
    """What the page states, which may have changed since the catalogue was written."""
    card = info.card_data
    stated = (getattr(card, "license_name", None) or getattr(card, "license", None)) if card else None
    return str(stated) if stated and stated != "other" else offer.licence


def _require_room(plans: list[Plan], folder: Path) -> None:
    needed = sum(file.size - file.here(folder / plan.offer.name) for plan in plans for file in plan.files)
    place = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if needed and needed + MARGIN > free:
        raise no_room(needed, free, place)


class _Stopped(Exception):
    """Another file failed, or the process was asked to end."""


class _Tally:
    """Adds up the bytes of all files."""

    def __init__(self, plans: list[Plan], folder: Path, on_bytes: OnBytes) -> None:
        self._on_bytes, self._lock, self._stopped = on_bytes, threading.Lock(), False
        files = [(file, folder / plan.offer.name) for plan in plans for file in plan.files]
        self._done, self._total = sum(file.here(place) for file, place in files), sum(file.size for file, _ in files)
        on_bytes(self._done, self._total)

    def add(self, count: int) -> None:
        """So many bytes more are on the disk. Raises `_Stopped` in threads that should end."""
        self.go_on()
        with self._lock:
            self._done += count
            self._on_bytes(self._done, self._total)

    def go_on(self) -> None:
        """Raises `_Stopped` in threads that should end."""
        if self._stopped:
            raise _Stopped

    def stop(self) -> None:
        """End all transfers at their next block; what they have stays."""
        self._stopped = True


def _fetch_plan(plan: Plan, home: Path | None, tally: _Tally) -> Installed:
    from filelock import FileLock, Timeout
    from huggingface_hub import get_token

    folder = models_folder(home) / plan.offer.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            _fetch_files(plan, folder, tally)
            return write_record(plan.offer, folder, plan.commit, plan.licence)
    except Timeout as error:
        raise HubError("download-failed", f"Another process is fetching {plan.offer.name} just now: wait for it.") from error
    except Exception as error:
        raise explained(error, plan.offer, bool(get_token())) from error


def _fetch_files(plan: Plan, folder: Path, tally: _Tally) -> None:
    (folder / RECORD).unlink(missing_ok=True)
    _sweep(plan, folder)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        tasks = [pool.submit(_fetch_file, plan, file, folder, tally) for file in plan.files]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            tally.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _sweep(plan: Plan, folder: Path) -> None:
    """Delete what was begun of files that have changed at the hub since, and those of the model's that are not there any more."""
    current = {path for file in plan.files for path in (file.partial(folder), folder / file.path)}
    for path in folder.rglob("*"):
        ours = path.suffix == PARTIAL or plan.offer.wants(path.relative_to(folder).as_posix())
        if ours and path not in current and path.is_file():
            path.unlink()


def _fetch_file(plan: Plan, file: File, folder: Path, tally: _Tally) -> None:
    """Bring one file here, unless it is: one of an earlier commit is not. One whose sum is wrong is fetched once more."""
    whole, partial = folder / file.path, file.partial(folder)
    if whole.is_file():
        if _sound(file, whole, tally):
            return
        whole.unlink()
        tally.add(-file.size)
    whole.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        _transfer(plan, file, partial, tally)
        if _sound(file, partial, tally):
            return os.replace(partial, whole)
        tally.add(-partial.stat().st_size)
        partial.unlink()
    raise HubError("download-failed", f"{file.path} of {plan.offer.repo} arrived damaged twice: try again later.")


def _transfer(plan: Plan, file: File, partial: Path, tally: _Tally) -> None:
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, disable_progress_bars

    disable_progress_bars()
    constants.DOWNLOAD_CHUNK_SIZE = BLOCK  # the library's 10 MB are lost with a connection, and too coarse for progress
    url = hf_hub_url(plan.offer.repo, file.path, revision=plan.commit)
    with partial.open("ab") as growing:
        begun = growing.tell()
        if begun < file.size:
            counted = _Counted(growing, tally)
            http_get(url, counted, resume_size=begun, headers=build_hf_headers(), expected_size=file.size)


class _Counted:
    """A file that counts what is written into it; the library cuts it off when a server begins again from the start."""

    def __init__(self, file, tally: _Tally) -> None:
        self._file, self._tally = file, tally

    def write(self, data: bytes) -> int:
        """Append, and tell."""
        self._tally.add(len(data))
        return self._file.write(data)

    def truncate(self) -> int:
        """Cut off what is behind the position."""
        end = self._file.tell()
        self._file.flush()
        self._tally.add(end - os.fstat(self._file.fileno()).st_size)
        return self._file.truncate()

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def _sound(file: File, path: Path, tally: _Tally) -> bool:
    """Is the file what the hub says that it is?"""
    if path.stat().st_size != file.size:
        return False
    if not (file.sha256 or file.blob):
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
            tally.go_on()
    return digest.hexdigest() == (file.sha256 or file.blob)
