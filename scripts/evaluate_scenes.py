# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores a team on scenes: its shading against the clean render, its decomposition against Blender's passes.

    python -m scripts.evaluate_scenes --data data/scenes/validation [--team nano] [--adapter scenes.safetensors]

DIR/<sample>/ holds what `scripts.cycles.generate_scenes` writes. All pictures are compared in the model's encoding, 0..1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from engine_server import channels, colour
from engine_server.teamwork import TeamError, load_team

CHANNELS = ("albedo", "normals", "depth", "roughness", "metalness", "diffuseshading")
GIVEN = ("albedo", "normals", "roughness", "metalness", "depth")
FRONTAL = np.float32([0.5, 0.5, 1.0])


def read(folder: Path, name: str) -> np.ndarray:
    """A picture, H x W x 3 in 0..1."""
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), np.float32) / 255.0


def rmse(made: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((made - truth) ** 2)))


def angle(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean angle of encoded normals in degrees."""
    cosine = (channels.normals_decode(made) * channels.normals_decode(truth)).sum(-1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).mean())


def shaded(inverse: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """albedo * s / (1 - s) as a picture."""
    return colour.display_encode(colour.display_decode(albedo) * colour.shading_from_inverse(inverse))


def score_shading(team, folder: Path) -> dict[str, float]:
    """RMSE of the shaded picture, of the noisy one it started from, and of plain light from above and behind the viewer."""
    given = {name: read(folder, name) for name in GIVEN if name in team.config.inputs} | {"image": read(folder, "noisy")}
    truth, albedo = read(folder, "image"), read(folder, "albedo")
    answer = team.run(given, ["inverseshading"])["inverseshading"]
    light = np.clip(channels.normals_decode(read(folder, "normals")) @ np.float32([0.0, 0.5, 0.866]), 0.0, 1.0)
    plain = colour.display_encode(colour.display_decode(albedo) * light[..., None])
    return {
        "shading: team": rmse(shaded(answer, albedo), truth),
        "shading: 4 samples": rmse(given["image"], truth),
        "shading: plain diffuse": rmse(plain, truth),
    }


def score_decomposition(team, folder: Path) -> dict[str, float]:
    """Error of each channel, beside what one would answer without looking."""
    image = read(folder, "image")
    wanted = [name for name in CHANNELS if name in team.config.outputs]
    made = team.run({"image": image}, wanted)
    truth = {name: read(folder, name) for name in wanted}
    scores = {f"{n}: team": (angle if n == "normals" else rmse)(made[n], truth[n]) for n in wanted}
    scores["albedo: the image"] = rmse(image, truth["albedo"])
    scores["normals: all to the viewer"] = angle(np.broadcast_to(FRONTAL, image.shape), truth["normals"])
    return scores | {f"{n}: its own mean": rmse(truth[n].mean((0, 1)), truth[n]) for n in wanted if n != "normals"}


def main(argv: list[str] | None = None) -> int:
    """Print the mean of every score."""
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate_scenes", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--team", default="nano")
    parser.add_argument("--adapter", default="scenes.safetensors")
    parser.add_argument("--limit", type=int, help="only so many scenes")
    options = parser.parse_args(argv)
    folders = sorted(p.parent for p in options.data.glob("*/noisy.png"))[: options.limit]
    if not folders:
        print(f"{options.data} holds no <sample>/noisy.png.", file=sys.stderr)
        return 2
    try:
        team = load_team(options.team, options.adapter)
    except TeamError as error:
        print(error, file=sys.stderr)
        return 2
    rows = [score_shading(team, f) | score_decomposition(team, f) for f in folders]
    print(f"{len(rows)} scenes; RMSE in the model's encoding, normals in degrees")
    for name in sorted(rows[0]):
        print(f"  {name:<28} {np.mean([row[name] for row in rows]):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
