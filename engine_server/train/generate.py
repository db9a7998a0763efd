# SPDX-License-Identifier: GPL-3.0-or-later
"""Training samples of materials: photographs of flat surfaces and the maps that made them.

    python -m engine_server.train.generate --materials DIR --out DIR --count 3000 [--environments DIR] [--seed 0]

writes OUT/train/<sample>/ and OUT/validation/<sample>/, each with flash.png or env.png, and albedo.png, normals.png,
roughness.png, metalness.png in the model's encoding (`channels`). A sample depends on the seed and its number alone:
a run that was interrupted goes on where it stopped. Materials held out for validation never appear in train.

With --packed N it writes packs of N training samples to OUT/ instead (see `packed`), whose photos are all called image. Several of these
with other --first, while a training draws from what there is, make it endless: no folder has to hold all that a GPU sees.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..channels import normals_encode
from ..colour import display_encode
from .errors import check_numbers
from .generate_camera import photograph, to_bytes
from .generate_lights import LightPool, random_flash
from .generate_materials import Maps, load_material, split_materials
from .generate_panoramas import panorama_files
from .generate_procedural import procedural_material
from .generate_variations import blend, cut, each, orient, random_scale, resize, vary, with_unit_normals
from .packed import missing_packs, write_pack
from .render import Material, render_flash
from .render_environment import render_environment

Random = np.random.Generator
PROCEDURAL_SHARE, BLEND_SHARE, FINE_SHARE = 0.25, 0.1, 0.4
METAL_KEPT = 0.5  # metals are far rarer among the surfaces that people photograph than among scans


@dataclass(frozen=True)
class Recipe:
    """What a data set is made from; `validation` is the share of materials and of samples that is held out,
    `procedural_share` that of training samples without a scan."""

    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    lights: LightPool
    size: int = 256
    seed: int = 0
    validation_share: float = 0.1
    procedural_share: float = PROCEDURAL_SHARE

    def is_validation(self, number: int) -> bool:
        """Whether a sample goes to validation: evenly spread over the numbers."""
        share = self.validation_share if self.validation else 0.0
        return int((number + 1) * share) > int(number * share)


def recipe(
    materials: Path, environments: Path | None, size: int, seed: int, validation: float, procedural: float = PROCEDURAL_SHARE
) -> Recipe:
    """A recipe from folders. Raises MaterialError for one that holds nothing to use."""
    rest, held = split_materials(materials, validation)
    files = panorama_files(environments) if environments else ()
    return Recipe(rest, held, LightPool(files, seed), size, seed, validation, procedural)


def _scan(folders: tuple[Path, ...], size: int, random: Random) -> tuple[str, Maps]:
    folder = folders[random.integers(len(folders))]
    maps = load_material(folder).maps()
    if maps.metalness.mean() > 0.5 and random.random() >= METAL_KEPT:
        return _scan(folders, size, random)
    return folder.name, orient(cut(maps, size, random_scale(random), random), random)


def random_material(recipe: Recipe, validation: bool, size: int, random: Random) -> tuple[str, Maps]:
    """A name and maps, size x size; the validation set shows held-out scans only, without blends."""
    if validation:
        name, maps = _scan(recipe.validation, size, random)
        return name, vary(maps, random) if random.random() < 0.5 else maps
    if random.random() < recipe.procedural_share:
        return "procedural", orient(procedural_material(random, size), random)
    name, maps = _scan(recipe.train, size, random)
    maps = vary(maps, random)
    if random.random() < BLEND_SHARE:
        other, second = _scan(recipe.train, size, random)
        name, maps = f"{name}+{other}", blend(maps, vary(second, random), random)
    return name, maps


def as_material(maps: Maps) -> Material:
    """NumPy's H x W x C to the renderer's C x H x W."""
    return Material(*(torch.from_numpy(np.ascontiguousarray(m.transpose(2, 0, 1), np.float32)) for m in _arrays(maps)))


def _arrays(maps: Maps) -> tuple[np.ndarray, ...]:
    return maps.base_colour, maps.normals, maps.roughness, maps.metalness


def _light(maps: Maps, flash: bool, lights: LightPool, random: Random) -> np.ndarray:
    material = as_material(maps)
    fov = 0.0 if random.random() < 0.4 else float(random.uniform(15.0, 60.0))
    if not flash:
        radiance = render_environment(material, lights.draw(random), fov)
    else:
        radiance = render_flash(material, shot := random_flash(random))
        if random.random() < 0.6:
            dim = float(10.0 ** random.uniform(-2.5, -0.8))
            radiance = radiance + render_environment(material, lights.draw(random), shot.fov_degrees) * dim
    return radiance.permute(1, 2, 0).numpy()


def make_sample(recipe: Recipe, number: int) -> tuple[str, dict[str, np.ndarray]]:
    """(name, {file's stem: 8-bit pixels}) of one sample; the same for the same recipe and number."""
    random = np.random.default_rng([recipe.seed, number])
    # Fine detail is sometimes lit before it is averaged, as a renderer with many rays per pixel does it.
    fine = 2 if random.random() < FINE_SHARE else 1
    name, maps = random_material(recipe, recipe.is_validation(number), recipe.size * fine, random)
    flash = random.random() < 0.5
    radiance = resize(_light(maps, flash, recipe.lights, random), recipe.size)
    maps = with_unit_normals(each(maps, lambda m: resize(m, recipe.size)))
    pictures = {"flash" if flash else "env": photograph(radiance, random)} | truth(maps)
    return f"{number:06d}-{name}", pictures


def truth(maps: Maps) -> dict[str, np.ndarray]:
    """The maps as 8-bit pictures in the model's encoding; albedo is the base colour."""
    return {
        "albedo": to_bytes(display_encode(maps.base_colour)),
        "normals": to_bytes(normals_encode(maps.normals)),
        "roughness": to_bytes(maps.roughness[..., 0]),
        "metalness": to_bytes(maps.metalness[..., 0]),
    }


def write_sample(folder: Path, pictures: dict[str, np.ndarray]) -> None:
    """Write a sample so that it appears whole or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(part / f"{name}.png", compress_level=3)
    part.rename(folder)


def generate(recipe: Recipe, out: Path, first: int, count: int) -> int:
    """Write samples `first` to `first + count`, but for those that are there; gives how many were written."""
    parts = {False: out / "train", True: out / "validation"}
    there = {p.name.split("-")[0] for folder in parts.values() for p in folder.glob("[0-9]*-*")}
    written = 0
    for number in range(first, first + count):
        if f"{number:06d}" in there:
            continue
        name, pictures = make_sample(recipe, number)
        write_sample(parts[recipe.is_validation(number)] / name, pictures)
        written += 1
        if written % 100 == 0:
            print(f"{written} samples written", flush=True)
    return written


def generate_packs(recipe: Recipe, out: Path, first: int, count: int, each: int) -> int:
    """Write the training samples among `first` to `first + count` in packs, but for packs that are there; gives how many were written."""
    numbers = [number for number in range(first, first + count) if not recipe.is_validation(number)]
    written = 0
    for path, chosen in missing_packs(out, numbers, each):
        write_pack(path, [_alike(make_sample(recipe, number)[1]) for number in chosen])
        written += len(chosen)
    return written


def _alike(pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With the photo by one name, whatever lit it: the samples of a pack have the same channels."""
    return {"image" if name in ("flash", "env") else name: pixels for name, pixels in pictures.items()}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.generate", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--materials", type=Path, required=True, help="folder of <material>/basecolor.jpg, normal.jpg, ..."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for train/ and validation/")
    parser.add_argument("--count", type=int, required=True, help="samples in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample (0)")
    parser.add_argument("--size", type=int, default=256, help="pixels across (256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--environments", type=Path, help="folder of panoramas (.npy, .npz, .hdr); else procedural skies"
    )
    parser.add_argument("--validation", type=float, default=0.1, help="share of materials and samples held out (0.1)")
    shown = f"share of training samples without a scan ({PROCEDURAL_SHARE})"
    parser.add_argument("--procedural", type=float, default=PROCEDURAL_SHARE, help=shown)
    parser.add_argument("--packed", type=int, default=0, metavar="N", help="packs of N training samples instead of folders")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; a mistake in the arguments is one sentence on the error stream and 2."""
    options = arguments().parse_args(argv)
    torch.set_num_threads(1)
    try:
        check_numbers(options, count=1, first=0, size=1, seed=0, packed=0)
        if not 0 <= options.procedural <= 1:
            raise ValueError(f"--procedural is {options.procedural}; expected a share from 0 to 1.")
        made = recipe(options.materials, options.environments, options.size, options.seed, options.validation, options.procedural)
        span = (options.out, options.first, options.count)
        written = generate_packs(made, *span, options.packed) if options.packed else generate(made, *span)
        print(f"{written} samples written to {options.out}")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
