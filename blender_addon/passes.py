# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene as channels: Cycles renders a copy of the scene's settings, and the passes become wire images.

The scene itself is never changed: a copy that shares its objects is rendered and removed. Only the materials get AOV
nodes for the time of the render (`surfaces`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix

from . import capture, surfaces
from .colour import finite, to_rec709
from .spaces import working
from .viewpoint import View, camera_of
from .wire import ChannelImage

COLOUR, DATA, CAMERA_NORMAL = "scene-linear", "data", "camera-normal"
NO_SURFACE = 1e9
NAMES = {
    "diffuse_colour": ("Diffuse Color", "DiffCol"),
    "diffuse_direct": ("Diffuse Direct", "DiffDir"),
    "diffuse_indirect": ("Diffuse Indirect", "DiffInd"),
    "glossy_colour": ("Glossy Color", "GlossCol"),
    "transmission_colour": ("Transmission Color", "TransCol"),
    "image": ("Combined",),
    "depth": ("Depth",),
    "normals": ("Normal",),
}
"""Our word for a pass, and Blender's: 5.x first, 4.x second."""
GEOMETRY = ("use_pass_normal", "use_pass_z")
LIGHT = ("use_pass_diffuse_direct", "use_pass_diffuse_indirect", "use_pass_diffuse_color")


class PassError(Exception):
    """The scene cannot be rendered to channels; the text is one sentence for the user."""


def render_channels(
    scene: bpy.types.Scene,
    *,
    samples: int = 4,
    resolution: tuple[int, int] | None = None,
    denoise: bool = False,
    view: View | bpy.types.Object | None = None,
) -> dict[str, ChannelImage]:
    """G-buffers of what the scene's camera sees, or another one, or a `view`: image (as noisy as `samples` make it), albedo,
    roughness, metalness, normals (camera space, OpenGL) and depth (metres, 1e10 where there is no surface).

    `resolution` is (width, height), by default the scene's. Raises `PassError` when there is no camera, or the render
    settings are ones that have no channels (stereo).
    """
    return _channels(*_render(scene, samples, resolution, denoise, GEOMETRY, view))


def render_picture(scene: bpy.types.Scene, *, samples: int, view: View | None = None) -> dict[str, ChannelImage]:
    """What `render_channels` gives; the image with its alpha as fourth component where some of it can be seen through."""
    arrays, camera = _render(scene, samples, None, False, GEOMETRY, view)
    made, alpha = _channels(arrays, camera), finite(find(arrays, "image")[..., 3:])
    if (alpha < 1.0).any():
        made["image"] = ChannelImage(np.concatenate([made["image"].data, alpha], axis=-1), COLOUR)
    return made


def render_truth(
    scene: bpy.types.Scene, *, samples: int = 128, resolution: tuple[int, int] | None = None, denoise: bool = True
) -> dict[str, ChannelImage]:
    """As `render_channels`, with Cycles' own decomposition: diffuseshading (light that arrives for diffuse reflection)
    and residual, so that image = diffuse colour * diffuseshading + residual, and that diffuse colour as `diffuse`.
    """
    arrays, camera = _render(scene, samples, resolution, denoise, GEOMETRY + LIGHT)
    light = find(arrays, "diffuse_direct") + find(arrays, "diffuse_indirect")
    diffuse, shading, image = (light_of(each) for each in (find(arrays, "diffuse_colour"), light, find(arrays, "image")))
    residual = image - diffuse * shading
    parts = {"diffuse": diffuse, "diffuseshading": shading, "residual": residual}
    return _channels(arrays, camera) | {name: ChannelImage(part, COLOUR) for name, part in parts.items()}


def find(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The pass that we call `name` (a key of `NAMES`) among passes by Blender's names. Raises `PassError`."""
    found = next((arrays[each] for each in NAMES[name] if each in arrays), None)
    if found is None:
        raise PassError(f"Cycles made no pass {NAMES[name][0]!r}: update Blender, or report this.")
    return found


def light_of(values: np.ndarray) -> np.ndarray:
    """A pass of colours, H x W x 3 or 4 in Blender's working space, as scene-linear Rec.709 without alpha."""
    return np.ascontiguousarray(to_rec709(finite(values[..., :3]), working()))


def _channels(arrays: dict[str, np.ndarray], camera: Matrix) -> dict[str, ChannelImage]:
    depth = find(arrays, "depth")[..., :1]
    aovs = _surfaces(arrays, depth < NO_SURFACE)
    normals = camera_normals(find(arrays, "normals"), camera)
    return {
        "image": ChannelImage(light_of(find(arrays, "image")), COLOUR),
        "albedo": ChannelImage(light_of(aovs["albedo"]), COLOUR),
        "roughness": ChannelImage(np.clip(aovs["roughness"][..., :1], 0.0, 1.0), DATA),
        "metalness": ChannelImage(np.clip(aovs["metalness"][..., :1], 0.0, 1.0), DATA),
        "normals": ChannelImage(np.where(depth < NO_SURFACE, normals, (0.0, 0.0, 1.0)).astype(np.float32), CAMERA_NORMAL),
        "depth": ChannelImage(np.nan_to_num(depth, nan=1e10, posinf=1e10), DATA),
    }


def _surfaces(arrays: dict[str, np.ndarray], surface: np.ndarray) -> dict[str, np.ndarray]:
    """What materials have told; where none has, which is an object without one, what Cycles then takes. Of surfaces behind each
    other that can be seen through, Cycles adds up what they tell: it is their mean, each weighted by what it hides."""
    told = {name: finite(arrays[surfaces.TAPPED + name]) for name in surfaces.AOVS}
    opacity, written = (finite(arrays[surfaces.TAPPED + name][..., :1]) for name in (surfaces.OPACITY, surfaces.WRITTEN))
    share = np.minimum(written, 1.0) / np.maximum(opacity, np.float32(1e-6))  # at the rim of things less is written
    silent = surface & (opacity == 0.0)
    return {name: np.where(silent, np.float32(surfaces.DEFAULTS[name]), values * share) for name, values in told.items()}


def camera_normals(world: np.ndarray, camera_matrix) -> np.ndarray:
    """World-space normals, H x W x 3, seen from a camera: +X right, +Y up, +Z to the viewer; unit length.

    A camera's own axes are just these, so the world's normals are turned by the inverse of its rotation.
    """
    rotation = np.array(camera_matrix.to_3x3().normalized(), np.float32)
    turned = finite(world) @ rotation
    length = np.linalg.norm(turned, axis=-1, keepdims=True)
    return np.where(length > 1e-6, turned / np.maximum(length, 1e-6), (0.0, 0.0, 1.0)).astype(np.float32)


def _render(
    scene, samples: int, resolution, denoise: bool, wanted: tuple[str, ...], view: View | bpy.types.Object | None = None
) -> tuple[dict[str, np.ndarray], Matrix]:
    """The passes, and where the camera stood."""
    _check_physics(scene)
    with _copied(scene) as copy, _seen(copy, view):
        check(copy)
        _set_up(copy, samples, resolution, denoise, wanted, _layer(scene, view))
        with surfaces.tapped(surfaces.materials_of(copy)):
            try:
                return capture.render(copy), copy.camera.matrix_world.copy()
            except capture.CaptureError as error:
                raise PassError(str(error)) from error


@contextmanager
def _seen(scene: bpy.types.Scene, view: View | bpy.types.Object | None) -> Iterator[None]:
    """The scene's own camera, another one, or one in its place that sees what a viewport shows."""
    if not isinstance(view, View):
        scene.camera = view or scene.camera
        yield
        return
    render = scene.render
    aspect = render.resolution_x * render.pixel_aspect_x / (render.resolution_y * render.pixel_aspect_y)
    with camera_of(view, aspect) as camera:
        scene.camera = camera
        yield


def check(scene: bpy.types.Scene) -> None:
    """Raises `PassError` where a scene has no channels: no Cycles, no camera, stereo, a panoramic camera."""
    if not hasattr(scene, "cycles"):
        raise PassError("The passes are rendered by Cycles: enable the add-on Cycles Render Engine in the preferences.")
    if scene.camera is None:
        raise PassError(f"The scene {scene.name} has no camera: add one, and make it the active camera.")
    if scene.camera.type != "CAMERA":
        raise PassError(f"{scene.camera.name}, through which the view looks, is no camera: choose one.")
    if scene.render.use_multiview:
        raise PassError("Stereoscopy is on: turn it off under Output Properties, Stereoscopy.")
    if scene.camera.data.type == "PANO":
        raise PassError("The camera is panoramic: choose a perspective or orthographic lens.")


def _check_physics(scene: bpy.types.Scene) -> None:
    """Raises `PassError` for rigid bodies that only the scene itself, which has been played, knows the places of."""
    world = scene.rigidbody_world
    bodies = [thing.rigid_body for thing in world.collection.objects] if world and world.enabled and world.collection else []
    moved = any(each and each.enabled and each.type == "ACTIVE" and not each.kinematic for each in bodies)
    if moved and scene.frame_current > world.point_cache.frame_start and not world.point_cache.is_baked:
        raise PassError("The rigid bodies are not baked: bake them under Scene Properties, Rigid Body World, Cache.")


@contextmanager
def _copied(scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    """A copy of the scene's settings with the same objects, removed afterwards; the window keeps showing the original."""
    copy = scene.copy()
    try:
        copy.frame_set(scene.frame_current, subframe=scene.frame_subframe)
        copy.timeline_markers.clear()  # they have chosen the camera; in the render they would do so again
        yield copy
    finally:
        bpy.data.scenes.remove(copy)


def _layer(scene: bpy.types.Scene, view: View | bpy.types.Object | None) -> str:
    """The view layer that is rendered: the first one that the scene renders; the window's, if what its viewport shows is wanted, or
    Blender too would render that one alone."""
    if bpy.context.scene == scene and (view is not None or scene.render.use_single_layer):
        return bpy.context.view_layer.name
    return next((layer.name for layer in scene.view_layers if layer.use), scene.view_layers[0].name)


def _set_up(scene, samples: int, resolution, denoise: bool, wanted: tuple[str, ...], rendered: str) -> None:
    _set_up_output(scene.render, resolution)
    _set_up_cycles(scene.cycles, samples, denoise)
    for layer in scene.view_layers:
        layer.use = layer.name == rendered
    _set_up_passes(scene.view_layers[rendered], wanted)


def _set_up_output(render: bpy.types.RenderSettings, resolution: tuple[int, int] | None) -> None:
    render.use_compositing = render.use_sequencer = render.use_border = render.use_motion_blur = False
    render.use_persistent_data = render.use_single_layer = False
    if resolution:
        render.resolution_x, render.resolution_y = resolution
        render.resolution_percentage = 100


def _set_up_cycles(cycles, samples: int, denoise: bool) -> None:
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = denoise
    cycles.time_limit = 0.0


def _set_up_passes(layer: bpy.types.ViewLayer, wanted: tuple[str, ...]) -> None:
    for name in wanted:
        setattr(layer, name, True)
    layer.samples = 0  # the layer's own number would count more than the scene's
    for name, kind in surfaces.TAPS.items():
        aov = layer.aovs.add()
        aov.name, aov.type = surfaces.TAPPED + name, kind
