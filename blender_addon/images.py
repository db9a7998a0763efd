# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender images to arrays and back: with `rewriting` the only place that touches `Image.pixels`.

Arrays have their rows from the top, H x W x C float32; colour is scene-linear Rec.709, everything else plain data
(normals: unit vectors -1..1). How each channel is stored in the .blend file says `storage`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

import bpy
import numpy as np

from .colour import bytes_to_linear, finite, linear_to_srgb
from .png import LINES, SIGNATURE, encode_png
from .storage import DATA, PLAIN, STORAGE, file_of
from .wire import ChannelImage, check_image

LARGEST_SIDE = 16384
FLOATS = {
    "media_type": "IMAGE",
    "file_format": "OPEN_EXR",
    "color_management": "FOLLOW_SCENE",
    "color_depth": "32",
    "color_mode": "RGB",
    "exr_codec": "ZIP",
}
"""Settings of a file that keeps every value, in the order in which Blender takes them; the first is there since 5.0."""
RENDER, RENDER_NAME = "RENDER_RESULT", "Render Result"
NOTHING_RENDERED = "Nothing has been rendered yet: render first, or choose another image."
FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class ImageError(Exception):
    """An image cannot be read or made; the text is one sentence for the user."""


def load(path: str | Path) -> bpy.types.Image:
    """The image of a file, as a datablock. Raises `ImageError` if there is none, or nothing that Blender reads."""
    path = Path(bpy.path.abspath(str(path)))
    if not path.is_file():
        raise ImageError(f"There is no file {path}: choose an image file.")
    if path.stat().st_size == 0:
        raise ImageError(f"The file {path.name} is empty: choose another image.")
    known = set(bpy.data.images)
    try:
        image = bpy.data.images.load(str(path), check_existing=True)
    except RuntimeError as error:
        raise ImageError(f"The file {path.name} cannot be read: choose a JPEG, PNG, EXR or another image.") from error
    if 0 in image.size:
        if image not in known:
            bpy.data.images.remove(image)
        raise ImageError(f"The file {path.name} is not an image that Blender can read: choose a JPEG, PNG or EXR.")
    return image


def read(image: bpy.types.Image) -> np.ndarray:
    """H x W x 3 (H x W x 1 for an image with one component) float32, rows from the top.

    Colour comes scene-linear, images tagged Non-Color as they are; alpha is dropped, NaN and infinities become 0. Of the
    last render it is what was rendered, without the view transform. Raises `ImageError` for an image without pixels or one
    that is too large.
    """
    return read_later(image).data


class LaterImage(ChannelImage):
    """A scene-linear picture whose pixels are here already, but become light only when `data` is asked for first."""

    def __init__(self, shape: tuple[int, int, int], make: Callable[[], np.ndarray]) -> None:
        check_image("float32", shape, "scene-linear", "An image")
        self.__dict__.update(space="scene-linear", make=make)  # the class is a frozen one

    @cached_property
    def data(self) -> np.ndarray:
        """As `read` gives it."""
        return self.make()


def read_later(image: bpy.types.Image) -> LaterImage:
    """What `read` gives, as a channel; the main thread only copies the stored pixels. Raises `ImageError`."""
    if image.type == RENDER:
        with rendered(image) as file:
            return read_later(file)
    width, height = image.size
    if width == 0 or height == 0:
        raise ImageError(f"The image {image.name} has no pixels: save or reload it first, or choose another.")
    if max(width, height) > LARGEST_SIDE:
        raise ImageError(f"The image {image.name} is {width} x {height}; at most {LARGEST_SIDE} pixels a side can be read.")
    stored = _download(image).reshape(height, width, image.channels)
    components, curve = 3 if image.channels >= 3 else 1, _curve(image)
    return LaterImage((height, width, components), lambda: _converted(stored[::-1, :, :components], curve))


def _converted(values: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The curve of all values, line by line of some, which is faster than of whole pictures."""
    made = np.empty(values.shape, np.float32)
    for top in range(0, len(values), LINES):
        made[top : top + LINES] = curve(values[top : top + LINES])
    return made


@contextmanager
def rendered(result: bpy.types.Image) -> Iterator[bpy.types.Image]:
    """The last render as an image that has pixels, for a while: Blender gives those of the result itself to nobody.

    It goes through a file of floats. Blender writes it by the settings of the scene that was rendered, by no other's; they
    come back as they were. Raises `ImageError` when nothing of this scene has been rendered yet.
    """
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory(prefix="teamwork-render-") as folder:
        path = Path(folder) / "render.exr"
        try:
            with _writing_floats(scene.render.image_settings):
                result.save_render(str(path), scene=scene)
            image = bpy.data.images.load(str(path))
        except RuntimeError as error:
            raise ImageError(NOTHING_RENDERED) from error
        try:
            yield image
        finally:
            bpy.data.images.remove(image)


@contextmanager
def _writing_floats(settings: bpy.types.ImageFormatSettings) -> Iterator[None]:
    """Exactly what was rendered, scene-linear, and then whatever the user has chosen."""
    names = [name for name in FLOATS if hasattr(settings, name)]
    kept = {name: getattr(settings, name) for name in names}
    try:
        _set(settings, {name: FLOATS[name] for name in names})
        yield
    finally:
        _set(settings, kept)


def _set(owner: bpy.types.bpy_struct, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        setattr(owner, name, value)


def _curve(image: bpy.types.Image) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to light. Blender converts the pixels of float images (EXR, also 16 bit PNG) when it loads them;
    those of byte images are as in the file: data, or display-encoded as sRGB is."""
    if image.is_float:
        return finite
    if image.colorspace_settings.is_data or "linear" in image.colorspace_settings.name.lower():
        return finite
    return bytes_to_linear


def read_channel(image: bpy.types.Image, channel: str) -> ChannelImage:
    """An image of the user as a channel: colour scene-linear, as Blender shows it; data and normals (0..1 in the file) as
    the numbers of the file, also when Blender took them for colour. Raises `ImageError` as `read` does."""
    storage = STORAGE.get(channel, PLAIN)
    values = read(image)
    if storage.space != DATA:
        return ChannelImage(values, "scene-linear")
    values = values if shows_numbers(image) else linear_to_srgb(values)
    if storage.signed:
        return ChannelImage(three_components(values) * 2.0 - 1.0, "tangent-normal")
    return ChannelImage(np.ascontiguousarray(values[..., :1]), "data")


def three_components(values: np.ndarray) -> np.ndarray:
    """Grey as three equal components."""
    return values if values.shape[-1] == 3 else values.repeat(3, axis=-1)


def shows_numbers(image: bpy.types.Image) -> bool:
    """Does Blender give shaders the numbers of the file, without taking them for colours?"""
    space = image.colorspace_settings
    return space.is_data or "linear" in space.name.lower()


def create(name: str, array: np.ndarray, channel: str) -> bpy.types.Image:
    """A new image, packed into the .blend file, from H x W x 1 or 3 wire values of a channel (`storage` says how)."""
    file = file_of(array, channel)
    image = bpy.data.images.new(name, 1, 1, alpha=False)  # it has the size of its file as soon as that is read
    _pack(image, file)
    image.colorspace_settings.name = STORAGE.get(channel, PLAIN).space
    return image


def _download(image: bpy.types.Image) -> np.ndarray:
    stored = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(stored)
    return stored


def _pack(image: bpy.types.Image, file: bytes) -> None:
    image.pack(data=file, data_len=len(file))
    image.source = "FILE"


def save_png(image: bpy.types.Image, path: str | Path) -> None:
    """Write an image as PNG: the packed PNG itself where there is one, else what the display shows (sRGB, 8 bit).

    Raises `ImageError` if the file cannot be written.
    """
    packed = image.packed_file
    data = bytes(packed.data) if packed else b""
    data = data if data.startswith(SIGNATURE) else _displayed(image)
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ImageError(f"The image {path} cannot be written: {error.strerror}.") from error


def writable_folder(folder: str) -> Path:
    """A folder as the user gave it, made if it is missing; "//" is that of the .blend file. Raises `ImageError`."""
    if folder.startswith("//") and not bpy.data.filepath:
        raise ImageError(f"The folder {folder} is beside the .blend file: save that first, or choose another folder.")
    path = Path(bpy.path.abspath(folder))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"The folder {path} cannot be made: {error.strerror}. Choose another.") from error
    return path


def to_file(image: bpy.types.Image, folder: str) -> bpy.types.Image:
    """A packed PNG as a file in a folder, under its name and over no other file; gives the image that is read from there
    and takes its place. Raises `ImageError`; then the packed one stays as it is."""
    name, space = image.name, image.colorspace_settings.name
    path = _free(writable_folder(folder), name)
    save_png(image, path)
    made = load(path)
    made.colorspace_settings.name = space
    if folder.startswith("//"):
        made.filepath = bpy.path.relpath(str(path))
    image.user_remap(made)
    bpy.data.images.remove(image)
    made.name = name
    return made


def _free(folder: Path, name: str) -> Path:
    """A file that is not there yet; what some system does not allow in names becomes a line."""
    stem = FORBIDDEN.sub("_", name).strip(". ") or "map"
    names = (stem if number == 0 else f"{stem}_{number}" for number in count())
    return next(path for path in (folder / f"{name}.png" for name in names) if not path.exists())


def _displayed(image: bpy.types.Image) -> bytes:
    values = read(image)
    shown = values if image.colorspace_settings.is_data else linear_to_srgb(np.clip(values, 0.0, 1.0))
    return encode_png(shown)


def find(name: str) -> bpy.types.Image:
    """The image datablock of that name; raises `ImageError` if it is gone."""
    image = bpy.data.images.get(name)
    if image is None and name == RENDER_NAME:
        raise ImageError(NOTHING_RENDERED)
    if image is None:
        raise ImageError(f"There is no image named {name!r} any more: choose another.")
    return image
