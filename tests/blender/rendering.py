# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering with neural passes into files, and what is in them."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from blender_addon import render_layer

bpy.utils.expose_bundled_modules()
import OpenImageIO  # noqa: E402 (one of those modules)

ENGINE = "TEAMWORK_CYCLES"


def turn_on(layer, *words: str) -> None:
    """Choose neural passes of a view layer."""
    for word in words:
        setattr(layer.teamwork, f"use_{word}", True)


def write(scene, folder: Path, **settings) -> list[Path]:
    """Render to multilayer files, which is where passes can be seen."""
    output = scene.render.image_settings
    output.media_type = "MULTI_LAYER_IMAGE"
    output.file_format, output.color_depth, output.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    scene.render.filepath = str(folder / "frame_")
    bpy.ops.render.render(**(settings or {"write_still": True}))
    return sorted(folder.glob("*.exr"))


def passes_of(path: Path) -> dict[str, np.ndarray]:
    """The passes of a multilayer file by "layer.pass": H x W x C."""
    file, found = OpenImageIO.ImageInput.open(str(path)), {}
    for part in range(64):
        if not file.seek_subimage(part, 0):
            break
        spec = file.spec()
        name = spec.channelnames[0].rpartition(".")[0]
        found[name] = np.array(file.read_image(part, 0, 0, spec.nchannels, OpenImageIO.FLOAT))
    file.close()
    return found


def neural(found: dict[str, np.ndarray]) -> set[str]:
    """The names of neural passes among them."""
    return {name for name in found if ".Neural " in name}


def job_states() -> list[str]:
    """What the engine does for us just now, asked on a connection of its own."""
    with render_layer.connect() as client:
        return [job.state for job in client.jobs()]
