# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering with neural passes into files, and what is in them."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from blender_addon import render_layer
from tests.blender.conftest import file_format

if hasattr(bpy.utils, "expose_bundled_modules"):  # not in 4.2, whose tests have it from the package index
    bpy.utils.expose_bundled_modules()
import OpenImageIO  # noqa: E402 (one of those modules)

ENGINE = "TEAMWORK_CYCLES"


def turn_on(layer, *words: str) -> None:
    """Choose neural passes of a view layer."""
    for word in words:
        setattr(layer.teamwork, f"use_{word}", True)


def write(scene, folder: Path, **settings) -> list[Path]:
    """Render to multilayer files, which is where passes can be seen."""
    file_format(scene, "OPEN_EXR_MULTILAYER")
    scene.render.image_settings.exr_codec = "NONE"
    scene.render.filepath = str(folder / "frame_")
    bpy.ops.render.render(**(settings or {"write_still": True}))
    return sorted(folder.glob("*.exr"))


def passes_of(path: Path) -> dict[str, np.ndarray]:
    """The passes of a multilayer file by "layer.pass": H x W x C.

    Blender 5 writes a part for each pass, 4.x all channels into one. The order of X, Y, Z or R, G, B, A is Blender's.
    """
    file, found = OpenImageIO.ImageInput.open(str(path)), {}
    for part in range(64):
        if not file.seek_subimage(part, 0):
            break
        spec = file.spec()
        pixels = np.array(file.read_image(part, 0, 0, spec.nchannels, OpenImageIO.FLOAT))
        pixels = pixels.reshape(spec.height, spec.width, spec.nchannels)
        names = [name.rpartition(".")[0] for name in spec.channelnames]
        for name in dict.fromkeys(names):
            of_pass = [i for i in range(spec.nchannels) if names[i] == name]
            of_pass.sort(key=lambda i: "RGBAXYZW".find(spec.channelnames[i].rpartition(".")[2]))
            found[name] = pixels[..., of_pass]
    file.close()
    return found


def neural(found: dict[str, np.ndarray]) -> set[str]:
    """The names of neural passes among them."""
    return {name for name in found if ".Neural " in name}


def job_states() -> list[str]:
    """What the engine does for us just now, asked on a connection of its own."""
    with render_layer.connect() as client:
        return [job.state for job in client.jobs()]
