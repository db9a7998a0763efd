# SPDX-License-Identifier: GPL-3.0-or-later
"""Cycles from a script: an empty scene, its settings, and its passes as arrays.

`bpy` is imported inside the functions: it takes seconds, and not every command needs it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

AOVS = {"albedo": "COLOR", "roughness": "VALUE", "metalness": "VALUE"}
DIFFUSE_PASSES = ("Diffuse Direct", "Diffuse Indirect"), ("DiffDir", "DiffInd")  # since 5.0, and before it


def empty_scene() -> Any:
    """Blender with nothing in it; gives its scene."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def panoramas() -> list[Path]:
    """Blender's bundled HDR panoramas, sorted by name."""
    import bpy

    return sorted(Path(bpy.utils.system_resource("DATAFILES"), "studiolights", "world").glob("*.exr"))


def node_of(tree: Any, kind: str) -> Any:
    """The first node of a type such as 'BSDF_PRINCIPLED'; names change with Blender's language, types do not."""
    return next(node for node in tree.nodes if node.type == kind)


def use_nodes(owner: Any) -> Any:
    """A material's or world's node tree; before 5.0 it had to be switched on."""
    import bpy

    if bpy.app.version < (5, 0, 0):
        owner.use_nodes = True
    return owner.node_tree


def light_with_panorama(scene: Any, panorama: Path, turn: float = 0.0, strength: float = 1.0) -> None:
    """Light the scene by a panorama, turned by `turn` radians about the vertical."""
    import bpy

    world = bpy.data.worlds.new("World")
    scene.world = world
    tree = use_nodes(world)
    place, mapping, environment = (
        tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "Mapping", "TexEnvironment")
    )
    environment.image = bpy.data.images.load(str(panorama), check_existing=True)
    mapping.inputs["Rotation"].default_value[2] = turn
    background = node_of(tree, "BACKGROUND")
    background.inputs["Strength"].default_value = strength
    tree.links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tree.links.new(environment.outputs["Color"], background.inputs["Color"])
    world.cycles.sampling_method = "MANUAL"  # a small map of where light comes from: a second less per render
    world.cycles.sample_map_resolution = 256


def light_with_colour(scene: Any, colour: tuple[float, float, float]) -> None:
    """Light the scene by a world of one colour, linear RGB."""
    import bpy

    scene.world = bpy.data.worlds.new("World")
    node_of(use_nodes(scene.world), "BACKGROUND").inputs["Color"].default_value = (*colour, 1.0)


def set_up(scene: Any, width: int, height: int, samples: int, *, threads: int = 1, denoise: bool = True) -> None:
    """Cycles on the CPU with a fixed number of samples; `denoise` uses Open Image Denoise. 0 threads: all there are."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.threads_mode = "FIXED" if threads else "AUTO"
    render.threads = max(threads, 1)
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, 0
    cycles.use_adaptive_sampling = cycles.use_light_tree = False  # few lamps: plain sampling is faster
    cycles.use_denoising = denoise
    if denoise:
        cycles.denoiser, cycles.denoising_use_gpu = "OPENIMAGEDENOISE", False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 6, 3, 4
    cycles.caustics_reflective = cycles.caustics_refractive = False
    scene.view_settings.view_transform = "Standard"


def store_passes(scene: Any) -> None:
    """Have the scene's first view layer make depth, normals, diffuse light and the maps of the materials."""
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = True
    layer.use_pass_diffuse_direct = layer.use_pass_diffuse_indirect = True
    layer.use_pass_diffuse_color = True
    layer.cycles.denoising_store_passes = True
    for name, kind in AOVS.items():
        if name not in layer.aovs:
            made = layer.aovs.add()
            made.name, made.type = name, kind


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what Blender prints for each render ('Saved: ...') off the output."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def _scratch() -> Path:
    """A file in memory where there is such a place, else in the temporary folder."""
    memory = Path("/dev/shm")
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"teamwork-{os.getpid()}.exr"


@contextmanager
def _multilayer(scene: Any, path: Path) -> Iterator[None]:
    """Output to a multilayer EXR; the scene's own output settings come back afterwards."""
    wanted = {"media_type": "MULTI_LAYER_IMAGE", "file_format": "OPEN_EXR_MULTILAYER", "color_depth": "32"}
    render, settings = scene.render, scene.render.image_settings
    names = [name for name in wanted if hasattr(settings, name)]  # media_type: since 5.0, to be set before the format
    kept = [(settings, name, getattr(settings, name)) for name in names]
    kept += [(render, name, getattr(render, name)) for name in ("filepath", "use_file_extension")]
    try:
        for name in names:
            setattr(settings, name, wanted[name])
        settings.exr_codec = "NONE"
        render.filepath, render.use_file_extension = str(path), False
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def render_passes(scene: Any) -> dict[str, np.ndarray]:
    """Render; `{pass: H x W x C float32}`, rows top-down. Names are Blender's, without the layer's."""
    import bpy

    path = _scratch()
    try:
        with quiet(), _multilayer(scene, path):
            bpy.ops.render.render(write_still=True, scene=scene.name)
        return read_passes(path)
    finally:
        path.unlink(missing_ok=True)


def render_animation(scene: Any) -> Iterator[dict[str, np.ndarray]]:
    """Render the scene's frames in one go; then, frame by frame, what `render_passes` gives of one."""
    import bpy

    with tempfile.TemporaryDirectory(prefix="teamwork-frames-") as folder:
        with quiet(), _multilayer(scene, Path(folder) / "frame_"):
            scene.render.use_file_extension = True
            bpy.ops.render.render(animation=True, scene=scene.name)
        for path in sorted(Path(folder).glob("*.exr")):
            yield read_passes(path)


def _oiio() -> Any:
    """OpenImageIO as bundled with Blender, or as installed where Blender bundles none (4.2)."""
    import bpy

    if hasattr(bpy.utils, "expose_bundled_modules"):
        bpy.utils.expose_bundled_modules()
    import OpenImageIO

    return OpenImageIO


def read_passes(path: Path) -> dict[str, np.ndarray]:
    """The passes of a multilayer EXR: 'Composite' for the compositor's result, else the pass's name.

    Components come in the order R G B A, X Y Z W or V.
    """
    oiio = _oiio()
    source, planes, part = oiio.ImageInput.open(str(path)), {}, 0
    while source.seek_subimage(part, 0):  # 4.x writes one part with everything, 5.x one part for each pass
        names = source.spec().channelnames
        pixels = source.read_image(part, 0, 0, len(names), oiio.FLOAT)
        for index, name in enumerate(names):
            layer, _, rest = name.partition(".")
            name, _, component = rest.rpartition(".")
            planes.setdefault("Composite" if layer == "Composite" else name, {})[component] = pixels[..., index]
        part += 1
    source.close()
    return {name: np.stack([parts[c] for c in "RGBAXYZWV" if c in parts], -1) for name, parts in planes.items()}


def diffuse_light(passes: dict[str, np.ndarray]) -> np.ndarray:
    """Light arriving for diffuse reflection, H x W x 3: direct plus indirect, without the colour of the surface."""
    names = next(names for names in DIFFUSE_PASSES if names[0] in passes)
    return passes[names[0]][..., :3] + passes[names[1]][..., :3]


def denoise_diffuse_light(scene: Any) -> None:
    """Let the compositor denoise the diffuse light; `render_passes` then gives it as 'Composite'.

    Before Blender 5.0, whose compositor is another one, nothing happens: the light then keeps its noise.
    """
    import bpy

    if not hasattr(scene, "compositing_node_group"):
        return
    tree = bpy.data.node_groups.new("Diffuse light", "CompositorNodeTree")
    scene.compositing_node_group = tree
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    kinds = "CompositorNodeRLayers", "ShaderNodeVectorMath", "CompositorNodeDenoise", "NodeGroupOutput"
    layers, total, denoise, output = (tree.nodes.new(kind) for kind in kinds)
    total.operation = "ADD"
    for name, socket in zip(DIFFUSE_PASSES[0], total.inputs[:2], strict=True):
        tree.links.new(layers.outputs[name], socket)
    tree.links.new(total.outputs["Vector"], denoise.inputs["Image"])
    tree.links.new(denoise.outputs["Image"], output.inputs[0])
