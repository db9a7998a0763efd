# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server serve`: the server, until a signal or the end of its parent process stops it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import zmq

from blender_addon.wire import WireError, full_address, home_folder

from ..cluster.errors import ClusterError
from ..logs import set_up_logging
from ..models import FOLDERS_VARIABLE
from ..server import Server
from ..settings import Settings


DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hpu|npu|mlu|musa|mtia|privateuseone)(:\d+)?")
"""What PyTorch's devices are called; whether this computer has one is asked by the worker, since the server needs no PyTorch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    default = Settings(Path())
    parser.add_argument("--address", default=default.address, help="host:port; port 0 is any free one (default: %(default)s)")
    parser.add_argument("--device", default="", help="cpu, cuda, cuda:0,cuda:1 ...: one worker each (default: cpu)")
    parser.add_argument("--home", type=Path, metavar="DIR", help="keys and state (default: TEAMWORK_HOME or the user's data)")
    parser.add_argument("--models", type=Path, action="append", default=[], metavar="DIR", help="a folder of further teams")
    parser.add_argument("--queue", type=int, default=default.queue_limit, metavar="N", help="waiting jobs (default: %(default)s)")
    parser.add_argument("--warm", action="store_true", help="start the worker now, and have it import what jobs need")
    parser.add_argument("--warm-bytes", type=size, default=0, metavar="SIZE", help="for models that stay loaded, as in 8G")
    parser.add_argument("--memory-limit", type=size, default=0, metavar="SIZE", help="the most that a worker takes of its device")
    parser.add_argument("--offline", action="store_true", help="fetch no models; HF_HUB_OFFLINE=1 does the same")
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="stop when this process ends")
    parser.add_argument(
        "--hang-limit",
        type=float,
        default=default.hang_limit,
        metavar="SECONDS",
        help="end a worker that is silent for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--start-limit",
        type=float,
        default=default.start_limit,
        metavar="SECONDS",
        help="what a worker has for coming up; more for a cluster that grows on demand (default: %(default)s)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=default.drain,
        metavar="SECONDS",
        help="what running jobs have when the engine is told to stop; a second signal stops at once (default: %(default)s)",
    )
    parser.add_argument(
        "--keep",
        type=float,
        default=default.results_keep / 3600,
        metavar="HOURS",
        help="how long a result waits for its client (default: %(default)g)",
    )
    _add_cluster_arguments(parser, default)
    parser.add_argument("--metrics", default="", metavar="HOST:PORT", help="tell Prometheus there how things are (default: nowhere)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="log to this file, rotated at 10 MB, not to standard error")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def _add_cluster_arguments(parser: argparse.ArgumentParser, default: Settings) -> None:
    group = parser.add_argument_group("beyond one computer", "Needs the extra 'cluster', on each of them.")
    group.add_argument(
        "--cluster",
        default="",
        metavar="ADDRESS",
        help="run jobs in the Ray cluster there (host:port, auto), or in one on this computer (local); --device is cuda or cpu",
    )
    group.add_argument(
        "--workers",
        type=int,
        default=default.cluster_workers,
        metavar="N",
        help="workers of the cluster (default: one for each GPU; without GPUs one for each computer)",
    )
    group.add_argument(
        "--cluster-port", type=int, default=0, metavar="PORT", help="where workers reach this engine (default: any free port)"
    )


def size(text: str) -> int:
    """Bytes in words: 2000000, 500M, 8G, 1.5GB. Raises `argparse.ArgumentTypeError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; expected bytes, or a number with K, M, G or T, as in 8G")
    return round(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def main(args: argparse.Namespace) -> int:
    """Serve; 0 after a clean stop, 2 after a sentence on what to mend."""
    if mistake := _mistake(args):
        return _refuse(mistake)
    try:
        set_up_logging(args.log_level, args.log)
    except OSError as error:
        return _refuse(f"The log {args.log} cannot be written: {error.strerror}. Choose another file.")
    try:
        server = Server(_settings(args))
    except KeyboardInterrupt:
        return 130
    except (WireError, ClusterError) as error:
        return _refuse(str(error))
    except zmq.ZMQError as error:
        return _refuse(f"The engine cannot listen at {args.address}: {error.strerror}. Choose another port, or 0 for any.")
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        return _refuse(f"The engine cannot start ({error.strerror}{named}): make room on its disk, or mend what is named here.")
    print(f"ready {server.address}", flush=True)
    if server.metrics is not None:
        print(f"metrics at port {server.metrics.port}", flush=True)
    try:
        server.serve()
    except WireError as error:
        return _refuse(str(error))
    return 0


def _refuse(sentence: str) -> int:
    print(f"serve: {sentence}", file=sys.stderr)
    return 2


def _mistake(args: argparse.Namespace) -> str:
    """A sentence on options that would do nothing, or only fail with the first job; "" where there is none."""
    for device in _devices(args):
        if not DEVICE.fullmatch(device):
            return f"There is no device called {device!r}: name cpu, cuda, cuda:1, mps or xpu, several with commas between."
    for folder in args.models:
        if not folder.is_dir():
            return f"There is no folder {folder}: --models names a folder of teams."
    if args.workers and not args.cluster:
        return "--workers is for a cluster: give --cluster, too, or name a device for each worker, as in --device cuda:0,cuda:1."
    if args.cluster_port and not args.cluster:
        return "--cluster-port is for a cluster: give --cluster, too, or leave it out."
    if not 0 <= args.cluster_port <= 65535:
        return f"--cluster-port is {args.cluster_port}; expected a port, 1 to 65535, or 0 for any."
    if args.queue < 1:
        return f"--queue is {args.queue}; expected 1 or more, or nobody could send a job."
    for name in ("hang_limit", "start_limit", "keep"):
        if not getattr(args, name) > 0:  # nor is "nan"
            return f"--{name.replace('_', '-')} is {getattr(args, name):g}; expected more than 0."
    if not args.drain >= 0:
        return f"--drain is {args.drain:g}; expected 0 or more seconds."
    return ""


def _devices(args: argparse.Namespace) -> tuple[str, ...]:
    named = tuple(device.strip() for device in args.device.split(",") if device.strip())
    return named if args.cluster else named or ("cpu",)


def _settings(args: argparse.Namespace) -> Settings:
    # Workers find teams by the environment, which they inherit.
    listed = [*(str(folder.absolute()) for folder in args.models), os.environ.get(FOLDERS_VARIABLE, "")]
    os.environ[FOLDERS_VARIABLE] = os.pathsep.join(filter(None, listed))
    home = home_folder(args.home)
    os.environ["TEAMWORK_HOME"] = str(home)
    return Settings(
        home=home,
        address=full_address(args.address),
        devices=_devices(args),
        cluster=args.cluster,
        cluster_workers=args.workers,
        cluster_port=args.cluster_port,
        models=tuple(folder.absolute() for folder in args.models),
        parent_pid=args.parent_pid,
        warm=args.warm,
        offline=args.offline,
        metrics=args.metrics,
        warm_bytes=args.warm_bytes,
        memory_limit=args.memory_limit,
        queue_limit=args.queue,
        hang_limit=args.hang_limit,
        start_limit=args.start_limit,
        drain=args.drain,
        results_keep=args.keep * 3600,
    )
