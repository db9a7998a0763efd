# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files to arrays without losing the lower half of 16-bit colour, which Pillow drops when it loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..channels import model_array
from .errors import DataError

# What Pillow raises for files that are cut, absurdly large or no image at all.
_BROKEN = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)


def size_of(path: Path) -> tuple[int, int]:
    """(width, height) from the file's header. Raises DataError where it is no image."""
    try:
        with Image.open(path) as image:
            return image.size[::-1] if _orientation(image) > 4 else image.size
    except _BROKEN as error:
        raise DataError(_not_there(path) or f"{path} is not a readable image ({error}); expected a PNG file.") from error


def check(path: Path) -> None:
    """Raise DataError for a PNG that is not whole, which its header does not tell."""
    try:
        with Image.open(path) as image:
            image.verify()
    except _BROKEN as error:
        raise DataError(f"{path} is not a whole PNG ({error}); copy it again, or leave it out.") from error


def read(path: Path, alpha: bool = False) -> np.ndarray:
    """The picture as stored but upright, H x W x 3 float32 in 0..1: grey repeated, alpha dropped, or, with `alpha`, kept as fourth
    component where the file has one. Raises DataError."""
    try:
        with Image.open(path) as image:
            values = _upright(_values(path, image), _orientation(image))
            picture = model_array(values)
            kept = alpha and values.ndim == 3 and values.shape[-1] in (2, 4)
            return np.concatenate([picture, model_array(values[..., -1])[..., :1]], axis=-1) if kept else picture
    except _BROKEN as error:
        fault = f"{path} cannot be read ({error}); expected a PNG of 8 or 16 bits, or a JPEG."
        raise DataError(_not_there(path) or fault) from error


def _not_there(path: Path) -> str:
    """The sentence for a path that leads to no file; "" where it leads to one."""
    if path.is_dir():
        return f"{path} is a folder; expected a picture."
    return "" if path.exists() else f"There is no file {path}."


def read_bytes(path: Path) -> np.ndarray:
    """The same as H x W x 3 uint8; 16 bits are rounded to eight. Raises DataError."""
    return np.rint(read(path) * 255.0).astype(np.uint8)


def _values(path: Path, image: Image.Image) -> np.ndarray:
    raw = image.tile[0].args if image.format == "PNG" and image.tile else ""
    if raw in ("RGB;16B", "RGBA;16B"):
        return _plane(path, raw) * np.uint16(256) + _plane(path, raw.replace("16B", "16L"))
    if image.mode.startswith("I"):
        return np.asarray(image, np.uint16)
    return np.asarray(image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGBA"))


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF counts; what phones and cameras write into photos that every viewer then turns."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1) if image.format in ("JPEG", "MPO") else 1
    return found if found in range(1, 9) else 1


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """As viewers show it: from 5 on rows are columns; then turned by half, mirrored, or both."""
    values = values.swapaxes(0, 1) if orientation > 4 else values
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(values, flips)


def _plane(path: Path, raw: str) -> np.ndarray:
    """One byte of every 16-bit value: the high one, or the low one by telling Pillow the other byte order."""
    with Image.open(path) as image:
        image.tile = [tile._replace(args=raw) for tile in image.tile]
        return np.asarray(image, np.uint16)
