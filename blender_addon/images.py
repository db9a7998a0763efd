# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender images to arrays and back: with `rewriting` the only place that touches `Image.pixels`.

Arrays have their rows from the top, H x W x C float32; colour is scene-linear Rec.709, everything else plain data
(normals: unit vectors -1..1). How each channel is stored in the .blend file says `storage`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

import bpy
import numpy as np

from .colour import bytes_to_linear, colour_of, finite, from_rec709, linear_to_srgb, straight_of, to_rec709
from .float_output import writing_floats
from .png import LINES, SIGNATURE, encode_png
from .spaces import is_linear, tag, working
from .storage import DATA, PLAIN, STORAGE, file_of
from .wire import ChannelImage, check_image

LARGEST_SIDE = 16384
RENDER, RENDER_NAME = "RENDER_RESULT", "Render Result"
NOTHING_RENDERED = "Nothing has been rendered yet: render first, or choose another image."
LAYERS = "{} is a multilayer EXR, of which Blender gives no pixels: save one pass as a plain EXR or PNG, or take the Render Result."
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
        if image.source == "SEQUENCE":  # which begins with this file, or shows any other
            image = bpy.data.images.load(str(path))
    except RuntimeError as error:
        raise ImageError(f"The file {path.name} cannot be read: choose a JPEG, PNG, EXR or another image.") from error
    if 0 in image.size:
        layers = image.type == "MULTILAYER"  # known since the size was asked for
        if image not in known:
            bpy.data.images.remove(image)
        unreadable = f"The file {path.name} is not an image that Blender can read: choose a JPEG, PNG or EXR."
        raise ImageError(LAYERS.format(path.name) if layers else unreadable)
    return image


def read(image: bpy.types.Image) -> np.ndarray:
    """H x W x 3 (H x W x 1 for an image with one component) float32, rows from the top.

    Colour comes scene-linear, images tagged Non-Color as they are; alpha is dropped, NaN and infinities become 0. Of the
    last render it is what was rendered, without the view transform. Raises `ImageError` for an image without pixels or one
    that is too large.
    """
    return read_later(image).data


class LaterImage(ChannelImage):
    """A channel whose pixels are here already, but become what they mean only when `data` is asked for first."""

    def __init__(self, shape: tuple[int, int, int], make: Callable[[], np.ndarray], space: str = "scene-linear") -> None:
        check_image("float32", shape, space, "An image")
        self.__dict__.update(shape=shape, space=space, make=make)  # the class is a frozen one

    @cached_property
    def data(self) -> np.ndarray:
        """H x W x C, rows from the top."""
        return self.make()


def read_later(image: bpy.types.Image, straight: bool = False) -> LaterImage:
    """What `read` gives, as a channel, or its colours without alpha in them (`straight`); the main thread only copies the stored
    pixels. Raises `ImageError`."""
    if image.type == RENDER:
        with rendered(image) as file:
            return read_later(file)
    stored, curve, colours = download(image), light_curve(image), straight_of if straight else colour_of
    shape = (*stored.shape[:2], 3 if stored.shape[2] >= 3 else 1)
    return LaterImage(shape, lambda: converted(stored, lambda lines: curve(colours(lines)), shape[2]))


def premultiplied(image: bpy.types.Image, erased: bool) -> bool:
    """Does Blender hold an image's colours multiplied with alpha? So it does with light in floats, unless alpha is a channel like
    the others; its eraser does it to data, too (`erased`)."""
    apart = image.colorspace_settings.is_data or image.alpha_mode == "CHANNEL_PACKED"
    return image.is_float and (erased or not apart)


def download(image: bpy.types.Image) -> np.ndarray:
    """H x W x C as Blender holds it, rows from the top. Raises `ImageError`."""
    width, height = image.size
    if image.source == "TILED" and len(image.tiles) > 1:
        raise ImageError(f"{image.name} has UDIM tiles: open the image file of one tile instead.")
    if image.type == "MULTILAYER":
        raise ImageError(LAYERS.format(image.name))
    if 0 in image.size and image.source in ("SEQUENCE", "MOVIE"):
        raise ImageError(f"{image.name} has many frames: choose the image file of a single one.")
    if width == 0 or height == 0:
        raise ImageError(f"The image {image.name} has no pixels: save or reload it first, or choose another.")
    if max(width, height) > LARGEST_SIDE:
        raise ImageError(f"The image {image.name} is {width} x {height}; at most {LARGEST_SIDE} pixels a side can be read.")
    return _download(image).reshape(height, width, image.channels)[::-1]


def converted(values: np.ndarray, curve: Callable[[np.ndarray], np.ndarray], components: int = 0) -> np.ndarray:
    """The curve of all values, which may give another number of components, line by line of some: that is faster than of
    whole pictures, and no other thread that wants Python waits for long."""
    made = np.empty((*values.shape[:2], components or values.shape[2]), np.float32)
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
    if scene.render.use_multiview:
        raise ImageError("The last render may be a stereoscopic one, which has two pictures: turn off Stereoscopy and render again.")
    with tempfile.TemporaryDirectory(prefix="teamwork-render-") as folder:
        path = Path(folder) / "render.exr"
        try:
            with writing_floats(scene.render.image_settings):
                result.save_render(str(path), scene=scene)
            image = bpy.data.images.load(str(path))
        except RuntimeError as error:
            raise ImageError(NOTHING_RENDERED) from error
        try:
            yield image
        finally:
            bpy.data.images.remove(image)


def light_curve(image: bpy.types.Image) -> Callable[[np.ndarray], np.ndarray]:
    """From stored values to light. Blender converts the pixels of float images (EXR, also 16 bit PNG) to its working space when
    it loads them; those of byte images are as in the file: data, or display-encoded as sRGB is."""
    space = working() if image.is_float else image.colorspace_settings.name
    if image.colorspace_settings.is_data:
        return finite
    return (lambda values: to_rec709(finite(values), space)) if image.is_float or is_linear(image) else bytes_to_linear


def read_channel(image: bpy.types.Image, channel: str, normals: str = "tangent-normal", straight: bool = False) -> LaterImage:
    """An image of the user as a channel: colour scene-linear, as Blender shows it; data and `normals` (0..1 in the file) as
    the numbers of the file, also when Blender took them for colour. The main thread only copies pixels. Raises `ImageError`
    as `read` does."""
    storage, picture, meant = STORAGE.get(channel, PLAIN), read_later(image, straight), channel_curve(image, channel)
    if storage.space != DATA:
        return picture
    components = 3 if storage.signed else 1
    shape, space = (*picture.shape[:2], components), normals if storage.signed else "data"
    return LaterImage(shape, lambda: converted(picture.data, meant, components), space)


def sampled(image: bpy.types.Image, channel: str, side: int) -> np.ndarray:
    """Wire values of every so many pixels of an image, about `side` a line at least: quick, also of a large one. Raises `ImageError`."""
    stored, light, meant = download(image), light_curve(image), channel_curve(image, channel)
    step = max(1, min(stored.shape[:2]) // side)
    return meant(light(np.ascontiguousarray(colour_of(stored[::step, ::step]))))


def channel_curve(image: bpy.types.Image, channel: str) -> Callable[[np.ndarray], np.ndarray]:
    """From what `read` gives of an image to wire values of a channel."""
    storage, linear, space = STORAGE.get(channel, PLAIN), is_linear(image), image.colorspace_settings.name

    def meant(values: np.ndarray) -> np.ndarray:
        if storage.space != DATA:
            return values
        values = from_rec709(values, space) if linear else linear_to_srgb(values)
        return three_components(values) * np.float32(2.0) - np.float32(1.0) if storage.signed else values[..., :1]

    return meant


def three_components(values: np.ndarray) -> np.ndarray:
    """Grey as three equal components."""
    return values if values.shape[-1] == 3 else values.repeat(3, axis=-1)


def create(name: str, array: np.ndarray, channel: str) -> bpy.types.Image:
    """A new image, packed into the .blend file, from H x W x 1 or 3 wire values of a channel (`storage` says how), or from light
    that is premultiplied with its alpha, H x W x 4."""
    image = packed(name, file_of(array, channel), STORAGE.get(channel, PLAIN).space)
    if array.shape[2] == 4:
        image.alpha_mode = "PREMUL"
    return image


def packed(name: str, file: bytes, space: str) -> bpy.types.Image:
    """A new image from the bytes of its file, in a colour space."""
    image = bpy.data.images.new(name, 1, 1)  # it has the size of its file as soon as that is read
    _pack(image, file)
    tag(image, space)
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
    made = bpy.data.images.load(str(path))  # an image that was read from there before is another one
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
