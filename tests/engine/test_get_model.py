# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that a client has fetched: jobs with progress, cancelled and taken up again, and teams that run by their name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from blender_addon.wire import Cancelled, JobFailed, Progress, Result, Submit
from engine_server.hub.store import RECORD

from .conftest import end_of, everything_until, submit, wait_for
from .fetching import BIG, BIG_REPO, engine, files, hub, models  # noqa: F401 - fixtures


def test_a_fetched_team_runs_by_its_name_and_one_that_is_not_here_says_so(models, engine):
    with engine.client() as client:
        with pytest.raises(JobFailed, match="models get tiny-team") as caught:
            client.run(submit("early", "material", model="tiny-team"))
        assert caught.value.code == "model-missing"
        assert models("get", "tiny-team")[0] == 0
        assert "tiny-team" in [info.name for info in client.hello().models]
        one = client.run(submit("n1", "material", ("albedo",), model="tiny-team", steps=1), timeout=60)
        two = client.run(submit("n2", "material", ("albedo",), model="tiny-base+tiny-team", steps=1), timeout=60)
        assert np.array_equal(one.outputs["albedo"].data, two.outputs["albedo"].data)
        with pytest.raises(JobFailed, match=r"is a base: name an adapter for it"):
            client.run(submit("n3", "material", model="tiny-base"))


def test_a_client_has_a_model_fetched_with_progress_while_other_jobs_run(models, engine, hub):
    hub.slow = 0.1
    with engine.client() as client:
        known = {entry.name: entry for entry in client.catalogue()}
        assert known["nano"].place == "bundled" and known["tiny-team"].place == "at-the-hub" and known["flux1-dev"].token
        client.submit(Submit("get", "get-model", "big", {}, (), {}))
        client.run(submit("meanwhile"))
        seen = everything_until(client, Result, "get")
        steps = [message for message in seen if isinstance(message, Progress)]
        assert {(p.stage, p.total) for p in steps} == {("downloading", len(BIG) >> 20)}
        assert any(p.seconds_left is not None for p in steps) and seen[-1].info["bytes"] >= len(BIG)
        assert {entry.name: entry.place for entry in client.catalogue()}["big"] == "fetched"


def test_a_fetching_job_is_cancelled_at_once_and_goes_on_later(models, engine, hub):
    hub.slow = 0.1
    with engine.client() as client:
        client.submit(Submit("get", "get-model", "big", {}, (), {}))
        folder = models.home / "models" / "big"
        wait_for(lambda: sum(path.stat().st_size for path in folder.glob("*.part")) > 500_000)
        client.cancel("get")
        assert isinstance(end_of(client, "get"), Cancelled)
        hub.slow = 0.0
        client.run(Submit("again", "get-model", "big", {}, (), {}))
        assert hub.served[-1][1] > 500_000 and (folder / RECORD).is_file()


def test_a_fetching_job_that_cannot_be_done_fails_with_the_hubs_code(models, engine, hub):
    hub.gated.add(BIG_REPO)
    with engine.client() as client:
        for name, code in (("big", "token-needed"), ("tiny-base", ""), ("huge", "unknown-model")):
            if code:
                with pytest.raises(JobFailed) as caught:
                    client.run(Submit(f"get-{name}", "get-model", name, {}, (), {}))
                assert caught.value.code == code
            else:
                assert client.run(Submit(f"get-{name}", "get-model", name, {}, (), {})).info["bytes"] > 0


def test_what_fetching_says_is_in_the_log_with_its_job(models, launch, hub, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name, value in models.variables.items():
        monkeypatch.setenv(name, value)
    hub.cut, hub.cuts = 1_000_000, 1
    engine, log = launch("--log", str(tmp_path / "engine.log")), tmp_path / "engine.log"
    with engine.client() as client:
        client.run(Submit("get", "get-model", "big", {}, (), {}), timeout=60)
    wait_for(lambda: re.search(r"^20\S+ \S+ \d+ WARNING \[get\] .*Error while downloading", log.read_text(), re.M))
    assert engine.log.read_text().splitlines() == [f"ready {engine.address}"]


def test_an_engine_that_is_offline_fetches_nothing(models, launch, hub, monkeypatch):
    for name, value in models.variables.items():
        monkeypatch.setenv(name, value)
    with launch("--offline").client() as client, pytest.raises(JobFailed, match="started with --offline") as caught:
        client.run(Submit("get", "get-model", "big", {}, (), {}))
    assert caught.value.code == "offline" and not hub.served
