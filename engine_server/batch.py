# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of photos or frames through an engine: several jobs at once, files in order, and what is done is not done again.

The results of a picture NAME are `OUT/NAME/CHANNEL.png`, or for sequences `OUT/CHANNEL/NAME.png`; `OUT/records/NAME.json`,
written last, says how they were made. No torch here: the engine may be on another computer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blender_addon.wire import ChannelImage, Client, Failed, JobFailed, Progress, ProtocolError, Result, Submit, run_in_order

from .errors import TaskError
from .pictures import FORMATS, SUFFIXES, PictureError, load, overwritten, save
from .tasks import TASKS
from .whole import whole_file

PHOTO, CHANNEL = "photo", "channel"
LAYOUTS = (PHOTO, CHANNEL)
RECORDS = "records"
OTHERS = (".exr", ".tif", ".tiff", ".webp", ".heic", ".bmp", ".hdr")
"""How pictures end that are not read."""
OF_THE_REQUEST = ("unknown-task", "unknown-model", "unable", "model-missing", "bad-output")
"""Why the engine refuses every picture alike."""


class BatchError(ValueError):
    """The folders cannot be worked on; the text is a sentence for the user."""


@dataclass(frozen=True)
class Request:
    """What is asked of every picture. `outputs` empty: all of the task's."""

    task: str
    model: str
    outputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """One picture or frame: a file for each given channel, by a common name."""

    name: str
    files: Mapping[str, Path]

    def job_id(self, request: Request) -> str:
        """A name that stands for this piece, the files' content and the request: asked again, it is the same job."""
        digest = hashlib.sha256(json.dumps([self.name, asdict(request)], sort_keys=True).encode())
        for channel, path in sorted(self.files.items()):
            digest.update(channel.encode() + hashlib.sha256(path.read_bytes()).digest())
        return f"batch-{digest.hexdigest()[:32]}"


def pieces(folders: Mapping[str, Path]) -> list[Piece]:
    """The pictures of the folders, one for each given channel, put together by their names; frame2 before frame10.

    Raises `BatchError` for a folder without pictures, two pictures of one name, and a picture that lacks its partners.
    """
    found = {channel: _pictures(folder) for channel, folder in folders.items()}
    names = sorted({name for files in found.values() for name in files}, key=_natural)
    for channel, files in found.items():
        missing = next((name for name in names if name not in files), None)
        if missing is not None:
            raise BatchError(f"{folders[channel]} has no picture {missing!r} for the channel {channel}; each needs one of each channel.")
    return [Piece(name, {channel: files[name] for channel, files in found.items()}) for name in names]


def _pictures(folder: Path) -> dict[str, Path]:
    if folder.exists() and not folder.is_dir():
        raise BatchError(f"{folder} is no folder; --image takes a folder of pictures.")
    if not folder.is_dir():
        raise BatchError(f"There is no folder {folder}.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            if path.stem in found:
                raise BatchError(f"{found[path.stem]} and {path} have the same name; rename one, as results are named like it.")
            found[path.stem] = path
    if not found:
        raise BatchError(f"{folder} has no pictures; expected {', '.join(SUFFIXES)}.")
    return found


def left_out(folder: Path) -> str:
    """A note on the pictures of a folder that are of other kinds and so not read; "" where there are none."""
    others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in OTHERS and not path.name.startswith("."))
    return f"only {', '.join(SUFFIXES)} are read; left out of {folder}: {', '.join(others[:3])}, {len(others)} in all" if others else ""


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers within a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


class Batch:
    """All pieces of one request, and the folder that their results go to."""

    def __init__(self, request: Request, folders: Mapping[str, Path], out: Path, layout: str = PHOTO, kind: str = FORMATS[0]) -> None:
        self.request, self.pieces, self._out, self._layout, self._kind = request, pieces(folders), out, layout, kind
        self._under_way: dict[str, Piece] = {}
        self._unreadable: list[tuple[Piece, str]] = []
        self._spare_given()

    def _spare_given(self) -> None:
        """Raise `BatchError` where a result would take the place of a picture that was given."""
        task = TASKS.get(self.request.task)
        outputs = self.request.outputs or (task.outputs if task else ())
        results = (self._target(piece, channel) for piece in self.pieces for channel in outputs)
        if sentence := overwritten(results, (path for piece in self.pieces for path in piece.files.values())):
            raise BatchError(sentence)

    def done(self, piece: Piece) -> bool:
        """Are its results there, made from the same files by the same request?"""
        try:
            record = json.loads(self._record(piece).read_text("utf-8"))
            same = record["job"] == piece.job_id(self.request) and record["format"] == self._kind
            return same and all((self._out / file).is_file() for file in record["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def run(
        self, client: Client, *, in_flight: int = 8, on_progress: Callable[[Progress], None] | None = None
    ) -> Iterator[tuple[Piece, list[Path] | str]]:
        """Make what is not done yet; gives each piece with its files, or with a sentence why there are none, in order.

        Raises `EngineSilent` when the engine is lost, `OSError` when a result cannot be written, `BatchError` for a request that the
        engine refuses whatever the picture. What was written stays.
        """
        for end in run_in_order(client, self._jobs(), in_flight=in_flight, on_progress=on_progress):
            yield from self._failures()
            piece = self._under_way.pop(end.job_id)
            if isinstance(end, Failed) and end.code in OF_THE_REQUEST:
                raise BatchError(_why(end))
            yield piece, self._write(piece, end) if isinstance(end, Result) else _why(end)
        yield from self._failures()

    def _jobs(self) -> Iterator[Submit]:
        for piece in self.pieces:
            if self.done(piece):
                continue
            try:
                job = self._job(piece)
            except (PictureError, TaskError, ProtocolError, OSError) as error:
                self._unreadable.append((piece, str(error)))
            else:
                self._under_way[job.job_id] = piece
                yield job

    def _job(self, piece: Piece) -> Submit:
        inputs = {channel: load(path, channel, self.request.task) for channel, path in piece.files.items()}
        asked = self.request
        return Submit(piece.job_id(asked), asked.task, asked.model, inputs, asked.outputs, dict(asked.options))

    def _failures(self) -> Iterator[tuple[Piece, str]]:
        while self._unreadable:
            yield self._unreadable.pop(0)

    def _write(self, piece: Piece, result: Result) -> list[Path]:
        files = [self._save(piece, channel, image) for channel, image in result.outputs.items()]
        made = {"job": result.job_id, "format": self._kind, "files": [str(file.relative_to(self._out)) for file in files]}
        record = made | {"task": self.request.task, "sources": {c: p.name for c, p in piece.files.items()}, "made": dict(result.info)}
        with whole_file(self._record(piece)) as path:
            path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        return files

    def _save(self, piece: Piece, channel: str, image: ChannelImage) -> Path:
        target = self._target(piece, channel)
        with whole_file(target) as path:
            save(path, image, self._kind)
        return target

    def _target(self, piece: Piece, channel: str) -> Path:
        first, second = (piece.name, channel) if self._layout == PHOTO else (channel, piece.name)
        return self._out / first / f"{second}.{self._kind}"

    def _record(self, piece: Piece) -> Path:
        return self._out / RECORDS / f"{piece.name}.json"


def _why(end: object) -> str:
    return str(JobFailed(end.job_id, end.code, end.sentence)) if isinstance(end, Failed) else "The job was cancelled."
