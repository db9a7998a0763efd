# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of pictures through an engine: in order, over several workers, taken up again after any kind of end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blender_addon.png import encode_png
from blender_addon.wire import ChannelImage, Failed, Result, run_in_order
from engine_server.__main__ import main
from engine_server.batch import BatchError, Piece, Request, pieces
from engine_server.pictures import load, save

from .conftest import ROOT, Engine, end_of, submit, wait_for


@pytest.fixture
def photos(tmp_path) -> Path:
    """Five photos whose names sort otherwise than their numbers."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2, 9, 10, 11):
        pixels = np.random.default_rng(number).random((10, 14, 3))
        (folder / f"shot{number}.png").write_bytes(encode_png(pixels))
    return folder


def words(engine: Engine, photos: Path, out: Path, *more: str) -> list[str]:
    """A batch of materials."""
    to_it = ["--home", str(engine.home), "--model", "tiny", "--request", "albedo,normals", "--steps", "1"]
    return ["batch", "material", "--image", f"image={photos}", "--out", str(out), *to_it, *more]


def shots(said: str) -> list[str]:
    """The pictures that a batch tells of, in its order."""
    return re.findall(r"^\[\d/5\] (\w+):", said, re.MULTILINE)


def test_a_folder_is_made_in_order_and_only_once(shared, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(shared, photos, out)) == 0
    assert shots(capsys.readouterr().out) == ["shot1", "shot2", "shot9", "shot10", "shot11"]
    record = json.loads((out / "records" / "shot2.json").read_text())
    assert record["files"] == ["shot2/albedo.png", "shot2/normals.png"] and record["made"]["model"] == "tiny"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(before) == 10
    (out / "shot9" / "albedo.png").unlink()
    (photos / "shot11.png").write_bytes(encode_png(np.zeros((10, 14, 3))))
    assert main(words(shared, photos, out)) == 0
    assert shots(capsys.readouterr().out) == ["shot9", "shot11"]
    changed = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"shot9", "shot11"}
    assert main(words(shared, photos, out, "--seed", "3", "--option", "exposure=1.5")) == 0
    assert len(shots(capsys.readouterr().out)) == 5
    made = json.loads((out / "records" / "shot2.json").read_text())["made"]
    assert made["seed"] == 3 and made["exposure"] == pytest.approx(2**1.5)
    assert main(words(shared, photos, out, "--option", "exposure=light")) == 1
    assert "The option exposure is 'light'" in capsys.readouterr().out
    with shared.client() as client:
        assert not [job for job in client.jobs() if job.job_id.startswith("batch-")]


def test_channels_can_have_the_folders_and_numbers_be_exact(shared, photos, tmp_path):
    out = tmp_path / "out"
    assert main(words(shared, photos, out, "--folders", "channel", "--format", "npy")) == 0
    normals = np.load(out / "normals" / "shot10.npy")
    assert normals.shape == (10, 14, 3) and np.allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-4)
    with shared.client() as client:
        job = submit("alone", "material", ("albedo", "normals"), steps=1)
        image = load(photos / "shot10.png", "image", "material")
        alone = client.run(type(job)("alone", "material", "tiny", {"image": image}, job.outputs, job.options))
    assert np.array_equal(normals, alone.outputs["normals"].data)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--model", "nosuch"), "There is no model 'nosuch'"),
        (("--request", "beauty"), "'beauty' was requested"),
    ],
)
def test_what_the_engine_refuses_for_every_picture_is_said_once(shared, photos, tmp_path, capsys, more, told):
    assert main(words(shared, photos, tmp_path / "out", *more)) == 2
    said = capsys.readouterr()
    assert not shots(said.out) and said.err.count(told) == 1


def test_a_picture_that_cannot_be_made_is_said_and_the_others_are(shared, photos, tmp_path, capsys):
    (photos / "shot9.png").write_bytes(b"no picture")
    assert main(words(shared, photos, tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert sorted(shots(said.out)) == sorted(["shot1", "shot2", "shot9", "shot10", "shot11"])
    assert "shot9: failed: " in said.out and "1 of 5 could not be made" in said.err


def test_what_was_killed_goes_on_and_nothing_is_half_there(launch, photos, tmp_path, capsys):
    engine, out = launch(), tmp_path / "out"
    slow = [*words(engine, photos, out), "--steps", "60"]
    run = subprocess.Popen([sys.executable, "-m", "engine_server", *slow], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert shots(next(run.stdout)) == ["shot1"]
    run.send_signal(signal.SIGKILL)
    run.wait()
    there = len(list((out / "records").glob("*.json")))
    assert 1 <= there < 5
    assert main(slow) == 0
    assert shots(capsys.readouterr().out) == ["shot1", "shot2", "shot9", "shot10", "shot11"][there:]
    assert sorted(path.suffix for path in out.rglob("*") if path.is_file()) == [".json"] * 5 + [".png"] * 10


def test_ctrl_c_cancels_and_says_how_to_go_on(launch, photos, tmp_path):
    engine = launch()
    slow = [*words(engine, photos, tmp_path / "out"), "--steps", "1000"]
    run = subprocess.Popen([sys.executable, "-m", "engine_server", *slow], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with engine.client() as client:
        wait_for(lambda: "running" in [job.state for job in client.jobs()])
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=30)[1]
        assert (run.returncode, said) == (130, "batch: stopped; the same command goes on from there.\n")
        wait_for(lambda: not client.jobs())


def test_without_an_engine_or_with_odd_folders_there_is_one_sentence(shared, photos, tmp_path, capsys):
    for more, sentence in {
        ("--home", str(tmp_path / "nobody")): "No engine runs with this home folder",
        ("--image", "normals"): "expected CHANNEL=FOLDER",
        ("--option", "exposure"): "expected NAME=VALUE",
        ("--image", f"normals={tmp_path / 'none'}"): "There is no folder",
        ("--image", f"normals={tmp_path / 'out'}"): "has no pictures",
        ("--image", f"normals={photos / 'shot1.png'}"): "shot1.png is no folder; --image takes a folder of pictures",
        ("--image", f"image={tmp_path}"): "--image gives image twice",
        ("--option", "exposur=3"): "There is no option 'exposur'; there are seed, steps",
        ("--out", str(photos / "shot1.png")): "shot1.png is a file; --out names a folder for the results",
        ("--out", str(photos / "shot1.png" / "further")): "shot1.png is a file; --out names a folder for the results",
    }.items():
        (tmp_path / "out").mkdir(exist_ok=True)
        assert main(words(shared, photos, tmp_path / "out", *more)) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1


def test_pictures_of_several_channels_belong_together_by_name(photos, tmp_path):
    other = tmp_path / "albedo"
    other.mkdir()
    (other / "shot1.npy").touch()
    with pytest.raises(BatchError, match="no picture 'shot2' for the channel albedo"):
        pieces({"image": photos, "albedo": other})
    (photos / "shot1.jpg").touch()
    with pytest.raises(BatchError, match="have the same name"):
        pieces({"image": photos})


def test_hidden_files_are_no_pictures_and_those_of_other_kinds_are_told(shared, photos, tmp_path, capsys):
    for name in ("._shot1.png", "shot3.tif", "._shot3.tif", "notes.txt"):
        (photos / name).write_bytes(b"nothing that is read")
    assert main(words(shared, photos, tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert len(shots(said)) == 5 and f"left out of {photos}: shot3.tif, 1 in all" in said


def test_given_pictures_are_never_written_over(shared, photos, tmp_path, capsys):
    given = photos.rename(tmp_path / "albedo")
    before = {path: path.read_bytes() for path in given.iterdir()}
    command = ["batch", "inpaint", "--image", f"albedo={given}", "--image", f"mask={given}", "--folders", "channel"]
    assert main([*command, "--home", str(shared.home), "--model", "tiny", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "shot1.png is a given picture, and a result would be written over it; choose another --out" in said
    assert {path: path.read_bytes() for path in given.iterdir()} == before


def test_a_job_is_the_same_only_for_the_same_files_and_request(photos):
    request, first = Request("material", "tiny"), Piece("a", {"image": photos / "shot1.png"})
    others = [
        Piece("b", first.files).job_id(request),
        Piece("a", {"image": photos / "shot2.png"}).job_id(request),
        first.job_id(Request("material", "tiny", options={"seed": 1})),
    ]
    assert first.job_id(request) == first.job_id(Request("material", "tiny")) not in others and len(set(others)) == 3


@pytest.mark.parametrize(("channel", "space"), [("albedo", "scene-linear"), ("roughness", "data"), ("normals", "tangent-normal")])
def test_what_is_saved_is_loaded_again(channel, space, tmp_path):
    random = np.random.default_rng(0).random((5, 7, 1 if channel == "roughness" else 3), np.float32)
    vectors = random * 2 - 1
    values = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) if channel == "normals" else random
    for kind, error in {"npy": 0, "png": 1e-4}.items():
        save(tmp_path / f"a.{kind}", ChannelImage(values, space), kind)
        again = load(tmp_path / f"a.{kind}", channel, "material")
        assert again.space == space and np.abs(again.data - values).max() <= error


def test_ends_come_in_order_and_a_full_queue_gets_the_rest_later(launch):
    engine = launch("--queue", "1", "--device", "cpu,cpu")
    times = [6, 1, 1, 4, 1, 1]
    jobs = [submit(f"job-{n}", steps=count, seconds_per_step=0.05) for n, count in enumerate(times)]
    jobs.insert(3, submit("odd", task="nonsense"))
    with engine.client() as client:
        ends = list(run_in_order(client, jobs, in_flight=5))
        assert [end.job_id for end in ends] == [job.job_id for job in jobs]
        assert [type(end) for end in ends] == [Failed if job.job_id == "odd" else Result for job in jobs]
        wait_for(lambda: not client.jobs())


def test_who_leaves_early_has_the_rest_cancelled(launch):
    jobs = (submit(f"early-{n}", steps=1 if n == 0 else 10_000, seconds_per_step=0.05) for n in range(10))
    with launch().client() as client:
        ends = run_in_order(client, jobs, in_flight=3)
        assert next(ends).job_id == "early-0"
        ends.close()
        assert next(jobs).job_id == "early-3"  # nothing is taken that there is no room for
        wait_for(lambda: [(job.job_id, job.state) for job in client.jobs()] == [("early-0", "done")])
        client.submit(submit("after"))
        assert isinstance(end_of(client, "after"), Result)


@pytest.mark.parametrize(("mode", "components"), [("RGB", 3), ("RGBA", 4), ("L", 3), ("LA", 4)])
def test_the_alpha_of_a_surface_goes_along_with_its_photo(tmp_path, mode, components):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, len(mode)), np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(tmp_path / "leaf.png")
    seen, scene = (load(tmp_path / "leaf.png", "image", task).data for task in ("material", "decompose"))
    assert seen.shape == (6, 5, components) and scene.shape == (6, 5, 3) and np.array_equal(seen[..., :3], scene)
    assert components == 3 or np.allclose(seen[..., 3] * 255, pixels[..., -1], atol=1e-3)
