# SPDX-License-Identifier: GPL-3.0-or-later
"""Decomposition teams with the teammates that were published, stood in for by one that knows the right answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from blender_addon.wire import ChannelImage, Submit
from engine_server import channels, colour
from engine_server.derive import metalness_workflow
from engine_server.errors import TaskError
from engine_server.inpainting import Inpainting
from engine_server.tasks import TASKS, outputs_of
from engine_server.team_run import Run
from engine_server.teamwork.config import TeamConfig
from engine_server.teamwork.manner import Manner

INTERIORS = ("image.in", *(f"{n}.out" for n in "diffuse specular roughness normals depth albedo inverseshading".split()))
MIXED = (*INTERIORS, "diffuseshading.out", "residual.out")
BASE, LIGHT, REST = np.float32([0.02, 0.4, 0.6]), np.float32(0.8), np.float32(0.05)


def flat(value) -> np.ndarray:
    """A picture of one colour."""
    return np.zeros((32, 32, 3), np.float32) + np.float32(value)


def truth() -> dict[str, np.ndarray]:
    """All that there is to know of a dielectric in even light, as the method defines it: its albedo is diffuse + specular."""
    diffuse, specular = colour.specular_from_metalness(flat(BASE), np.zeros((32, 32, 1), np.float32))
    linear = {"diffuse": diffuse, "specular": specular, "albedo": diffuse + specular, "diffuseshading": flat(LIGHT)}
    plain = {"normals": flat((0.5, 0.5, 1.0)), "depth": flat(0.5), "roughness": flat(0.5)}
    return {name: colour.display_encode(picture) for name, picture in linear.items()} | plain


def team(teammates: tuple[str, ...]) -> SimpleNamespace:
    """A team that answers with the truth, and notes what it is asked for."""
    asked: list[str] = []

    def run(pictures, wanted, **how):
        asked[:] = wanted
        return {name: truth()[name] for name in wanted}

    seam = {"base": SimpleNamespace(multiple=16), "manner": lambda task: Manner(), "run": run, "asked": asked}
    return SimpleNamespace(config=TeamConfig(teammates, 64, "SD3"), native_size=32, most_steps=0, always=(), **seam)


def decompose(teammates: tuple[str, ...], *outputs: str) -> dict[str, np.ndarray]:
    """The task on a photo of that dielectric."""
    image = ChannelImage(BASE * LIGHT + REST + flat(0.0), "scene-linear")
    job = Submit("j", "decompose", "m", {"image": image}, outputs, {})
    task = TASKS["decompose"]
    made, _ = Run(task, team(teammates), job).run(outputs_of(task, job), lambda *step: None)
    return {name: output.data for name, output in made.items()}


def test_where_no_outputs_are_named_a_team_makes_what_it_can():
    assert set(decompose(INTERIORS)) == {"albedo", "normals", "depth", "roughness", "metalness"}
    assert set(decompose(MIXED)) == set(TASKS["decompose"].outputs)
    assert set(decompose(("image.in", "albedo.out", "diffuseshading.out"))) == {"albedo", "diffuseshading"}
    for teammates, outputs, words in (
        (INTERIORS, ("diffuseshading",), "cannot make 'diffuseshading'"),
        (("image.in", "inverseshading.out"), (), "cannot make 'albedo'; it makes inverseshading"),
    ):
        with pytest.raises(TaskError, match=words):
            decompose(teammates, *outputs)


@pytest.mark.parametrize("teammates", [INTERIORS, MIXED])
def test_the_albedo_of_a_team_without_metalness_goes_out_as_a_base_colour(teammates):
    made = decompose(teammates, "albedo", "metalness")
    assert np.allclose(made["albedo"], BASE, atol=1e-4) and np.allclose(made["metalness"], 0.0, atol=1e-4)
    assert np.allclose(decompose(teammates, "albedo")["albedo"], BASE, atol=1e-4)


def test_the_parts_of_such_a_team_add_up_with_its_own_residual():
    assert np.allclose(decompose(MIXED)["residual"], REST, atol=1e-4)


def test_an_albedo_beside_the_pair_gives_way_only_where_no_metalness_is_made():
    pair = {name: truth()[name] for name in ("diffuse", "specular", "albedo")}
    assert np.allclose(colour.display_decode(metalness_workflow(pair)["albedo"]), BASE, atol=1e-4)
    own = pair | {"metalness": flat(1.0)}
    assert np.array_equal(metalness_workflow(own)["albedo"], own["albedo"])
    assert np.array_equal(metalness_workflow(own)["metalness"], own["metalness"])


def test_a_hole_in_an_albedo_alone_is_filled_by_the_teams_own_albedo():
    """Diffuse and specular around the hole would not be known."""
    mask = np.zeros((32, 32, 1), np.float32)
    mask[10:20, 10:20] = 1
    grey = ChannelImage(np.zeros((32, 32, 1), np.float32), "data")
    albedo = channels.to_wire("albedo", truth()["albedo"])
    for given, asked in (({"albedo": albedo}, ["albedo"]), ({"albedo": albedo, "metalness": grey}, ["diffuse", "specular"])):
        job = Submit("j", "inpaint", "m", {**given, "mask": ChannelImage(mask, "data")}, (), {})
        Inpainting(TASKS["inpaint"], known := team(INTERIORS), job).run(tuple(given), lambda *step: None)
        assert known.asked == asked
