# SPDX-License-Identifier: GPL-3.0-or-later
"""Models as people get, see, use and remove them: the command in a process of its own, a hub on loopback, tiny real bases."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys

import pytest

from engine_server.hub.offers import Offer, offers, with_base
from engine_server.hub.store import RECORD
from engine_server.library import Unavailable, locate

from .conftest import ROOT, wait_for
from .fetching import BASE_REPO, BIG, BIG_REPO, ended, files, hub, models  # noqa: F401 - fixtures


def test_the_catalogue_is_in_order():
    for offer in offers().values():
        assert offer.kind in ("base", "adapter") and "/" in offer.repo and offer.licence and offer.title
        assert (offer.kind == "adapter") == bool(offer.file)
        assert [each.kind for each in with_base(offer)] == (["base", "adapter"] if offer.base else ["base"])
        if offer.kind == "base":
            assert offer.parameters > 0 and offer.family


def test_a_base_is_its_weights_in_one_precision():
    base = Offer("b", "base", "t", "o/r", "l")
    wanted = ("model_index.json", "transformer/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer_3/spiece.model")
    spared = ("README.md", "unet/x.fp16.safetensors", "vae/x.bin", "sd3_medium.safetensors", "safety_checker/model.safetensors")
    assert all(map(base.wants, wanted)) and not any(map(base.wants, spared))


def test_get_fetches_an_adapter_with_its_base_and_remove_frees_the_disk(models, hub):
    code, said = models("get", "tiny-team")
    assert code == 0, said
    assert "100.0 %" in said and "licence CC0-1.0" in said and f"huggingface.co/{BASE_REPO}" in said
    fetched = {path for path, _, _ in hub.served}
    assert "team.safetensors" in fetched and "transformer/config.json" in fetched
    assert not any(path.endswith((".png", ".bin", ".fp16.safetensors")) for path in fetched)
    listed = models()[1]
    assert listed.count("fetched") == 2 and "cc0-1.0" in listed
    served = len(hub.served)
    assert models("get", "tiny-team")[0] == 0 and len(hub.served) == served  # all here already
    code, said = models("remove", "tiny-base")
    assert code == 0 and "free again" in said and "tiny-team was made for it" in said
    assert not (models.home / "models" / "tiny-base").exists()
    assert "at the hub" in models("info", "tiny-base")[1]
    models("remove", "..")
    assert (models.home / "models").is_dir()


def test_a_lost_connection_is_taken_up_where_it_broke(models, hub):
    hub.cut, hub.cuts = 1_000_000, 2
    code, said = models("get", "big")
    assert code == 0, said
    assert (models.home / "models" / "big" / "big.safetensors").read_bytes() == BIG
    starts = [start for _, start, _ in hub.served]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2]
    assert hub.bytes_served("big.safetensors") < len(BIG) + 3 * 300_000  # what a lost connection takes along


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_process_loses_nothing(models, hub, how):
    hub.slow = 0.05
    process = models.start("get", "big")
    folder = models.home / "models" / "big"
    wait_for(lambda: sum(path.stat().st_size for path in folder.glob("*.part")) > 500_000)
    process.send_signal(how)
    code, said = ended(process)
    assert code in (-signal.SIGKILL, 130) and "Traceback" not in said
    begun = next(folder.glob("*.part")).stat().st_size
    assert not (folder / RECORD).exists() and "of it fetched" in models("info", "big")[1]
    hub.slow = 0.0
    assert models("get", "big")[0] == 0
    assert hub.served[-1][1] == begun > 500_000
    assert (folder / "big.safetensors").read_bytes() == BIG and not list(folder.glob("*.part"))


def test_what_was_begun_of_another_version_is_not_used(models, hub):
    folder = models.home / "models" / "big"
    folder.mkdir(parents=True)
    (folder / "big.safetensors.000000000000.part").write_bytes(b"old" * 1000)
    assert models("get", "big")[0] == 0
    assert (folder / "big.safetensors").read_bytes() == BIG and not list(folder.glob("*.part"))


def test_whole_files_of_another_version_are_not_kept(models, hub, files):
    folder = models.home / "models" / "tiny-base"
    shutil.copytree(files / "base", folder)
    same, longer = folder / "transformer" / "config.json", folder / "vae" / "config.json"
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    true = {path: path.read_bytes() for path in (same, longer, weights)}
    same.write_bytes(true[same].replace(b"4", b"5"))
    longer.write_bytes(true[longer] + b" ")
    weights.write_bytes(bytes(len(true[weights])))
    gone = folder / "transformer" / "diffusion_pytorch_model-00001-of-00002.safetensors"
    gone.write_bytes(b"old")
    code, said = models("get", "tiny-base")
    assert code == 0 and "100.0 %" in said, said
    assert {path: path.read_bytes() for path in true} == true and not gone.exists()
    assert {path for path, _, _ in hub.served} == {path.relative_to(folder).as_posix() for path in true}


@pytest.mark.parametrize("ignore_range", [False, True])
def test_a_damaged_beginning_is_fetched_anew(models, hub, ignore_range):
    models("get", "big")
    whole = models.home / "models" / "big" / "big.safetensors"
    record = whole.with_name(RECORD)
    record.unlink()
    begun = whole.with_name(f"big.safetensors.{hashlib.sha256(BIG).hexdigest()[:12]}.part")
    whole.rename(begun)
    begun.write_bytes(b"\0" * 100_000)
    hub.ignore_range = ignore_range
    code, said = models("get", "big")
    assert code == 0 and whole.read_bytes() == BIG, said


def test_a_file_that_is_not_what_the_hub_says_is_refused(models, hub, files):
    hub.claimed = len(BIG) - 5  # the sum and the size do not fit what is served
    code, said = models("get", "big")
    assert code == 2 and "Traceback" not in said and not (models.home / "models" / "big" / RECORD).exists()


def test_gated_files_ask_for_a_token_and_are_fetched_with_one(models, hub):
    hub.gated.add(BIG_REPO)
    code, said = models("get", "big")
    assert code == 2 and "needs a token: accept its licence" in said and f"huggingface.co/{BIG_REPO}" in said
    code, said = models("get", "big", HF_TOKEN="hf_wrongwrongwrongwrongwrongwrong")
    assert code == 2 and "has not accepted" in said and "hf_" not in said
    code, said = models("get", "big", HF_TOKEN=hub.token)
    assert code == 0 and hub.token not in said and hub.token in hub.tokens


@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        (("get", "big", "--offline"), {}, "ruled out by --offline"),
        (("get", "big"), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (("get", "big"), {"HF_ENDPOINT": "http://127.0.0.1:1"}, "hub cannot be reached"),
        (("get", "nano"), {}, "need not be fetched: it is bundled"),
        (("get", "huge"), {}, "no model 'huge'; there are nano"),
        (("info", "huge"), {}, "no model 'huge'"),
        (("remove", "nano"), {}, "was not fetched by the engine"),
        (("remove", "big"), {}, "No model 'big' was fetched"),
        (("remove", "../keys"), {}, "No model '../keys' was fetched"),
        (("remove",), {}, "Name a model: models remove NAME"),
        (("get",), {}, "Name a model: models get NAME"),
        (("info",), {}, "Name a model: models info NAME"),
        (("list", "nano"), {}, "list takes no name; `models info nano`"),
        (("list", "--models", "nosuch"), {}, "There is no folder nosuch: --models names a folder of models."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(models, words, variables, told):
    code, said = models(*words, **variables)
    assert code == 2 and told in said.splitlines()[-1] and "Traceback" not in said


def test_a_missing_repository_is_one_sentence(models, hub):
    del hub.repos[BIG_REPO]
    code, said = models("get", "big")
    assert code == 2 and f"no repository {BIG_REPO}" in said


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(models, hub):
    hub.claimed = 10**15
    code, said = models("get", "big")
    assert code == 2 and "1000000.0 GB are needed" in said and not hub.served


def test_run_takes_a_fetched_team_by_its_name(models, tmp_path):
    assert models("get", "tiny-team")[0] == 0
    for name in ("tiny-team", "tiny-base+tiny-team"):
        words = ["run", "--base", name, "--width", "16", "--height", "16", "--request", "albedo", "--steps", "1"]
        command = [sys.executable, "-m", "engine_server", *words, "--out", str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, env=models.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and (tmp_path / name / "albedo.png").is_file(), done.stderr


def test_bases_and_adapters_of_a_folder_are_models(models, files, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    shutil.copytree(files / "base", folder / "my-base")
    shutil.copy(files / "teams" / "team.safetensors", folder / "my-team.safetensors")
    listed = models("list", "--models", str(folder))[1]
    assert "my-base" in listed and "my-team" in listed and listed.count("in a folder") == 2
    monkeypatch.setenv("TEAMWORK_HOME", str(tmp_path / "home"))
    place = locate("my-base+my-team", "material", [folder])
    assert (place.base, place.adapter) == (str(folder / "my-base"), str(folder / "my-team.safetensors"))
    with pytest.raises(Unavailable, match=r"was made for SD3, which is not here"):
        locate("my-team", "material", [folder])


@pytest.mark.parametrize(
    ("name", "variables", "told"),
    [
        (BIG_REPO, {}, "is not a diffusers base: no transformer/config.json or unet/config.json was found there."),
        ("owner/typo", {}, "There is no folder owner/typo, and the hub shows no model of that name"),
        (BASE_REPO, {}, f"needs a token: accept its licence at https://huggingface.co/{BASE_REPO}"),
        (BIG_REPO, {"HF_HUB_OFFLINE": "1"}, f"There is no folder {BIG_REPO}, and the hub cannot be reached"),
    ],
)
def test_a_base_that_is_not_there_says_why(models, hub, name, variables, told):
    hub.gated.add(BASE_REPO)
    adapter = str(ROOT / "engine_server/bundled/nano/team.safetensors")
    words = ("--base", name, "--adapter", adapter, "--width", "8", "--height", "8", "--out", str(models.home))
    command = [sys.executable, "-m", "engine_server", "run", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    code, said = ended(subprocess.Popen(command, cwd=ROOT, env=models.variables | variables, **pipes))
    assert code == 2 and told in said.splitlines()[-1] and "Traceback" not in said
