# SPDX-License-Identifier: GPL-3.0-or-later
"""A message as frames and back: `[MAGIC, header as JSON, buffer 0, buffer 1, ...]`. Never pickle.

The header is `{"protocol", "type", "request", "body"}`. An image in the body is `{"dtype", "shape", "space", "buffer"}`;
its numbers are the buffer with that index, little-endian, C order. Every rule is checked before an array is made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ProtocolError, VersionMismatch
from .image import DTYPES, ChannelImage, check_image
from .limits import MAGIC, MAX_ARRAYS, MAX_BUFFER_BYTES, MAX_COUNT, MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, PROTOCOL
from .messages import Message, Registry, type_name
from .schema import build, fields_of, plain
from .versions import mismatch, other_entries, other_message

Buffer = bytes | memoryview


@dataclass(frozen=True)
class Envelope:
    """A received message, the number of the request that it makes or answers, and the body as plain JSON values."""

    message: Message
    request: int | None
    body: dict[str, Any]


def encode(message: Message, request: int | None = None) -> list[Buffer]:
    """The frames of a message. Large arrays are not copied: leave them alone until they are sent."""
    buffers: list[Buffer] = []
    body = _plain_fields(message, buffers)
    header = {"protocol": PROTOCOL, "type": type_name(type(message)), "request": request, "body": body}
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    frames = [MAGIC, text, *buffers]
    _check_sizes([_size(frame) for frame in frames])
    return frames


def _plain_fields(message: Message, buffers: list[Buffer]) -> dict[str, Any]:
    def leaf(value: Any) -> Any:
        return _describe(value, buffers) if isinstance(value, ChannelImage) else _plain_fields(value, buffers)

    return {name: plain(getattr(message, name), leaf) for name in fields_of(type(message))}


def _describe(image: ChannelImage, buffers: list[Buffer]) -> dict[str, Any]:
    dtype = image.data.dtype.name
    array = np.ascontiguousarray(image.data, dtype=DTYPES[dtype])
    buffers.append(memoryview(array).cast("B"))
    return {"dtype": dtype, "shape": list(array.shape), "space": image.space, "buffer": len(buffers) - 1}


def decode(frames: Sequence[Any], registry: Registry) -> Envelope:
    """The message in `frames` (bytes, or anything with a buffer), which must be of a type in `registry`.

    Images come as float32; those sent as float32 are read-only views into the frames. Raises `VersionMismatch` if the
    sender speaks another version or knows other messages, `ProtocolError` for anything else that is not exactly as
    `PROTOCOL.md` says.
    """
    views = [memoryview(frame) for frame in frames]
    _check_sizes([view.nbytes for view in views])
    if views[0] != MAGIC:
        raise ProtocolError(f"The message does not start with {MAGIC.decode()}: the sender speaks something else.")
    header = _parse(views[1])
    request = _request(header)
    _check_version(header.get("protocol"), request, registry.sender)
    try:
        return Envelope(_message(header, views[2:], registry), request, header["body"])
    except (ProtocolError, VersionMismatch) as error:
        error.request = request
        raise


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


def _message(header: dict[str, Any], buffers: list[memoryview], registry: Registry) -> Message:
    if header.keys() != {"protocol", "type", "request", "body"}:
        raise ProtocolError("The header's entries are not exactly protocol, type, request and body.")
    if not isinstance(header["type"], str):
        raise ProtocolError("The message's type is not a string.")
    kind = registry.kinds.get(header["type"])
    if kind is None:
        raise _other_release(other_message(registry.sender, header["type"]))
    unused = dict(enumerate(buffers))
    message = build(kind, header["body"], header["type"], lambda *leaf: _leaf(*leaf, unused, registry.sender))
    if unused:
        raise ProtocolError(f"The message has {len(unused)} buffers that no image uses.")
    return message


def _other_release(sentence: str) -> VersionMismatch:
    return VersionMismatch(sentence, theirs=PROTOCOL, ours=PROTOCOL)


def _leaf(kind: type, body: dict[str, Any], where: str, buffers: dict[int, memoryview], sender: str) -> Any:
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


def _image(body: dict[str, Any], where: str, buffers: dict[int, memoryview]) -> ChannelImage:
    dtype, shape, space, index = body["dtype"], body["shape"], body["space"], body["buffer"]
    if not (isinstance(shape, list) and all(type(side) is int for side in shape) and type(index) is int):
        raise ProtocolError(f"{where} must have a shape of whole numbers and a whole number as its buffer.")
    if not (isinstance(dtype, str) and isinstance(space, str)):
        raise ProtocolError(f"{where} must have strings as its dtype and space.")
    check_image(dtype, tuple(shape), space, where)
    if index not in buffers:
        raise ProtocolError(f"{where} names the buffer {index}, which is not there or is used already.")
    expected = math.prod(shape) * DTYPES[dtype].itemsize
    if buffers[index].nbytes != expected:
        raise ProtocolError(f"{where} needs {expected} bytes, but its buffer has {buffers[index].nbytes}.")
    return ChannelImage(_array(buffers.pop(index), dtype, shape), space)


def _array(buffer: memoryview, dtype: str, shape: list[int]) -> np.ndarray:
    array = np.frombuffer(buffer, DTYPES[dtype]).reshape(shape)
    # Frames may start at any address; arithmetic on unaligned arrays is slow, and other libraries refuse them.
    array = np.require(array, np.float32, "A")
    array.flags.writeable = False
    return array
