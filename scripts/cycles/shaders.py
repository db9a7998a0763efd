# SPDX-License-Identifier: GPL-3.0-or-later
"""Random Principled materials that also write their albedo, roughness and metalness as passes."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from engine_server.train.generate_materials import METAL_NOISE, load_material

from .rendering import AOVS, node_of, use_nodes

Random = np.random.Generator
PLAIN_SHARE, NOISE_SHARE = 0.35, 0.25  # the rest shows a scanned material, where there are any
METALS = ((0.95, 0.93, 0.88), (1.0, 0.78, 0.34), (0.96, 0.64, 0.54), (0.55, 0.56, 0.58), (0.9, 0.91, 0.92))
INPUTS = {"albedo": "Base Color", "roughness": "Roughness", "metalness": "Metallic"}


@dataclass(frozen=True)
class Surface:
    """One plain surface: linear base colour 0..1, perceptual roughness, metalness."""

    albedo: tuple[float, float, float]
    roughness: float
    metalness: float


@dataclass
class Shader:
    """A material while it is being wired: its tree, its Principled node, and where textures are looked up."""

    material: Any
    tree: Any
    principled: Any
    place: Any

    def node(self, kind: str, **inputs: Any) -> Any:
        """A new shader node with those input values; `_` stands for a blank in an input's name."""
        made = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in inputs.items():
            made.inputs[name.replace("_", " ")].default_value = value
        return made

    def link(self, source: Any, target: Any) -> None:
        """Connect an output with an input."""
        self.tree.links.new(source, target)

    def drive(self, channel: str, source: Any) -> None:
        """Feed a channel of the material from an output."""
        self.link(source, self.principled.inputs[INPUTS[channel]])


def new_shader(name: str) -> Shader:
    """A material whose textures are looked up by the mesh's UVs through a Mapping node."""
    import bpy

    material = bpy.data.materials.new(name)
    tree = use_nodes(material)
    place, uv = tree.nodes.new("ShaderNodeMapping"), tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(uv.outputs["UV"], place.inputs["Vector"])
    return Shader(material, tree, node_of(tree, "BSDF_PRINCIPLED"), place)


def write_passes(material: Any) -> Any:
    """Have a material write what its Principled node gets as the passes `rendering.AOVS`; gives the material."""
    tree = use_nodes(material)
    principled = node_of(tree, "BSDF_PRINCIPLED")
    for name, kind in AOVS.items():
        source, output = principled.inputs[INPUTS[name]], tree.nodes.new("ShaderNodeOutputAOV")
        output.aov_name = name
        target = output.inputs["Color" if kind == "COLOR" else "Value"]
        if source.is_linked:
            tree.links.new(source.links[0].from_socket, target)
        else:
            target.default_value = source.default_value
    return material


def random_surface(random: Random) -> Surface:
    """A plausible paint, plastic, plaster or metal."""
    roughness = float(random.uniform(0.08, 1.0))
    if random.random() < 0.22:
        tint = np.array(METALS[random.integers(len(METALS))]) * random.uniform(0.6, 1.0)
        return Surface(tuple(tint), float(random.uniform(0.05, 0.7)), 1.0)
    saturation = random.choice([random.uniform(0.0, 0.15), random.uniform(0.2, 0.95)])
    value = random.uniform(0.25, 0.95) ** 1.6
    return Surface(colorsys.hsv_to_rgb(random.random(), saturation, value), roughness, 0.0)


def plain(random: Random) -> Any:
    """A material of one surface."""
    shader, surface = new_shader("plain"), random_surface(random)
    shader.principled.inputs["Base Color"].default_value = (*surface.albedo, 1.0)
    shader.principled.inputs["Roughness"].default_value = surface.roughness
    shader.principled.inputs["Metallic"].default_value = surface.metalness
    return shader.material


def _pattern(shader: Shader, random: Random, large: bool) -> Any:
    """An output 0..1 that varies over the surface: clouds, cells, waves or a chequerboard."""
    kind = random.choice(["TexNoise", "TexVoronoi", "TexWave", "TexChecker"])
    node = shader.node(kind, Scale=float(random.uniform(3.0, 14.0)) * (0.2 if large else 1.0))
    if kind == "TexChecker":
        node.inputs["Scale"].default_value = float(random.integers(3, 12))
        node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = (1,) * 4, (0, 0, 0, 1)
    if kind == "TexWave":
        node.inputs["Distortion"].default_value = float(random.choice([0.0, random.uniform(1.0, 8.0)]))
    place = shader.node("TexCoord").outputs["Object" if kind != "TexChecker" else "UV"]
    shader.link(place, node.inputs["Vector"])
    ramp = shader.node("MapRange", From_Min=0.35, From_Max=float(random.uniform(0.45, 0.75)))
    shader.link(node.outputs["Fac"] if "Fac" in node.outputs else node.outputs["Distance"], ramp.inputs["Value"])
    return ramp.outputs["Result"]


def _mixed_colour(shader: Shader, pattern: Any, colours: tuple[Any, Any]) -> Any:
    mix = shader.tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    first, second = (s for s in mix.inputs if s.type == "RGBA")
    first.default_value, second.default_value = ((*colour, 1.0) for colour in colours)
    shader.link(pattern, mix.inputs[0])
    return next(s for s in mix.outputs if s.type == "RGBA")


def ranged(shader: Shader, source: Any, low: float, high: float, start: float = 0.3, end: float = 0.7) -> Any:
    """An output that goes from `low` to `high` as the source goes from `start` to `end` (by default where clouds mostly are)."""
    node = shader.node("MapRange", From_Min=start, From_Max=end, To_Min=low, To_Max=high)
    shader.link(source, node.inputs["Value"])
    return node.outputs["Result"]


def _mixed_value(shader: Shader, pattern: Any, values: tuple[float, float]) -> Any:
    return ranged(shader, pattern, *values, 0.0, 1.0)


def two_surfaces(random: Random, large: bool = False) -> Any:
    """A material that mixes two surfaces by a procedural pattern, coarser if `large`, sometimes with relief."""
    shader = new_shader("pattern")
    pattern, (a, b) = _pattern(shader, random, large), (random_surface(random) for _ in range(2))
    shader.drive("albedo", _mixed_colour(shader, pattern, (a.albedo, b.albedo)))
    shader.drive("roughness", _mixed_value(shader, pattern, (a.roughness, b.roughness)))
    shader.drive("metalness", _mixed_value(shader, pattern, (a.metalness, b.metalness)))
    if random.random() < 0.6:
        relief(shader, pattern, float(random.uniform(0.1, 0.6)), 0.05)
    return shader.material


def clouds(
    shader: Shader, scale: float, detail: float = 4.0, stretch: tuple[float, float, float] = (1.0,) * 3, warp: float = 0.0
) -> Any:
    """An output 0..1: clouds in the object's own coordinates, `stretch`ed per axis."""
    place = shader.node("Mapping", Scale=stretch)
    shader.link(shader.node("TexCoord").outputs["Object"], place.inputs["Vector"])
    noise = shader.node("TexNoise", Scale=scale, Detail=detail, Distortion=warp)
    shader.link(place.outputs["Vector"], noise.inputs["Vector"])
    return noise.outputs["Fac"] if "Fac" in noise.outputs else noise.outputs[0]


def relief(shader: Shader, source: Any, strength: float, distance: float) -> None:
    """Let an output that tells heights 0..1 tilt the normals."""
    bump = shader.node("Bump", Strength=strength, Distance=distance)
    shader.link(source, bump.inputs["Height"])
    shader.link(bump.outputs["Normal"], shader.principled.inputs["Normal"])


def mottled(random: Random) -> Any:
    """A wall, backdrop or cloth, with its passes: one tone or clouds of lighter and darker ones, half the time a faint relief."""
    shader = new_shader("mottled")
    light = np.array(colorsys.hsv_to_rgb(random.random(), random.uniform(0.0, 0.35), random.uniform(0.2, 0.95) ** 1.6))
    dark = light * random.choice([1.0, random.uniform(0.5, 1.0)]) * np.exp(random.normal(0.0, 0.03, 3))
    pattern = ranged(shader, clouds(shader, float(np.exp(random.uniform(-0.7, 1.4))), float(random.uniform(2.0, 10.0))), 0.0, 1.0)
    tones = (tuple(map(float, tone)) for tone in (dark.clip(0.0, 1.0), light))
    shader.drive("albedo", _mixed_colour(shader, pattern, tuple(tones)))
    rough = float(random.uniform(0.5, 1.0))
    shader.drive("roughness", _mixed_value(shader, pattern, (rough, rough * float(random.uniform(0.8, 1.0)))))
    if random.random() < 0.5:
        relief(shader, clouds(shader, float(random.uniform(8.0, 40.0)), 6.0), float(random.uniform(0.1, 0.5)), 0.03)
    return write_passes(shader.material)


@lru_cache(maxsize=None)
def _is_flipped(folder: Path) -> bool:
    """Whether a scan's normal map is made for DirectX. Uncached loading: only the answer is worth the memory."""
    return load_material.__wrapped__(folder).flipped


def _texture(shader: Shader, folder: Path, name: str, data: bool = True) -> Any:
    """The colour output of a scan's picture; None where the scan has none."""
    import bpy

    path = next((p for s in (".jpg", ".jpeg", ".png") if (p := folder / (name + s)).is_file()), None)
    if path is None:
        return None
    node = shader.tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(str(path), check_existing=True)
    node.image.colorspace_settings.name = "Non-Color" if data else "sRGB"
    shader.link(shader.place.outputs["Vector"], node.inputs["Vector"])
    return node.outputs["Color"]


def _upright_green(shader: Shader, normals: Any) -> Any:
    """The normal map with its green turned over."""
    split, join = shader.node("SeparateColor"), shader.node("CombineColor")
    invert = shader.node("MapRange", To_Min=1.0, To_Max=0.0)
    shader.link(normals, split.inputs[0])
    shader.link(split.outputs[1], invert.inputs["Value"])
    for index, source in enumerate((split.outputs[0], invert.outputs["Result"], split.outputs[2])):
        shader.link(source, join.inputs[index])
    return join.outputs[0]


def scan(folder: Path, repeats: float = 1.0, turn: float = 0.0) -> Any:
    """A material of a scan's maps, repeated `repeats` times over the UVs and turned by `turn` radians."""
    shader = new_shader(folder.name)
    shader.place.inputs["Scale"].default_value = (repeats,) * 3
    shader.place.inputs["Rotation"].default_value[2] = turn
    shader.drive("albedo", _texture(shader, folder, "basecolor", data=False))
    shader.drive("roughness", _texture(shader, folder, "roughness"))
    metalness = _texture(shader, folder, "metallic")
    if metalness is not None:
        clean = shader.node("MapRange", From_Min=METAL_NOISE, From_Max=1.0 - METAL_NOISE)
        shader.link(metalness, clean.inputs["Value"])
        shader.drive("metalness", clean.outputs["Result"])
    _scanned_relief(shader, folder, turn)
    return shader.material


def _scanned_relief(shader: Shader, folder: Path, turn: float) -> None:
    """The scan's normals. Its picture is turned on the surface, so its directions have to be turned with it."""
    normals = _texture(shader, folder, "normal")
    turned, relief = shader.node("VectorRotate", Center=(0.5, 0.5, 0.5), Angle=-turn), shader.node("NormalMap")
    turned.rotation_type = "Z_AXIS"
    shader.link(_upright_green(shader, normals) if _is_flipped(folder) else normals, turned.inputs["Vector"])
    shader.link(turned.outputs["Vector"], relief.inputs["Color"])
    shader.link(relief.outputs["Normal"], shader.principled.inputs["Normal"])


def random_material(scans: tuple[Path, ...], random: Random, large: bool = False) -> Any:
    """Any of the above, with its passes. `large` surfaces such as a floor repeat a scan more often."""
    kind = random.random()
    if kind > PLAIN_SHARE + NOISE_SHARE and scans:
        repeats = float(random.uniform(2.0, 8.0) if large else random.uniform(0.7, 2.5))
        folder = scans[random.integers(len(scans))]
        return write_passes(scan(folder, repeats, float(random.uniform(-np.pi, np.pi))))
    return write_passes(plain(random) if kind < PLAIN_SHARE else two_surfaces(random, large))
