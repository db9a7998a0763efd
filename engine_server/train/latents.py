# SPDX-License-Identifier: GPL-3.0-or-later
"""Training pictures as latents, encoded once and kept in a file, from which single ones are read as they are needed."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..diffusion.base import Base
from ..teamwork.pictures import to_pixels
from ..whole import whole_file
from .files import after, file_size, load_picture
from .precision import mixed_precision

Tensor = torch.Tensor
MASK = "*mask"
"""Stands where a picture's channel would, for one that weighs pixels and is not encoded."""


@dataclass(frozen=True)
class Picture:
    """A file, what it shows, and the shorter side that it is reduced to (0: not)."""

    path: Path
    channel: str
    side: int = 0

    @property
    def key(self) -> str:
        """Changes when the file does."""
        status = self.path.stat()
        return f"{self.path}|{self.channel}|{self.side}|{status.st_size}|{status.st_mtime_ns}"


class LatentCache:
    """Latents of picture files, kept beside the run, so that a restart does not encode again.

    Pictures with the same bytes (a map that is one colour) are kept once. The file holds one block for each shape of
    latents, and in its metadata which picture is which row of which block. It belongs to one base; another starts anew.
    """

    def __init__(self, base: Base, path: Path, precision: str = "float32", say: Callable[[str], None] = print) -> None:
        self.base, self.path, self.precision, self.say = base, path, precision, say
        self.open()

    def open(self) -> None:
        """Take the file as it is now, or none; one that is cut short or of another base counts as none."""
        self._file, self._slices, self._rows, self.places = ExitStack(), [], {}, {}
        if not self.path.exists():
            return
        try:
            file = self._file.enter_context(safe_open(self.path, "pt"))
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
        except (SafetensorError, OSError, ValueError):
            return
        if facts.get("base") == self._name():
            self.places = {key: tuple(place) for key, place in facts["places"].items()}
            self._slices = [file.get_slice(str(i)) for i in range(len(file.keys()))]

    @property
    def counts(self) -> list[int]:
        """How many latents each block holds."""
        return [block.get_shape()[0] for block in self._slices]

    def fill(self, pictures: Iterable[Picture], batch: int = 8) -> None:
        """Encode those pictures that are not there yet. Raises `ConfigError` naming one that cannot be read."""
        missing = {p.key: p for p in pictures}
        missing = {key: p for key, p in missing.items() if key not in self.places}
        if not missing:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.path.parent):
            pass  # raises, before hours of encoding, where nothing can be written
        self.say(f"encoding {len(missing)} pictures")
        alike: dict[tuple, dict[str, Picture]] = {}
        for key, picture in missing.items():
            size = after(file_size(picture.path), picture.side)
            alike.setdefault((size, picture.channel == MASK), {})[key] = picture
        blocks = [block[:] for block in self._slices]
        for pictures in alike.values():
            blocks.append(self._block(pictures, len(blocks), batch))
        self._save(blocks)

    def _save(self, blocks: list[Tensor]) -> None:
        self._file.close()  # so that systems which lock open files let it be replaced
        facts = {"base": self._name(), "places": self.places}
        with whole_file(self.path) as partial:
            save_file({str(i): b for i, b in enumerate(blocks)}, partial, metadata={"facts": json.dumps(facts)})
        self.open()

    def _name(self) -> str:
        config = {k: v for k, v in self.base.vae.config.items() if isinstance(v, (int, float, str)) and k[0] != "_"}
        probe = next(self.base.vae.parameters()).detach().flatten()[:64].float().cpu().numpy().tobytes()
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode() + probe).hexdigest()[:16]

    def _block(self, pictures: dict[str, Picture], number: int, batch: int) -> Tensor:
        """One tensor for all: single rows, allocated between an encoder's large buffers, would tear the memory apart."""
        digests = {key: _digest(picture) for key, picture in pictures.items()}
        unique = list({digest: pictures[key] for key, digest in reversed(digests.items())}.items())[::-1]
        row = {digest: i for i, (digest, _) in enumerate(unique)}
        block = None
        for start in range(0, len(unique), batch):
            latents = self._encode([picture for _, picture in unique[start : start + batch]]).cpu()
            block = latents.new_empty(len(unique), *latents.shape[1:]) if block is None else block
            block[start : start + len(latents)] = latents
            if start % 2000 < batch <= start:
                self.say(f"{start} of {len(unique)} pictures encoded")
        self.places |= {key: (number, row[digest]) for key, digest in digests.items()}
        return block

    def _encode(self, pictures: list[Picture]) -> Tensor:
        factor = self.base.factor
        pixels = to_pixels([load_picture(p.path, p.channel.replace(MASK, "mask"), p.side) for p in pictures])
        height, width = (side // factor * factor for side in pixels.shape[-2:])
        pixels = pixels[..., :height, :width]
        if pictures[0].channel == MASK:
            return torch.nn.functional.avg_pool2d(pixels.mean(1, keepdim=True) / 2 + 0.5, factor).half()
        with torch.no_grad(), mixed_precision(self.precision, self.base.device.type):
            return self.base.encode(pixels).half()

    def __getitem__(self, picture: Picture) -> Tensor:
        """Latents C x h x w, or for a mask the mean weight of each cell, 1 x h x w; float32."""
        if picture not in self._rows:
            self._rows[picture] = self.places[picture.key]
        block, row = self._rows[picture]
        return self._slices[block][row : row + 1][0].float()


def _digest(picture: Picture) -> bytes:
    """Of the file's bytes, and of what else decides about its latents: `halfway` is read without limits."""
    kind = picture.channel if picture.side or picture.channel == "halfway" else ""
    return hashlib.sha256(f"{kind}|{picture.side}|".encode() + picture.path.read_bytes()).digest()
