# SPDX-License-Identifier: GPL-3.0-or-later
"""Panoramas for the generator: reading .npy, .npz and Radiance .hdr, and fetching the eight that Blender ships.

    python -m engine_server.train.generate_panoramas --out DIR

writes Blender's bundled worlds (CC0) to DIR as .npy and needs the `bpy` module; reading needs NumPy alone.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import numpy as np

SUFFIXES = (".npy", ".npz", ".hdr")
BRIGHTEST_SOURCE = 20000.0  # lamps beyond say nothing more and would drown the rest


class PanoramaError(ValueError):
    """A panorama cannot be used; the message is one sentence that says what was expected."""


def panorama_files(folder: Path) -> tuple[Path, ...]:
    """The panoramas of a folder in the order of their names. Raises PanoramaError where there is none."""
    files = tuple(sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES))
    if not files:
        raise PanoramaError(f"{folder} holds no panorama; expected {', '.join(SUFFIXES)} files.")
    return files


def read_panorama(path: Path) -> np.ndarray:
    """An equirectangular picture, height x width x 3 float32 linear, 0 to 20,000, the zenith in the first row.

    Raises PanoramaError for a file that is no such picture.
    """
    try:
        array = _read_hdr(path.read_bytes()) if path.suffix.lower() == ".hdr" else _read_numpy(path)
    except (OSError, ValueError, IndexError) as error:
        raise PanoramaError(f"{path} cannot be read ({error}); expected an equirectangular {path.suffix}.") from error
    if array.ndim != 3 or array.shape[2] < 3 or min(array.shape[:2]) < 2:
        raise PanoramaError(f"{path} holds an array of shape {array.shape}; expected height x width x 3.")
    return np.clip(np.nan_to_num(array[..., :3].astype(np.float32)), 0.0, BRIGHTEST_SOURCE)


def _read_numpy(path: Path) -> np.ndarray:
    stored = np.load(path, allow_pickle=False)
    return stored if isinstance(stored, np.ndarray) else stored[stored.files[0]]


def _read_hdr(data: bytes) -> np.ndarray:
    """Radiance's RGBE picture format, run-length coded by scan line or not coded; rows top-down."""
    size = re.search(rb"\n\n-Y (\d+) \+X (\d+)\n", data[:65536])
    if not data.startswith(b"#?") or size is None:
        raise ValueError("no Radiance header with -Y height +X width")
    height, width = int(size[1]), int(size[2])
    if height * width > 2**28:
        raise ValueError("more than 268 million pixels")
    return _from_rgbe(_scan_lines(np.frombuffer(data, np.uint8, offset=size.end()), height, width))


def _from_rgbe(pixels: np.ndarray) -> np.ndarray:
    """Mantissas and a common exponent, H x W x 4 bytes, to floats: m * 2^(e - 136), and 0 where e = 0."""
    scale = np.ldexp(1.0, pixels[..., 3:].astype(np.int32) - 136)
    return np.where(pixels[..., 3:] > 0, pixels[..., :3] * scale, 0.0).astype(np.float32)


def _scan_lines(data: np.ndarray, height: int, width: int) -> np.ndarray:
    if not (data[0] == 2 and data[1] == 2 and data[2] < 128):
        return data[: height * width * 4].reshape(height, width, 4)
    lines = np.empty((height, 4, width), np.uint8)
    place = 0
    for line in lines:
        place += 4
        for component in line:
            place = _runs(data, place, component)
    return lines.transpose(0, 2, 1)


def _runs(data: np.ndarray, place: int, out: np.ndarray) -> int:
    """Fill one component of a scan line: counts above 128 repeat one byte, others precede as many bytes."""
    filled = 0
    while filled < out.size:
        count = int(data[place])
        repeats = count > 128
        count = count - 128 if repeats else count
        taken = 1 if repeats else count
        if count == 0 or filled + count > out.size:
            raise ValueError("a scan line of a wrong length")
        out[filled : filled + count] = data[place + 1 : place + 1 + taken]
        filled, place = filled + count, place + 1 + taken
    return place


def save_blender_worlds(out: Path) -> int:
    """Write the panoramas that Blender bundles to `out` as .npy; gives their number."""
    import bpy

    bpy.utils.expose_bundled_modules()
    import OpenImageIO

    folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    files = sorted(folder.glob("*.exr"))
    out.mkdir(parents=True, exist_ok=True)
    for path in files:
        pixels = OpenImageIO.ImageBuf(str(path)).get_pixels(OpenImageIO.FLOAT)
        np.save(out / f"{path.stem}.npy", pixels[..., :3].astype(np.float32))
    return len(files)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    about = "Writes the panoramas that Blender bundles (CC0) as .npy files, for the generator; needs the bpy module."
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.generate_panoramas", description=about)
    parser.add_argument("--out", type=Path, required=True, help="folder for the .npy files")
    print(f"{save_blender_worlds(parser.parse_args(argv).out)} panoramas written")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Blender's module may hang when the interpreter takes it down
