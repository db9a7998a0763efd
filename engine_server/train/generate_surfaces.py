# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of surfaces with words that say what they are: what a base learns from that makes surfaces out of nothing (stage `unison`).

    python -m engine_server.train.generate_surfaces --materials DIR --out DIR --count 4000 [--first 0] [--seed 0] [--packed 32]

writes packs (see `packed`) of albedo, normals, roughness and metalness in the model's encoding. The words come from a material's name
and from its look (`naming`). Bricks lie as people lay them: surfaces are mirrored, but not turned by quarters. A pack depends on
the seed and its number alone. Materials that `generate` holds out for validation are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .errors import check_numbers, in_a_sentence, require_folder
from .generate import truth
from .generate_materials import Maps, load_material, split_materials
from .generate_variations import cut, flip, recolour, reroughen, strengthen
from .naming import vocabulary, words_of_look, words_of_name
from .packed import EACH, missing_packs, write_pack

Random = np.random.Generator
AS_SCANNED, WHOLE, CLOSEST, FARTHEST = 0.4, 0.5, 0.5, 1.5
"""How many surfaces keep their values, how many show the scan's whole width, and which parts of it the others show."""


def varied(maps: Maps, random: Random) -> Maps:
    """Slightly other colours, gloss and relief, or none."""
    if random.random() < AS_SCANNED:
        return maps
    colour = recolour(maps.base_colour, random, wildly=0.08)
    return replace(
        maps,
        base_colour=colour,
        roughness=reroughen(maps.roughness, random),
        normals=strengthen(maps.normals, random.uniform(0.7, 1.3)),
    )


def random_surface(folders: Sequence[Path], size: int, random: Random) -> tuple[dict[str, np.ndarray], str]:
    """The maps of one surface as bytes, size x size, and its words."""
    folder = folders[random.integers(len(folders))]
    scale = 1.0 if random.random() < WHOLE else float(np.exp(random.uniform(np.log(CLOSEST), np.log(FARTHEST))))
    maps = varied(cut(load_material(folder).maps(), size, scale, random), random)
    maps = flip(maps) if random.random() < 0.5 else maps
    return truth(maps), " ".join(dict.fromkeys([*words_of_name(folder.name), *words_of_look(maps)]))


def generate(folders: Sequence[Path], out: Path, numbers: range, size: int, seed: int, each: int) -> int:
    """Write packs of these samples, but for those that are there; gives how many samples were written."""
    known, written = vocabulary(folders), 0
    for path, chosen in missing_packs(out, numbers, each):
        made = [random_surface(folders, size, np.random.default_rng([seed, number])) for number in chosen]
        write_pack(path, [maps for maps, _ in made], [words for _, words in made], known)
        written += len(chosen)
    return written


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m engine_server.train.generate_surfaces", description=__doc__.split("\n")[0])
    parser.add_argument("--materials", type=Path, required=True, help="folder of <material>/basecolor.jpg, normal.jpg, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the packs")
    parser.add_argument("--count", type=int, required=True, help="samples in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample (0)")
    parser.add_argument("--size", type=int, default=256, help="pixels across (256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packed", type=int, default=EACH, metavar="N", help=f"samples in a pack ({EACH})")
    parser.add_argument("--validation", type=float, default=0.1, help="share of materials held out (0.1)")
    return parser


def _run(args: argparse.Namespace) -> None:
    check_numbers(args, count=1, first=0, size=1, seed=0, packed=1)
    require_folder(args.materials, "name one with <material>/basecolor.jpg")
    numbers = range(args.first, args.first + args.count)
    folders, _ = split_materials(args.materials, args.validation)
    written = generate(folders, args.out, numbers, args.size, args.seed, args.packed)
    print(f"{written} samples written to {args.out}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; a mistake in the arguments is one sentence on the error stream and 2."""
    args = arguments().parse_args(argv)
    return in_a_sentence(lambda: _run(args))


if __name__ == "__main__":
    sys.exit(main())
