# SPDX-License-Identifier: GPL-3.0-or-later
"""A message as frames and back: `[MAGIC, header as JSON, buffer 0, buffer 1, ...]`. Never pickle.

The header is `{"protocol", "type", "request", "body"}`. An image in the body is `{"dtype", "shape", "space", "buffer"}`;
its numbers are the buffer with that index, little-endian, C order. A large one of a job or a result may lie in a file of
the handover folder; then a reference stands in its place. Every rule is checked before an array is made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import HandoverLost, ProtocolError, VersionMismatch
from .image import DTYPES, ChannelImage, check_image
from .limits import MAGIC, MAX_ARRAYS, MAX_BUFFER_BYTES, MAX_COUNT, MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, MIN_FILE_BYTES, PROTOCOL
from .messages import Message, Registry, Result, Submit, type_name
from .reference import Reference
from .schema import build, fields_of, plain, shown
from .versions import mismatch, other_entries, other_message

Buffer = bytes | memoryview
BEFORE = 2
"""Frames of a message before its first buffer."""
WITH_FILES = (Submit, Result)
"""The messages whose buffers may lie in files."""

LayDown = Callable[[memoryview, bool], bytes | None]
"""Puts a buffer into a file; gives its reference, with a sum of the content or without, or None where that cannot be."""
Take = Callable[[Reference, np.dtype, tuple[int, ...]], np.ndarray]
"""Gives the array of a reference, or raises `HandoverLost`."""


@dataclass(frozen=True)
class Envelope:
    """A received message, the number of the request that it makes or answers, and the body as plain JSON values.

    `files` are the references among the frames, by their places.
    """

    message: Message
    request: int | None
    body: dict[str, Any]
    files: dict[int, Reference] = field(default_factory=dict)


def encode(message: Message, request: int | None = None, lay_down: LayDown | None = None) -> list[Buffer]:
    """The frames of a message. Large arrays are not copied: leave them alone until they are sent.

    With `lay_down`, those of `WITH_FILES` go into files as far as it takes them.
    """
    buffers: list[Buffer] = []
    body = _plain_fields(message, buffers)
    header = {"protocol": PROTOCOL, "type": type_name(type(message)), "request": request, "body": body}
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    frames = [MAGIC, text, *buffers]
    _check_sizes([_size(frame) for frame in frames])
    if lay_down is None or not isinstance(message, WITH_FILES):
        return frames
    summed = isinstance(message, Submit)
    return frames[:BEFORE] + [each.nbytes >= MIN_FILE_BYTES and lay_down(each, summed) or each for each in buffers]


def _plain_fields(message: Message, buffers: list[Buffer]) -> dict[str, Any]:
    def leaf(value: Any) -> Any:
        return _describe(value, buffers) if isinstance(value, ChannelImage) else _plain_fields(value, buffers)

    return {name: plain(getattr(message, name), leaf) for name in fields_of(type(message))}


def _describe(image: ChannelImage, buffers: list[Buffer]) -> dict[str, Any]:
    dtype = image.data.dtype.name
    array = np.ascontiguousarray(image.data, dtype=DTYPES[dtype])
    buffers.append(memoryview(array).cast("B"))
    return {"dtype": dtype, "shape": list(array.shape), "space": image.space, "buffer": len(buffers) - 1}


def decode(frames: Sequence[Any], registry: Registry, take: Take | None = None) -> Envelope:
    """The message in `frames` (bytes, or anything with a buffer), which must be of a type in `registry`.

    Images come as float32, read-only; those sent as float32 are views into the frames. `take` gets those that lie in files;
    without it they are not allowed. Raises `VersionMismatch` if the sender speaks another version or knows other messages,
    `HandoverLost` if a file cannot be had, `ProtocolError` for anything else that is not exactly as `PROTOCOL.md` says.
    """
    views = [memoryview(frame) for frame in frames]
    sizes = [view.nbytes for view in views]
    _check_sizes(sizes)
    if views[0] != MAGIC:
        raise ProtocolError(f"The message does not start with {MAGIC.decode()}: the sender speaks something else.")
    header = _parse(views[1])
    request = _request(header)
    _check_version(header.get("protocol"), request, registry.sender)
    buffers = _Buffers(views[BEFORE:], sum(sizes), take)
    try:
        return Envelope(_message(header, buffers, registry), request, header["body"], buffers.files)
    except HandoverLost as error:
        error.job_id = _job_id(header["body"])
        raise
    except (ProtocolError, VersionMismatch) as error:
        error.request = request
        raise


class _Buffers:
    """The buffers of a message that no image has used yet, and the references found among them."""

    def __init__(self, views: list[memoryview], total: int, take: Take | None) -> None:
        self.unused = dict(enumerate(views))
        self.files: dict[int, Reference] = {}
        self._total, self._take = total, take

    def array(self, index: int, dtype: np.dtype, shape: tuple[int, ...], where: str) -> np.ndarray:
        """The numbers of an image."""
        if index not in self.unused:
            raise ProtocolError(f"{where} names the buffer {shown(index)}, which is not there or is used already.")
        view, expected = self.unused.pop(index), math.prod(shape) * dtype.itemsize
        if view.nbytes == expected:
            return np.frombuffer(view, dtype).reshape(shape)
        reference = Reference.parse(view) if self._take and expected >= MIN_FILE_BYTES else None
        if reference is None or reference.size != expected:
            raise ProtocolError(f"{where} needs {expected} bytes, but its buffer has {reference.size if reference else view.nbytes}.")
        self._count(index, reference)
        return self._take(reference, dtype, shape)

    def _count(self, index: int, reference: Reference) -> None:
        """Bytes in files are bytes of the message."""
        self._total += reference.size
        if self._total > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"The message has over {MAX_MESSAGE_BYTES} bytes with those in files; no more are allowed.")
        self.files[BEFORE + index] = reference

    def without_files(self) -> None:
        """This message may have none."""
        self._take = None


def _job_id(body: Any) -> str:
    job_id = body.get("job_id") if isinstance(body, dict) else ""
    return job_id if isinstance(job_id, str) else ""


def _size(frame: Buffer) -> int:
    return frame.nbytes if isinstance(frame, memoryview) else len(frame)


def _check_sizes(sizes: list[int]) -> None:
    if not 2 <= len(sizes) <= 2 + MAX_ARRAYS:
        raise ProtocolError(f"The message has {len(sizes)} frames; expected 2 .. {2 + MAX_ARRAYS}.")
    if sizes[1] > MAX_HEADER_BYTES:
        raise ProtocolError(f"The header has {sizes[1]} bytes; at most {MAX_HEADER_BYTES} are allowed.")
    if max(sizes) > MAX_BUFFER_BYTES or sum(sizes) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"The message has {sum(sizes)} bytes, its largest frame {max(sizes)};"
            f" at most {MAX_MESSAGE_BYTES} and {MAX_BUFFER_BYTES} are allowed."
        )


def _parse(view: memoryview) -> dict[str, Any]:
    try:
        header = json.loads(bytes(view), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("The header is not sound JSON.") from error
    if not isinstance(header, dict):
        raise ProtocolError("The header is not a JSON object.")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(entries := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return entries


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _request(header: dict[str, Any]) -> int | None:
    request = header.get("request")
    if request is not None and not (type(request) is int and 0 <= request <= MAX_COUNT):
        raise ProtocolError("The header's request is neither null nor a count.")
    return request


def _check_version(theirs: Any, request: int | None, sender: str) -> None:
    if type(theirs) is not int:
        raise ProtocolError("The header's protocol is not a whole number.", request=request)
    if theirs != PROTOCOL:
        raise VersionMismatch(mismatch(sender, theirs, PROTOCOL), theirs=theirs, ours=PROTOCOL, request=request)


def _message(header: dict[str, Any], buffers: _Buffers, registry: Registry) -> Message:
    if header.keys() != {"protocol", "type", "request", "body"}:
        raise ProtocolError("The header's entries are not exactly protocol, type, request and body.")
    if not isinstance(header["type"], str):
        raise ProtocolError("The message's type is not a string.")
    kind = registry.kinds.get(header["type"])
    if kind is None:
        raise _other_release(other_message(registry.sender, header["type"]))
    if kind not in WITH_FILES:
        buffers.without_files()
    message = build(kind, header["body"], header["type"], lambda *leaf: _leaf(*leaf, buffers, registry.sender))
    if buffers.unused:
        raise ProtocolError(f"The message has {len(buffers.unused)} buffers that no image uses.")
    return message


def _other_release(sentence: str) -> VersionMismatch:
    return VersionMismatch(sentence, theirs=PROTOCOL, ours=PROTOCOL)


def _leaf(kind: type, body: dict[str, Any], where: str, buffers: _Buffers, sender: str) -> Any:
    expected = fields_of(kind) if kind is not ChannelImage else dict.fromkeys(("dtype", "shape", "space", "buffer"))
    if body.keys() != expected.keys():
        raise _other_release(other_entries(sender, where, body.keys() - expected, expected.keys() - body))
    if kind is ChannelImage:
        return _image(body, where, buffers)
    values = {
        name: build(hint, body[name], f"{where}.{name}", lambda *leaf: _leaf(*leaf, buffers, sender))
        for name, hint in expected.items()
    }
    return kind(**values)


def _image(body: dict[str, Any], where: str, buffers: _Buffers) -> ChannelImage:
    dtype, shape, space, index = body["dtype"], body["shape"], body["space"], body["buffer"]
    if not (isinstance(shape, list) and all(type(side) is int for side in shape) and type(index) is int):
        raise ProtocolError(f"{where} must have a shape of whole numbers and a whole number as its buffer.")
    if not (isinstance(dtype, str) and isinstance(space, str)):
        raise ProtocolError(f"{where} must have strings as its dtype and space.")
    check_image(dtype, tuple(shape), space, where)
    return ChannelImage(_usable(buffers.array(index, DTYPES[dtype], tuple(shape), where)), space)


def _usable(array: np.ndarray) -> np.ndarray:
    # Frames may start at any address; arithmetic on unaligned arrays is slow, and other libraries refuse them.
    array = np.require(array, np.float32, "A")
    array.flags.writeable = False
    return array
