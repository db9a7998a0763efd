# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo tells: seconds, files, errors where a truth is known, and the sheet of channels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blender_addon.wire import ChannelImage
from engine_server import channels, colour

SHOWN = ("albedo", "diffuseshading", "residual", "normals", "depth", "roughness", "metalness")
SPACES = {"normals": channels.CAMERA_NORMAL}
LABEL, GAP = 26, 8


class Stages:
    """Times the stages and lists what they made."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.times: list[tuple[str, float]] = []
        self.files: list[tuple[str, str, str]] = []

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time what happens inside, and say it."""
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        yield
        self.times.append((name, time.monotonic() - started))

    def made(self, name: str, what: str, error: str = "") -> None:
        """Note a result."""
        self.files.append((name, what, error))

    def table(self) -> str:
        """Everything as text."""
        lines = ["", f"Made in {self.out}", ""]
        lines += [f"  {name:<24} {what:<48} {error}" for name, what, error in self.files]
        lines += ["", "Seconds", ""]
        lines += [f"  {name:<40} {seconds:8.1f}" for name, seconds in self.times]
        return "\n".join(lines)


def stain(height: int, width: int) -> np.ndarray:
    """A mask of an uneven blot, height x width x 1, 1 inside."""
    y, x = np.mgrid[:height, :width]
    radius, angle = np.hypot(y - height * 0.55, x - width * 0.45), np.arctan2(y - height * 0.55, x - width * 0.45)
    blot = radius < min(height, width) * (0.17 + 0.04 * np.sin(3 * angle) + 0.02 * np.sin(7 * angle + 1))
    return blot[..., None].astype(np.float32)


def display_error(image: np.ndarray, truth: np.ndarray) -> str:
    """RMSE and PSNR of two scene-linear pictures after display encoding."""
    rmse = float(np.sqrt(np.mean((colour.display_encode(image) - colour.display_encode(truth)) ** 2)))
    return f"RMSE {rmse:.3f}, PSNR {-20 * np.log10(max(rmse, 1e-6)):.1f} dB"


def wire_values(image: Any) -> np.ndarray:
    """A channel's image as it was on the wire: normals back to -1..1."""
    from blender_addon import images

    values = images.read(image)
    return values * 2.0 - 1.0 if image["teamwork_channel"] == "normals" else values


def encoded(channel: str, values: np.ndarray) -> np.ndarray:
    """A channel as a model sees it, 0..1; a residual as a picture (its negative parts show as black)."""
    space = SPACES.get(channel, channels.channel(channel).spaces[0])
    return channels.to_model(channel, ChannelImage(np.ascontiguousarray(values, np.float32), space))


def _error(channel: str, made: np.ndarray, truth: np.ndarray) -> str:
    if channel == "normals":
        cosine = np.clip((channels.normals_decode(made) * channels.normals_decode(truth)).sum(-1), -1.0, 1.0)
        return f"mean {np.degrees(np.arccos(cosine)).mean():.1f} degrees"
    return f"RMSE {np.sqrt(np.mean((made - truth) ** 2)):.3f}"


def save_sheet(made: dict[str, np.ndarray], truth: dict[str, np.ndarray], path: Path) -> dict[str, str]:
    """One column for each channel, ours above Blender's; gives the error of each."""
    names = [name for name in SHOWN if name in made and name in truth]
    pairs = {name: (encoded(name, made[name]), encoded(name, truth[name])) for name in names}
    height, width = next(iter(pairs.values()))[0].shape[:2]
    sheet = Image.new("RGB", (len(names) * (width + GAP) + GAP, 2 * (height + LABEL) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (name, pair) in enumerate(pairs.items()):
        for row, (values, label) in enumerate(zip(pair, (name, "Blender"), strict=True)):
            x, y = GAP + column * (width + GAP), row * (height + LABEL)
            draw.text((x, y + 5), label, "black", font)
            sheet.paste(Image.fromarray((values * 255 + 0.5).astype(np.uint8)), (x, y + LABEL))
    sheet.save(path)
    return {name: _error(name, *pair) for name, pair in pairs.items()}
