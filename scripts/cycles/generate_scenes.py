# SPDX-License-Identifier: GPL-3.0-or-later
"""Training samples of scenes: a noisy and a clean render, and what is seen in them, pixel by pixel.

    python -m scripts.cycles.generate_scenes --out DIR --count 700 [--materials DIR] [--seed 0] [--size 128]

writes OUT/train/<sample>/ and OUT/validation/<sample>/, each with image.png, noisy.png (4 samples per pixel),
albedo.png (base colour), normals.png (camera space), depth.png, roughness.png, metalness.png, diffuseshading.png and
inverseshading.png in the model's encoding (`engine_server.channels`). A sample depends on the seed and its number
alone: a run that was interrupted goes on where it stopped. Scanned materials that `engine_server.train.generate`
holds out appear in validation samples only.

With --planes it writes OUT/<sample>/ instead: held-out scans on a flat plane under a flash (flash.png) or a panorama
(env.png), with albedo.png, normals.png (tangent space), roughness.png and metalness.png; --size is then best 256.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine_server.train.generate import write_sample
from engine_server.train.generate_materials import is_for_validation, material_folders

from . import layouts, planes, rendering, truth

NOISY_SAMPLES = 4


@dataclass(frozen=True)
class Recipe:
    """What a data set is made from: folders of scanned materials, the share of samples that is held out, and the kinds of scenes."""

    train: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    size: int = 128
    samples: int = 32
    seed: int = 0
    validation_share: float = 0.1
    kinds: tuple[str, ...] = tuple(layouts.SHARES)

    def is_validation(self, number: int) -> bool:
        """Whether a sample goes to validation: evenly spread over the numbers."""
        return int((number + 1) * self.validation_share) > int(number * self.validation_share)


def recipe(options: argparse.Namespace) -> Recipe:
    """A recipe from the command line. Raises MaterialError (a ValueError) for a folder without materials."""
    folders = material_folders(options.materials) if options.materials else []
    held = tuple(f for f in folders if is_for_validation(f.name, options.validation))
    rest = tuple(f for f in folders if f not in held)
    return Recipe(rest, held, options.size, options.samples, options.seed, options.validation, tuple(options.kinds))


def make_sample(recipe: Recipe, number: int) -> dict[str, np.ndarray]:
    """`{channel: uint8 pixels}` of one sample; the same, but for rounding, for the same recipe and number."""
    random = np.random.default_rng([recipe.seed, number])
    scans = recipe.validation if recipe.is_validation(number) else recipe.train
    scene = layouts.random_scene(scans, random, recipe.kinds)
    rendering.set_up(scene, recipe.size, recipe.size, NOISY_SAMPLES, denoise=False)
    rendering.store_passes(scene)
    scene.cycles.seed = number
    noisy = rendering.render_passes(scene)["Combined"]
    rendering.denoise_diffuse_light(scene)
    scene.cycles.samples, scene.cycles.use_denoising = recipe.samples, True
    scene.cycles.seed = number + 1  # the clean image shall not contain the noisy one's samples
    passes = rendering.render_passes(scene)
    return truth.sample(passes, noisy, np.array(scene.camera.matrix_world.to_3x3()), random)


def generate(recipe: Recipe, out: Path, first: int, count: int) -> int:
    """Write samples `first` to `first + count`, but for those that are there; gives how many were written."""
    parts = {False: out / "train", True: out / "validation"}
    written = 0
    for number in range(first, first + count):
        folder = parts[recipe.is_validation(number)] / f"{number:06d}-scene"
        if folder.exists():
            continue
        write_sample(folder, make_sample(recipe, number))
        written += 1
        if written % 50 == 0:
            print(f"{written} samples written", flush=True)
    return written


def make_plane(recipe: Recipe, number: int) -> tuple[str, dict[str, np.ndarray]]:
    """(name, {file's stem: uint8}): the held-out scans in turn, by flash and by panorama alternately."""
    folder = recipe.validation[number // 2 % len(recipe.validation)]
    random = np.random.default_rng([recipe.seed, number])
    pictures = planes.plane_sample(folder, number % 2 == 0, recipe.size, recipe.samples, random)
    return f"{number:06d}-{folder.name}", pictures


def generate_planes(recipe: Recipe, out: Path, first: int, count: int) -> int:
    """Write samples of planes, but for those that are there. Raises ValueError where no scan is held out."""
    if not recipe.validation:
        raise ValueError("No material is held out for --planes; give --materials and a larger --validation.")
    there = {path.name.split("-")[0] for path in out.glob("[0-9]*-*")}
    numbers = [number for number in range(first, first + count) if f"{number:06d}" not in there]
    for number in numbers:
        name, pictures = make_plane(recipe, number)
        write_sample(out / name, pictures)
    return len(numbers)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    name = "python -m scripts.cycles.generate_scenes"
    parser = argparse.ArgumentParser(prog=name, description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train/ and validation/")
    parser.add_argument("--count", type=int, required=True, help="samples in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample (0)")
    parser.add_argument("--size", type=int, default=128, help="pixels across (128)")
    parser.add_argument("--samples", type=int, default=32, help="rays per pixel of the clean render (32)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--materials", type=Path, help="folder of <material>/basecolor.jpg, normal.jpg, roughness.jpg")
    parser.add_argument("--validation", type=float, default=0.1, help="share of materials and samples held out (0.1)")
    parser.add_argument("--kinds", nargs="+", choices=layouts.SHARES, default=list(layouts.SHARES), help="kinds of scenes (all)")
    parser.add_argument("--planes", action="store_true", help="held-out materials on a plane instead of scenes")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; a mistake in the arguments is one sentence on the error stream and 2."""
    options = arguments().parse_args(argv)
    try:
        made = recipe(options)
        make = generate_planes if options.planes else generate
        written = make(made, options.out, options.first, options.count)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{written} samples written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
