# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of base weight: in each precision, from other files, and quantised without being unpacked by the adapters."""

from __future__ import annotations

import json

import diffusers
import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file, save_file

from engine_server.diffusion.loading import load_base
from engine_server.teamwork import TeamConfig, TeamError, load_team
from engine_server.teamwork.coordination import coordinate
from engine_server.teamwork.inject import adapters, attach

from .tiny import FAMILIES, tiny_adapter, tiny_base, wide_sd3

PLAIN = ("float32", "bfloat16", "float16")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny SD3 whose layers are wide enough for blocks of 32 weights."""
    return wide_sd3(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def teams(base):
    """Adapters for the base: of random weights and of none."""
    return {scale: tiny_adapter(base, base / f"{scale}.safetensors", scale=scale) for scale in (0.0, 0.1)}


def is_packed(name, tensor):
    return tensor.ndim == 2 and "transformer_blocks" in name and tensor.shape[-1] % 32 == 0


def write_gguf(base, path, leave_out=""):
    """The base's network as a GGUF file: weights of its blocks in 8 bits, the others as they are; and what that comes to."""
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    writer, unpacked = gguf.GGUFWriter(path, arch="sd3"), {}
    for name, tensor in weights.items():
        kind = Kind.Q8_0 if is_packed(name, tensor) else Kind.F32
        data = gguf.quants.quantize(tensor.numpy(), kind)
        unpacked[name] = torch.from_numpy(gguf.quants.dequantize(data, kind).reshape(tensor.shape).copy())
        if name != leave_out:
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unpacked


def test_gguf_weights_stay_packed_and_answer_as_what_they_stand_for(base, teams, photo, tmp_path):
    unpacked = write_gguf(base, tmp_path / "q8.gguf")
    save_file(unpacked, tmp_path / "plain.safetensors")
    packed, plain = (load_team(base, teams[0.1], network=tmp_path / name) for name in ("q8.gguf", "plain.safetensors"))
    made, expected = (team.run({"image": photo}, ["albedo"], steps=2)["albedo"] for team in (packed, plain))
    np.testing.assert_allclose(made, expected, atol=1e-4)
    adapted = [packed.base.network.get_submodule(path).weight for path in adapters(packed.base.network)]
    assert len(adapted) > 10 and all(weight.dtype == torch.uint8 for weight in adapted)
    assert np.abs(made - load_team(base, teams[0.1]).run({"image": photo}, ["albedo"], steps=2)["albedo"]).max() > 1e-4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights", ["gguf", "int8"])
def test_an_untrained_team_on_quantised_weights_equals_their_bare_base_bit_for_bit(base, teams, tmp_path, weights, dtype):
    write_gguf(base, tmp_path / "q8.gguf")
    options = {"network": tmp_path / "q8.gguf"} if weights == "gguf" else {"quantization": "int8"}
    team = load_team(base, teams[0.0], dtype=dtype, **options)
    assert team.base.dtype == getattr(torch, dtype)
    bare = load_base(base, dtype=getattr(torch, dtype), **options)
    latents, time = torch.randn(2, 4, 12, 16).to(bare.dtype), torch.tensor(500.0)
    with torch.no_grad(), team.roster.working((0, 1)):
        made = team.base.predict(latents, time, team.base.conditions(2, 24, 32))
    with torch.no_grad():
        assert torch.equal(made, bare.predict(latents, time, bare.conditions(2, 24, 32)))
    assert made.dtype == team.base.dtype


def test_int8_weights_are_adapted_in_place_and_saved_ones_load_again(base, teams, photo, tmp_path):
    team = load_team(base, teams[0.1], quantization="int8")
    weight = team.base.network.transformer_blocks[0].attn.to_q.weight
    assert type(weight).__name__ == "Int8Tensor"
    made = team.run({"image": photo}, ["albedo"], steps=2)["albedo"]
    near = load_team(base, teams[0.1]).run({"image": photo}, ["albedo"], steps=2)["albedo"]
    assert 0 < np.abs(made - near).max() < 0.1
    load_base(base, quantization="int8").network.save_pretrained(tmp_path / "int8")
    assert "quantization_config" in json.loads((tmp_path / "int8" / "config.json").read_text())
    again = load_team(base, teams[0.1], network=tmp_path / "int8")
    assert np.array_equal(again.run({"image": photo}, ["albedo"], steps=2)["albedo"], made)


def test_bitsandbytes_layers_are_adapted_as_they_are():
    """diffusers loads these on a GPU only; the layer itself also works without one."""
    import bitsandbytes

    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 64)
    packed = bitsandbytes.nn.Linear4bit(64, 64, compute_dtype=torch.float32, quant_type="nf4")
    packed.load_state_dict(plain.state_dict())
    network = torch.nn.Sequential(packed.to("cpu"))
    roster = attach(network, ["0"], TeamConfig(("a.in", "b.out"), 4, "SD3"))
    adapter = adapters(network)["0"]
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        bare = network(x)
        with roster.working((0, 1)):
            made = network(x)
        expected = coordinate(bare.clone(), x, adapter.down, adapter.up, adapter.bias, True)
    torch.testing.assert_close(made, expected)
    assert packed.weight.dtype == torch.uint8 and 0 < (bare - plain(x)).abs().max() < 1


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_precision_on_each_base(family, dtype, photo, tmp_path):
    folder = tiny_base(family, tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors", profile=family)
    exact = load_team(folder, adapter).run({"image": photo}, ["albedo"], steps=2)["albedo"]
    team = load_team(folder, adapter, dtype=dtype)
    assert {p.dtype for a in adapters(team.base.network).values() for p in a.parameters()} == {getattr(torch, dtype)}
    made = team.run({"image": photo}, ["albedo"], steps=2)["albedo"]
    assert made.dtype == np.float32 and np.isfinite(made).all()
    assert np.abs(made - exact).mean() < 0.05


def test_the_vae_of_sdxl_does_not_overflow_in_float16(photo, tmp_path):
    """As the released one would; its configuration says so, as that of a mended one says the opposite."""
    folder = tiny_base("SDXL", tmp_path)
    adapter = tiny_adapter(folder, tmp_path / "a.safetensors", profile="SDXL")
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    for parameter in vae.decoder.conv_in.parameters():
        parameter.data *= 3e5
    vae.save_pretrained(folder / "vae")
    exact = load_team(folder, adapter).run({"image": photo}, ["albedo"], steps=2)["albedo"]
    team = load_team(folder, adapter, dtype="float16")
    np.testing.assert_allclose(team.run({"image": photo}, ["albedo"], steps=2)["albedo"], exact, atol=0.02)
    vae.register_to_config(force_upcast=False)
    vae.save_pretrained(folder / "vae")
    assert load_team(folder, adapter, dtype="float16").base.vae.dtype == team.base.network.dtype == torch.float16


def test_a_layer_of_another_precision_than_its_adapter():
    """Some layers of a base stay in float32 whatever its precision."""
    network = torch.nn.Sequential(torch.nn.Linear(8, 8))
    roster = attach(network, ["0"], TeamConfig(("a.in", "b.out"), 4, "SD3"), torch.bfloat16)
    adapter = adapters(network)["0"]
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 8)
    with torch.no_grad(), roster.working((0, 1)):
        made = network(x)
        tensors = (None if t is None else t.float() for t in (adapter.down, adapter.up, adapter.bias))
        expected = coordinate(torch.nn.functional.linear(x, network[0].weight, network[0].bias), x, *tensors, True)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, atol=0.3, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "none.gguf"}, "There is no network file none.gguf"),
        ({"network": "weights.ckpt"}, "expected a diffusers folder, or a .gguf or .safetensors file"),
        ({"quantization": "int3"}, "quantization is 'int3'; expected int8, float8, nf4"),
        ({"compile": "fast"}, "compile is 'fast'; expected True, False or one of default"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence(base, teams, options, words):
    with pytest.raises(TeamError) as caught:
        load_team(base, teams[0.1], **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_network_files_that_do_not_fit_are_one_sentence(base, teams, tmp_path):
    lacks = "transformer_blocks.0.attn.to_q.weight"
    write_gguf(base, tmp_path / "part.gguf", leave_out=lacks)
    (tmp_path / "short.gguf").write_bytes((tmp_path / "part.gguf").read_bytes()[:200])
    (tmp_path / "text.gguf").write_text("no weights")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("part.gguf", "short.gguf", "text.gguf", "other.safetensors", "text.safetensors"):
        with pytest.raises(TeamError) as caught:
            load_team(base, teams[0.1], network=tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


def test_a_base_of_pickles_is_refused(base, teams, tmp_path):
    import shutil

    folder = shutil.copytree(base, tmp_path / "base")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(TeamError, match="safetensors"):
        load_team(folder, teams[0.1])
