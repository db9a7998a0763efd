# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled team made patient, for jobs of many steps."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from engine_server.models import BUNDLED, FOLDERS_VARIABLE

PATIENT = "patient"
IMPATIENT = ("most_steps", "turns", "shifts")


@contextmanager
def patient_team() -> Iterator[None]:
    """Within this block engines that are started here, and this process, also have the team `PATIENT`: the bundled one, which takes as
    many steps as it is asked for, each of a single view of the picture. What it makes of more than one is nothing to look at; it takes
    the time of a team that was trained for them."""
    with tempfile.TemporaryDirectory(prefix="teamwork-benchmark-models-") as folder:
        made = Path(folder) / PATIENT
        shutil.copytree(BUNDLED / "nano", made)
        facts = json.loads((made / "team.json").read_text("utf-8"))
        kept = {name: value for name, value in facts.items() if name not in IMPATIENT}
        (made / "team.json").write_text(json.dumps(kept), "utf-8")
        with patch.dict(os.environ, {FOLDERS_VARIABLE: folder}):
            yield
