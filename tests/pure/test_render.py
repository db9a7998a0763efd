# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the renderer of training pictures: energy, falloff, symmetry, and agreement with slow plain loops."""

import math

import pytest
import torch

from engine_server.train import render
from engine_server.train.render import Flash, Material, render_flash
from engine_server.train.render_environment import (
    LightTables,
    disc_directions,
    disc_grid,
    disc_of_environment,
    equirectangular_grid,
    light_tables,
    render_environment,
)

torch.manual_seed(0)


def flat_material(height=9, width=9, colour=1.0, roughness=0.5, metalness=0.0, normal=(0.0, 0.0, 1.0)):
    normals = torch.tensor(normal)[:, None, None].expand(3, height, width) / math.hypot(*normal)
    ones = torch.ones(1, height, width)
    return Material(torch.full((3, height, width), colour), normals.clone(), roughness * ones, metalness * ones)


def bumpy_material(size=8, metalness=0.0):
    slopes = 0.4 * torch.randn(2, size, size)
    normals = render.normalize(torch.cat([slopes, torch.ones(1, size, size)]))
    colour, roughness = torch.rand(3, size, size), 0.2 + 0.8 * torch.rand(1, size, size)
    return Material(colour, normals, roughness, torch.full((1, size, size), metalness))


@pytest.fixture(scope="module")
def white_world() -> LightTables:
    return light_tables(disc_of_environment(torch.ones(3, 32, 64), torch.eye(3)))


@pytest.fixture(scope="module")
def sided_world() -> LightTables:
    """Red from +X, green from +Y, blue from above."""
    directions = panorama_directions(32)
    return light_tables(disc_of_environment(directions.clamp_min(0.0), torch.eye(3)))


def panorama_directions(height):
    """Brute inverse of the equirectangular layout: the direction of each pixel, 3 x h x 2h."""
    latitude = (0.5 - (torch.arange(height) + 0.5) / height) * math.pi
    longitude = -((torch.arange(2 * height) + 0.5) / height - 1.0) * math.pi
    flat = latitude.cos()[:, None]
    z = latitude.sin()[:, None].expand(height, 2 * height)
    return torch.stack([flat * longitude.cos(), flat * longitude.sin(), z])


@pytest.mark.parametrize("metalness", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_a_white_surface_in_a_white_world_is_white(white_world, roughness, metalness):
    image = render_environment(flat_material(roughness=roughness, metalness=metalness), white_world)
    assert image.min() > 0.97 and image.max() < 1.02


def test_no_surface_gives_more_light_than_it_gets(white_world):
    for metalness in (0.0, 1.0):
        image = render_environment(bumpy_material(metalness=metalness), white_world)
        assert 0.0 <= image.min() and image.max() < 1.02


def test_a_grey_diffuse_surface_reflects_its_colour_and_its_coat(white_world):
    image = render_environment(flat_material(colour=0.18, roughness=1.0), white_world)
    albedo = render.directional_albedo(torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    coat = float(0.04 * albedo[0] + albedo[1])
    assert image.mean() == pytest.approx(0.18 * (1 - coat) + coat, abs=0.01)


def slow_flash(material, fov, row, column):
    """One pixel by plain arithmetic from the books, without any function of the renderer but the albedo's table."""
    height, width = material.normals.shape[1:]
    point = [(2 * column + 1 - width) / height, (height - 1 - 2 * row) / height, 0.0]
    top = 1 / math.tan(math.radians(fov) / 2)
    away = [0.0 - point[0], 0.0 - point[1], top]
    distance = math.sqrt(sum(a * a for a in away))
    w = [a / distance for a in away]
    n = [float(x) for x in material.normals[:, row, column]]
    cosine = sum(a * b for a, b in zip(n, w, strict=True))
    alpha = float(material.roughness[0, row, column]) ** 2
    d = alpha**2 / (math.pi * (cosine**2 * (alpha**2 - 1) + 1) ** 2)
    lam = (-1 + math.sqrt(1 + alpha**2 * (1 / cosine**2 - 1))) / 2
    g = 1 / (1 + 2 * lam)
    low, high, average = render.directional_albedo(
        torch.tensor(cosine)[None, None, None], material.roughness[:, row : row + 1, column : column + 1]
    ).flatten()
    missing = float((1 - low - high) / (low + high))
    mean = 0.04 + 0.96 / 21
    extra = 1 + mean * float(average) / (1 - mean * (1 - float(average))) * missing
    specular = math.pi * d * g * 0.04 / (4 * cosine) * extra
    under = 1 - (0.04 * float(low) + float(high)) * extra
    a2, t2 = min(1.0, (1 / n[2] ** 2 - 1) / 8), 1 / w[2] ** 2 - 1
    reached = 2 / (1 + math.sqrt(1 + a2 * t2))
    diffuse = float(material.base_colour[0, row, column]) * under * cosine
    return (diffuse + specular) * reached * (top / distance) ** 2


def test_flash_agrees_with_a_slow_loop():
    material = bumpy_material()
    image = render_flash(material, Flash(50.0))
    seen = 0
    for row in range(8):
        for column in range(8):
            if material.normals[2, row, column] > render.STEEPEST_MIRROR:
                assert image[0, row, column] == pytest.approx(slow_flash(material, 50.0, row, column), rel=2e-3)
                seen += 1
    assert seen > 40


def test_flash_falls_off_with_the_squared_distance():
    """A rough dark-coated plane: from the centre to the corner the Lambert part goes with cos^3 times the angle's cos."""
    material = flat_material(101, 101, roughness=1.0)
    bare = Material(material.base_colour, material.normals, material.roughness, material.metalness)
    image = render_flash(bare, Flash(60.0))[0]
    top = 1 / math.tan(math.radians(30.0))
    corner = (100 / 101) * math.sqrt(2.0)
    cosine = top / math.hypot(top, corner)
    assert image[0, 0] / image[50, 50] == pytest.approx(cosine**3, rel=0.05)
    assert image[50, 50] == pytest.approx(1.0, abs=0.06)


def test_a_flash_to_the_right_lights_slopes_that_face_right():
    right, left = (flat_material(normal=(x, 0.0, 1.0)) for x in (0.5, -0.5))
    flash = Flash(40.0, offset=(2.0, 0.0, 0.0))
    assert render_flash(right, flash)[:, 4, 4].mean() > 1.5 * render_flash(left, flash)[:, 4, 4].mean()


def test_a_larger_flash_gives_a_softer_highlight():
    material = flat_material(33, 33, colour=0.0, roughness=0.15)
    small, large = (render_flash(material, Flash(40.0, radius=r))[0] for r in (0.0, 0.3))
    assert small[16, 16] > 2.0 * large[16, 16]
    assert large[16, 2] > small[16, 2]


def test_environment_light_comes_from_where_the_panorama_shows_it(sided_world):
    for axis, normal in enumerate([(0.6, 0.0, 1.0), (0.0, 0.6, 1.0)]):
        for roughness, metalness in ((0.1, 1.0), (0.6, 1.0), (0.9, 0.0)):
            facing = flat_material(roughness=roughness, metalness=metalness, normal=normal)
            turned = flat_material(roughness=roughness, metalness=metalness, normal=tuple(-x for x in normal[:2]) + (1.0,))
            bright, dark = (render_environment(m, sided_world)[axis, 4, 4] for m in (facing, turned))
            assert bright > 1.3 * dark, (axis, roughness, metalness)


def test_environment_agrees_with_a_sum_over_the_panorama(sided_world):
    """A rough metal, tilted: every pixel of the panorama as a light of its solid angle."""
    height = 128
    lights = panorama_directions(height).flatten(1)
    latitude = (0.5 - (torch.arange(height) + 0.5) / height) * math.pi
    area = (math.pi / height) ** 2 * latitude.cos()[:, None].expand(height, 2 * height).flatten()
    material = flat_material(1, 1, colour=0.7, roughness=0.6, metalness=1.0, normal=(0.3, 0.2, 1.0))
    up = torch.tensor([0.0, 0.0, 1.0])
    above = lights[2] > 0
    total = torch.zeros(3)
    many = Material(*(m.expand(-1, 1, int(above.sum())) for m in vars(material).values()))
    towards = lights[:, None, above]
    response = render.reflect_light(many, up[:, None, None].expand_as(towards), towards)
    total = (response[:, 0] * lights[:, above].clamp_min(0.0) * area[above]).sum(1) / math.pi
    image = render_environment(material, sided_world)[:, 0, 0]
    assert torch.allclose(image, total, rtol=0.03)


def test_a_sharp_metal_mirrors_the_direction_above(sided_world):
    image = render_environment(flat_material(roughness=0.03, metalness=1.0), sided_world)[:, 4, 4]
    assert image[2] > 0.95 and image[:2].max() < 0.1


def test_a_perspective_camera_sees_other_reflections_towards_the_edges(sided_world):
    image = render_environment(flat_material(31, 31, roughness=0.1, metalness=1.0), sided_world, fov_degrees=50.0)
    assert image[0, 15, 30] > image[0, 15, 15] + 0.2
    assert image[0, 15, 0] < 0.1
    assert image[1, 0, 15] > image[1, 15, 15] + 0.2


def test_scaling_an_environment_scales_the_picture(sided_world):
    material = bumpy_material()
    twice = render_environment(material, sided_world.scaled(torch.tensor([2.0, 1.0, 0.5])))
    factor = torch.tensor([2.0, 1.0, 0.5])[:, None, None]
    assert torch.allclose(twice, render_environment(material, sided_world) * factor, rtol=1e-4, atol=1e-6)


def test_disc_and_directions_are_inverse():
    directions = disc_directions(65)
    inside = directions[2] > 0.02
    steps = (2.0 * torch.arange(65) + 1.0) / 65 - 1.0
    grid = disc_grid(directions)
    assert torch.allclose(grid[..., 0][inside], steps.expand(65, 65)[inside], atol=1e-5)
    assert torch.allclose(grid[..., 1][inside], steps[:, None].expand(65, 65)[inside], atol=1e-5)
    assert torch.allclose(directions.norm(dim=0), torch.ones(65, 65), atol=1e-5)


def test_equirectangular_lookup_is_the_inverse_of_its_layout():
    grid = equirectangular_grid(panorama_directions(16))
    assert torch.allclose(grid[..., 0], ((torch.arange(32) + 0.5) / 16 - 1.0).expand(16, 32), atol=1e-5)
    assert torch.allclose(grid[..., 1], (2 * (torch.arange(16) + 0.5) / 16 - 1.0)[:, None].expand(16, 32), atol=1e-5)


def test_a_small_sun_keeps_its_energy_on_the_disc():
    image = torch.zeros(3, 64, 128)
    image[:, 10, 77] = 1000.0
    latitude = (0.5 - 10.5 / 64) * math.pi
    arriving = 1000.0 * (math.pi / 64) ** 2 * math.cos(latitude) * math.sin(latitude) / math.pi
    assert light_tables(disc_of_environment(image, torch.eye(3))).white()[0] == pytest.approx(arriving, rel=0.05)


def test_the_albedo_table_agrees_with_plain_integration():
    """E of a white GGX surface at one view, summed over the hemisphere instead of sampled."""
    n = 400
    z = (torch.arange(n) + 0.5) / n
    phi = (torch.arange(n) + 0.5) / n * 2 * math.pi
    flat = (1 - z * z).sqrt()[:, None]
    light = torch.stack([flat * phi.cos(), flat * phi.sin(), z[:, None].expand(n, n)])
    cosine, roughness = 18 / 31, 22 / 31  # entries of the table
    view = torch.tensor([math.sqrt(1 - cosine**2), 0.0, cosine])[:, None, None]
    half = render.normalize(light + view)
    alpha = torch.tensor(roughness**2)
    lobe = render.ggx(half[2], alpha) * render.smith_visibility(light[2], torch.tensor(cosine), alpha) * light[2]
    white = render.schlick_weight((half * view).sum(0))
    table = render.directional_albedo(torch.tensor([[[cosine]]]), torch.tensor([[[roughness]]]))
    area = 2 * math.pi / n**2
    assert float(table[0]) == pytest.approx(float((lobe * (1 - white)).sum()) * area, rel=0.01)
    assert float(table[1]) == pytest.approx(float((lobe * white).sum()) * area, rel=0.03)


def test_normals_too_steep_to_mirror_are_bent_and_others_kept():
    normals = render.normalize(torch.tensor([[0.2, 2.0], [0.1, 1.0], [1.0, 0.5]]))[:, :, None]
    bent = render.mirror_normals(normals)
    assert torch.allclose(bent[:, 0], normals[:, 0])
    assert float(2 * bent[2, 1, 0] ** 2 - 1) == pytest.approx(0.01, abs=1e-4)
    assert torch.allclose(bent.norm(dim=0), torch.ones(2, 1), atol=1e-5)
    assert float(bent[0, 1, 0] / bent[1, 1, 0]) == pytest.approx(2.0, rel=1e-4)
