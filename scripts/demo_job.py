# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's main job: Blender with the add-on, an engine of its own, and four tasks. Run by `demo.py`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import demo_report as report
from .demo_command import arguments
from .demo_report import Stages

PHOTO = "brick.png"
SCENE_SAMPLES = 4
PREVIEW_SAMPLES = 48


class DemoError(Exception):
    """The demo cannot go on; the text is one sentence."""


def default_photo() -> Path:
    """Bricks, 512 x 512, grey: CC0, comes with scikit-image."""
    import skimage

    return Path(skimage.__file__).parent / "data" / PHOTO


def do(operator: Callable, **settings: Any) -> None:
    """Run an operator; what it reports as an error becomes a `DemoError`."""
    try:
        operator(**settings)
    except RuntimeError as error:
        raise DemoError(str(error).removeprefix("Error: ").strip()) from error


def photo_to_material(photo: Path, size: int, samples: int, out: Path, stages: Stages) -> Any:
    """Maps as PNG, a packed .blend, and a render of the material, 2 size x 2 size; gives the material."""
    import bpy

    from blender_addon import images

    from .cycles.preview import render_material_preview

    with stages.time("photo -> material"):
        do(bpy.ops.teamwork.material_from_image, filepath=str(photo))
    material = next(m for m in bpy.data.materials if m.get("teamwork_task") == "material")
    maps = {i["teamwork_channel"]: i for i in bpy.data.images if i.get("teamwork_task") == "material"}
    for channel, image in maps.items():
        images.save_png(image, out / f"{channel}.png")
        stages.made(f"{channel}.png", "map of the material")
    with stages.time("material preview (Cycles)"):
        render_material_preview(material, out / "material_preview.png", 2 * size, min(samples, PREVIEW_SAMPLES))
    stages.made("material_preview.png", "the material on a ball and a tile")
    _save(material, out / "material.blend")
    stages.made("material.blend", "the material, textures packed")
    return material


def _save(material: Any, path: Path) -> None:
    """A file with the material on a plane, without the photo that it came from."""
    import bpy

    bpy.ops.mesh.primitive_plane_add(size=2)
    bpy.context.object.data.materials.append(material)
    do(bpy.ops.wm.save_as_mainfile, filepath=str(path), check_existing=False, compress=True)


def mend(material: Any, out: Path, stages: Stages) -> None:
    """A part of the material made anew in all maps together, as if there were a stain."""
    import bpy

    from blender_addon import images

    before = next(i for i in bpy.data.images if i.get("teamwork_task") == "material" and i["teamwork_channel"] == "albedo")
    stain = report.stain(before.size[1], before.size[0])
    images.create("stain", stain, "metalness")
    with stages.time("inpainting the material"):
        do(bpy.ops.teamwork.inpaint, material=material.name, mask="stain", mask_from="BRIGHT")
    images.save_png(images.create("holed", np.where(stain > 0, np.float32(0), images.read(before)), "albedo"), out / "holed.png")
    stages.made("holed.png", "the base colour without a part of it")
    for image in [i for i in bpy.data.images if i.get("teamwork_task") == "inpaint"]:
        name = f"mended_{image['teamwork_channel']}.png"
        images.save_png(image, out / name)
        stages.made(name, "map with that part made anew")


def shade_scene(size: int, samples: int, out: Path, stages: Stages) -> dict[str, np.ndarray]:
    """Reference and neural shading of the still life; gives Blender's ground truth of every channel."""
    import bpy

    from blender_addon import images, passes

    from .cycles.scene import build_demo_scene

    scene = build_demo_scene(size)
    with stages.time(f"reference (Cycles, {samples} samples)"):
        truth = {name: channel.data for name, channel in passes.render_truth(scene, samples=samples).items()}
    images.save_png(images.create("reference", truth["image"], "image"), out / "reference.png")
    stages.made("reference.png", f"Cycles, {samples} samples, denoised")
    with stages.time("scene -> neural shading"):
        do(bpy.ops.teamwork.neural_render, samples=SCENE_SAMPLES, image_name="neural_shading")
    shaded = bpy.data.images["neural_shading"]
    images.save_png(shaded, out / "neural_shading.png")
    start = passes.render_channels(scene, samples=SCENE_SAMPLES)["image"].data
    images.save_png(images.create("noisy", start, "image"), out / "noisy.png")
    error = report.display_error(images.read(shaded), truth["image"])
    noise = report.display_error(start, truth["image"])
    stages.made("neural_shading.png", f"the engine's picture of {SCENE_SAMPLES}-sample passes", error)
    stages.made("noisy.png", f"what it was made from: Cycles, {SCENE_SAMPLES} samples", noise)
    return truth


def decompose(truth: dict[str, np.ndarray], out: Path, stages: Stages) -> None:
    """The reference taken apart, each channel beside Blender's own pass."""
    import bpy

    with stages.time("intrinsic decomposition"):
        do(bpy.ops.teamwork.decompose_image, image="reference")
    images_made = [image for image in bpy.data.images if image.get("teamwork_task") == "decompose"]
    made = {image["teamwork_channel"]: report.wire_values(image) for image in images_made}
    errors = report.save_sheet(made, truth, out / "decomposition.png")
    stages.made("decomposition.png", "each channel beside Blender's own pass")
    for channel, error in errors.items():
        stages.made(f"  {channel}", "against Blender's pass", error)


def run(photo: Path, out: Path, size: int, samples: int) -> None:
    """The whole job. Raises `DemoError`."""
    import bpy

    import blender_addon
    from blender_addon import images, launcher
    from blender_addon.operators.base import MISTAKES

    stages = Stages(out)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()  # not through the preferences, which an empty file resets
    try:
        images.load(photo)  # a bad photo is told at once
        with stages.time("start the engine"):
            engine = launcher.start_engine(Path(sys.executable))
        try:
            do(bpy.ops.teamwork.test_engine)
            mend(photo_to_material(photo, size, samples, out, stages), out, stages)
            truth = shade_scene(size, samples, out, stages)
            decompose(truth, out, stages)
        finally:
            blender_addon.unregister()
            engine.stop()
    except MISTAKES as error:
        raise DemoError(str(error)) from error
    print(stages.table(), flush=True)


def _keep_apart(home: Path) -> None:
    """Let neither the user's own engine nor Blender's preferences know of this; before Blender is imported."""
    os.environ["TEAMWORK_HOME"] = str(home)
    resources = home / "blender"
    resources.mkdir(parents=True, exist_ok=True)
    os.environ["BLENDER_USER_RESOURCES"] = str(resources)


def main() -> int:
    """Run with the words of `demo.py`; 2 and a sentence for what the user can mend."""
    # Ctrl-C inside an operator would be told as a fault of it; the engine ends when this process has ended
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    options = arguments().parse_args()
    out = options.out.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        _keep_apart(out / ".engine")
        run(options.photo or default_photo(), out, options.size, options.samples)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or out
        print(f"demo: {where} cannot be used ({error.strerror}): choose another folder with --out.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Blender's module may hang on its way out
