# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the commands around training: every mistake of their user is one sentence and 2, and their help says what they take."""

import subprocess
import sys

import pytest

from engine_server.train import bundle, generate, generate_panoramas, generate_surfaces, graft, packed, ungraft
from engine_server.train.wide import WIDE
from scripts import gallery, model_card

from .tiny import tiny_adapter, tiny_base
from .training import ROOT, write_samples

BUNDLE = "--base base --team base --out made"
NAMES = {
    "packed": packed, "generate": generate, "generate_surfaces": generate_surfaces, "graft": graft, "ungraft": ungraft,
    "bundle": bundle, "model_card": model_card, "gallery": gallery,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with whatever somebody may name by mistake."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("empty", "broken", "worse"):
        (folder / name).mkdir()
    (folder / "file").touch(), (folder / "broken" / WIDE).write_bytes(b"not a file")
    tiny_adapter(tiny_base("SD3", folder / "base"), folder / "team.safetensors")
    write_samples(folder / "samples", count=1)
    write_samples(folder / "cut", count=1)
    (folder / "cut" / "0" / "albedo.png").write_bytes(b"not a picture")
    (folder / "card.md").write_text("<!-- speed -->\n<!-- end -->\n")
    return folder


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("packed", "--data gone --out packs", "The data folder gone is not there."),
        ("packed", "--data empty --out packs", "The data folder empty holds no <sample>/<channel>.png; each sample is a folder of"),
        ("packed", "--data samples --out packs --each 0", "A pack of 0 samples cannot be; give 1 or more."),
        ("packed", "--data samples --out file", "file cannot be used (File exists)"),
        ("packed", "--data cut --out packs", "cut/0/albedo.png is not a readable picture (cannot identify"),
        ("graft", "--estimate gone --out made", f"gone is not a result of the stage estimate: it has no {WIDE}."),
        ("graft", "--estimate broken --out made", f"broken/{WIDE} is not a whole safetensors file"),
        ("graft", "--unison gone --out made", f"gone is not a result of the stage unison: it has no {WIDE} that names a hub."),
        ("ungraft", "--base gone --adapter team.safetensors --out made", "There is no folder gone"),
        ("ungraft", "--base base --adapter gone.safetensors --out made", "There is no adapter file gone.safetensors."),
        ("ungraft", "--base empty --adapter team.safetensors --out made", "empty is not a diffusers base"),
        ("ungraft", "--base base --adapter team.safetensors --out made", "is no UNet, and so none that `graft` made a team of."),
        ("bundle", "--base base --team gone --data samples --out made", "There is no folder gone"),
        ("bundle", "--base base --team empty --data samples --out made", "There is no adapter file empty/team.safetensors."),
        ("bundle", "--base empty --team empty --data samples --out made", "empty is not a diffusers base"),
        ("bundle", "--base base --team empty --data cut --out made", "cut/0/albedo.png"),
        ("bundle", "--base base --team empty --data samples --out made --float8 it", "--float8 it: there is no --other-base"),
        ("bundle", f"{BUNDLE} --data empty", "empty holds none of albedo, roughness, metalness, depth, diffuseshading"),
        ("bundle", f"{BUNDLE} --data samples --shrink it=4", "--shrink it: there is no adapter of that name; there are team."),
        ("bundle", f"{BUNDLE} --data samples --most-steps it=1", "--most-steps it: there is no adapter of that name"),
        ("bundle", f"{BUNDLE} --data samples --also team=base=shade", "--also names an adapter twice, or one 'team'"),
        ("bundle", f"{BUNDLE} --data samples --also it=base=shading", "There is no task 'shading'; the tasks are material,"),
        ("bundle", f"{BUNDLE} --data samples --task synthesise=4", "There is no task 'synthesise'; the tasks are material,"),
        ("bundle", f"{BUNDLE} --data samples --task synthesize=0", "A team of 0 steps cannot be"),
        ("generate_surfaces", "--materials samples --out made --count 1 --packed 0", "--packed is 0; expected 1 or more."),
        ("generate_surfaces", "--materials samples --out made --count 1 --size 0", "--size is 0; expected 1 or more."),
        ("generate_surfaces", "--materials samples --out made --count 0", "--count is 0; expected 1 or more."),
        ("generate_surfaces", "--materials samples --out made --count 1 --first -5", "--first is -5; expected 0 or more."),
        ("generate", "--materials samples --out made --count 1 --packed -1", "--packed is -1; expected 0 or more."),
        ("generate", "--materials samples --out made --count 1 --first -5", "--first is -5; expected 0 or more."),
        ("generate", "--materials samples --out made --count 1 --procedural 2", "--procedural is 2.0; expected a share from 0 to 1."),
        ("generate_surfaces", "--materials gone --out made --count 1", "There is no folder gone; name one with"),
        ("generate_surfaces", "--materials samples --out made --count 1", "samples holds no material; expected <material>/ with"),
        ("model_card", "--planes gone --card card.md", "there is no folder gone; --planes names a folder of samples."),
        ("model_card", "--planes samples --card gone.md", "gone.md cannot be used: No such file or directory."),
        ("model_card", "--planes samples --card card.md", "The card has no block <!-- planes -->"),
        ("gallery", "gone", "decomposition.png cannot be used; run scripts/demo.py first, and name its folder."),
    ],
)
def test_a_mistake_is_one_sentence(place, monkeypatch, capsys, command, words, said):
    monkeypatch.chdir(place)
    assert NAMES[command].main(words.split()) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and told.count("cannot be read") <= 1


def test_samples_that_cannot_be_evaluated_are_a_sentence(place, monkeypatch, capsys):
    def fails(command, **options):
        raise subprocess.CalledProcessError(2, command)

    monkeypatch.setattr(subprocess, "run", fails)
    monkeypatch.setattr(model_card, "speed", lambda: "fast")
    card = place / "whole.md"
    card.write_text("".join(f"<!-- {name} -->\n<!-- end -->\n" for name in ("speed", "scenes")))
    assert model_card.main(["--scenes", str(place / "samples"), "--card", str(card)]) == 2
    assert f"the samples in {place / 'samples'} cannot be evaluated" in capsys.readouterr().err and "fast" not in card.read_text()


@pytest.mark.parametrize("words", ["--also scenes", "--also a=b", "--turns team=two", "--detail =0.5", "--task shade"])
def test_an_entry_of_another_form_is_refused(place, capsys, words):
    with pytest.raises(SystemExit) as ended:
        bundle.main(["--base", "base", "--team", "a", "--data", "b", "--out", "c", *words.split()])
    assert ended.value.code == 2 and f"{words.split()[1]!r} is not " in capsys.readouterr().err


def test_help_says_what_each_takes_and_nothing_of_packages(capsys):
    command = [sys.executable, "-m", "engine_server.train.bundle", "--help"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage: python -m engine_server.train.bundle" in ended.stdout and "as training left it" in ended.stdout
    assert ended.stderr == ""
    for module, said in ((generate_panoramas, "panoramas that Blender bundles"), (gallery, "default: demo_output")):
        with pytest.raises(SystemExit) as stopped:
            module.main(["--help"])
        assert stopped.value.code == 0 and said in " ".join(capsys.readouterr().out.split())
