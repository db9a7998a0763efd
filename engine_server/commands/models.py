# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m engine_server models`: what there is and what could be fetched; fetch it, remove it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..hub.errors import HubError
from ..hub.offers import offers, with_base
from ..hub.store import begun, installed, models_folder, remove
from ..library import ADAPTER, AT_HUB, FETCHED, TEAM, Entry, entries
from ..models import ModelError, team_info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = ("list", "info", "get", "remove")
    parser.add_argument("action", nargs="?", default="list", choices=actions, help="what to do (default: list)")
    parser.add_argument("name", nargs="?", help="a model, for info, get and remove")
    parser.add_argument("--models", type=Path, action="append", default=[], metavar="DIR", help="a folder of further models")
    parser.add_argument("--home", type=Path, metavar="DIR", help="where models are kept (default: TEAMWORK_HOME or user's data)")
    parser.add_argument("--offline", action="store_true", help="use no network; HF_HUB_OFFLINE=1 does the same")


def main(args: argparse.Namespace) -> int:
    """Do it; 0 when it is done, 2 after a sentence on what to mend."""
    if args.home:
        os.environ["TEAMWORK_HOME"] = str(args.home.absolute())
    try:
        _check(args)
        if args.action == "list":
            _list(entries(args.models).values())
        else:
            {"info": _info, "get": _get, "remove": _remove}[args.action](args.name or "", args)
    except (ModelError, HubError) as error:
        print(f"models: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmodels: stopped; what was fetched is kept, and the next get goes on from there.", file=sys.stderr)
        return 130
    return 0


def _check(args: argparse.Namespace) -> None:
    for folder in args.models:
        if not folder.is_dir():
            raise ModelError(f"There is no folder {folder}: --models names a folder of models.")
    if args.action != "list" and not args.name:
        raise ModelError(f"Name a model: models {args.action} NAME; `models` lists them.")
    if args.action == "list" and args.name:
        raise ModelError(f"list takes no name; `models info {args.name}` tells of one.")


def _list(known) -> None:
    print(f"{'NAME':<32} {'KIND':<8} {'WHERE':<12} {'DISK':>9} {'MEMORY':>9}  {'LICENCE':<34} TITLE")
    for entry in known:
        token = " (token)" if entry.token else ""
        sizes = f"{_size(entry.size_bytes):>9} {_size(entry.memory_bytes):>9}"
        print(f"{entry.name:<32} {entry.kind:<8} {entry.place:<12} {sizes}  {entry.licence + token:<34} {entry.title}")


def _size(count: int) -> str:
    if not count:
        return "?"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _named(name: str, args: argparse.Namespace) -> Entry:
    known = entries(args.models)
    if name not in known:
        raise ModelError(f"There is no model {name!r}; there are {', '.join(known)}.")
    return known[name]


def _info(name: str, args: argparse.Namespace) -> None:
    entry = _named(name, args)
    print(f"{entry.name}: {entry.title}")
    print(f"kind         {entry.kind}, {entry.place}{f': {entry.path}' if entry.path else ''}")
    print(f"licence      {entry.licence}")
    print(f"disk         {_size(entry.size_bytes)}{_begun(entry)}")
    print(f"memory       about {_size(entry.memory_bytes)}")
    print(f"token        {'needed: accept the licence on the page first' if entry.token else 'not needed'}")
    if entry.offer:
        print(f"page         {entry.offer.page}")
    if entry.kind == ADAPTER:
        print(f"base         {entry.base or 'not named by its file'}")
    if entry.kind == TEAM:
        info = team_info(entry.path)
        print(f"teammates    {', '.join(info.teammates)}")
        print(f"native size  {info.native_size} pixels; {info.default_steps} steps by default")


def _begun(entry: Entry) -> str:
    count = begun(entry.name) if entry.place == AT_HUB else 0
    return f", {_size(count)} of it fetched" if count else ""


def _get(name: str, args: argparse.Namespace) -> None:
    from ..hub.fetch import fetch

    if name not in offers():
        entry = _named(name, args)
        raise ModelError(f"{name} need not be fetched: it is {entry.place}, at {entry.path}.")
    wanted = with_base(offers()[name])
    for offer in wanted:
        print(f"{offer.name}: licence {offer.licence}, {offer.page}", flush=True)
    for model in fetch(wanted, None, _Bar(), args.offline):
        print(f"\n{model.name} is at {model.path} ({_size(model.size_bytes)})", end="")
    print()


class _Bar:
    """Progress on one line of a terminal, or a line for every tenth in a file."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        """So many bytes are here."""
        steps = 1000 if sys.stdout.isatty() else 10
        part = done * steps // total if total else 0
        if total and part != self._shown:
            self._shown = part
            start, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
            print(f"{start}{_size(done)} of {_size(total)}, {100 * done / total:.1f} %  ", end=end, flush=True)


def _remove(name: str, args: argparse.Namespace) -> None:
    entry = entries(args.models).get(name)
    if entry is not None and entry.place not in (FETCHED, AT_HUB):
        raise ModelError(f"{name} was not fetched by the engine: it is {entry.place}, at {entry.path}; delete it there.")
    freed = remove(name)
    if freed is None:
        here = ", ".join(installed()) or "none"
        raise ModelError(f"No model {name!r} was fetched into {models_folder()}; fetched: {here}.")
    print(f"{name} is removed; {_size(freed)} are free again.")
    for other in installed().values():
        if other.base == name:
            print(f"{other.name} was made for it and cannot be used until {name} is fetched again.")
