# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol between Blender and the engine, described in `PROTOCOL.md`. Standard library, NumPy and pyzmq only.

    with Client(address, Credentials.local()) as client:
        result = client.run(Submit("job-1", "material", "nano", {"image": ChannelImage(photo, "scene-linear")}, (), {}))
"""

from __future__ import annotations

from .address import DEFAULT_PORT, full_address, is_loopback
from .client import Client
from .codes import CODES
from .credentials import OWN_CLIENT, Credentials, KeyPair, KeyRing
from .errors import (
    CredentialsError,
    EngineSilent,
    HandoverLost,
    JobCancelled,
    JobFailed,
    ProtocolError,
    VersionMismatch,
    WireError,
)
from .frames import Envelope, decode, encode
from .home import EngineRecord, home_folder, read_engine_record
from .image import SPACES, ChannelImage, check_image
from .in_order import run_in_order
from .limits import PROTOCOL
from .messages import (
    ENDS,
    FROM_CLIENT,
    FROM_ENGINE,
    Accepted,
    Acknowledge,
    Alive,
    Cancel,
    Cancelled,
    Catalogue,
    CatalogueEntry,
    Failed,
    Failure,
    Fetch,
    GetCatalogue,
    GetJobs,
    GetStatus,
    Heartbeat,
    Hello,
    JobInfo,
    Jobs,
    Message,
    ModelInfo,
    Progress,
    Refused,
    Result,
    Share,
    Shared,
    Status,
    Submit,
    Unload,
    Welcome,
)
from .schema import one_line

__all__ = [
    "CODES",
    "DEFAULT_PORT",
    "ENDS",
    "FROM_CLIENT",
    "FROM_ENGINE",
    "OWN_CLIENT",
    "PROTOCOL",
    "SPACES",
    "Accepted",
    "Acknowledge",
    "Alive",
    "Cancel",
    "Cancelled",
    "Catalogue",
    "CatalogueEntry",
    "ChannelImage",
    "Client",
    "Credentials",
    "CredentialsError",
    "EngineRecord",
    "EngineSilent",
    "Envelope",
    "Failed",
    "Failure",
    "Fetch",
    "GetCatalogue",
    "GetJobs",
    "GetStatus",
    "HandoverLost",
    "Heartbeat",
    "Hello",
    "JobCancelled",
    "JobFailed",
    "JobInfo",
    "Jobs",
    "KeyPair",
    "KeyRing",
    "Message",
    "ModelInfo",
    "Progress",
    "ProtocolError",
    "Refused",
    "Result",
    "Share",
    "Shared",
    "Status",
    "Submit",
    "Unload",
    "VersionMismatch",
    "Welcome",
    "WireError",
    "check_image",
    "decode",
    "encode",
    "full_address",
    "home_folder",
    "is_loopback",
    "one_line",
    "read_engine_record",
    "run_in_order",
]
