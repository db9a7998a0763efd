# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the house: who may import whom, how long files and functions are, what every file begins with."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("blender_addon", "engine_server", "scripts", "tests")
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
SOURCES = [p for p in FILES if p.relative_to(ROOT).parts[0] != "tests"]

FORBIDDEN = {
    "blender_addon/wire": {"bpy", "torch", "diffusers", "engine_server"},
    "blender_addon/session.py": {"bpy", "torch", "engine_server"},
    "blender_addon/launcher.py": {"bpy", "torch", "engine_server"},
    "blender_addon/job.py": {"bpy", "torch", "engine_server"},
    "blender_addon/storage.py": {"bpy", "torch", "engine_server"},
    "blender_addon/exr.py": {"bpy", "torch", "engine_server"},
    "blender_addon/ledger.py": {"bpy", "torch", "engine_server"},
    "blender_addon/environment": {"bpy", "torch", "engine_server"},
    "blender_addon": {"torch", "diffusers", "safetensors", "PIL", "engine_server", "scripts", "tests"},
    "engine_server/teamwork": {"bpy", "scripts", "tests", "zmq"},
    "engine_server/diffusion": {"bpy", "scripts", "tests", "zmq"},
    "engine_server": {"scripts", "tests"},
    "scripts": {"tests"},
}
"""What the files of a folder never import, not even inside a function."""
SERVER = (
    *("server", "request", "requests", "queue", "results", "supervisor", "process", "handover"),
    *("executor", "cluster/executor", "cluster/places", "cluster/errors"),
    *("settings", "models", "library", "offering", "downloads", "wakeup", "zap", "parent"),
    *("hub/offers", "hub/store", "hub/fetch", "hub/errors"),
)
NEVER = {"pickle", "marshal", "shelve", "dill"}
ABOVE = {"engine_server.server", "engine_server.train", "engine_server.tasks", "engine_server.team_run", "engine_server.runner"}
WITHIN = {
    "engine_server/teamwork": ABOVE,
    "engine_server/diffusion": ABOVE | {"engine_server.worker"},
}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever the statement stands."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def name(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(ROOT))


def functions(paths) -> list[ast.FunctionDef]:
    """All functions of some files."""
    trees = (ast.parse(p.read_text("utf-8")) for p in paths)
    return [n for tree in trees for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_nobody_imports_what_is_not_his(folder):
    files = [p for p in FILES if name(p).startswith(folder)]
    assert files
    for path in files:
        top = {module.split(".")[0] for module in imports(path)}
        assert not top & FORBIDDEN[folder], f"{name(path)} imports {top & FORBIDDEN[folder]}"


@pytest.mark.parametrize("folder", WITHIN)
def test_the_method_and_the_bases_know_nothing_of_the_engine(folder):
    for path in (p for p in FILES if name(p).startswith(folder)):
        for module in imports(path):
            assert not any(module == f or module.startswith(f"{f}.") for f in WITHIN[folder]), f"{name(path)}: {module}"


def test_the_method_never_needs_diffusers():
    for path in (ROOT / "engine_server" / "teamwork").glob("*.py"):
        assert not any(module.split(".")[0] == "diffusers" for module in imports(path)), name(path)


def test_the_engine_uses_blender_for_its_panoramas_only():
    users = {name(p) for p in FILES if name(p).startswith("engine_server") and "bpy" in imports(p)}
    assert users <= {"engine_server/train/generate_panoramas.py"}


def test_the_server_never_needs_torch():
    for stem in SERVER:
        top = {module.split(".")[0] for module in imports(ROOT / "engine_server" / f"{stem}.py")}
        assert not top & {"torch", "diffusers", "scipy", "PIL", "ray"}, stem


def test_the_protocol_needs_the_standard_library_numpy_and_zmq():
    for path in (ROOT / "blender_addon" / "wire").rglob("*.py"):
        for module in imports(path):
            top = module.split(".")[0]
            assert top in sys.stdlib_module_names | {"numpy", "zmq", "blender_addon"}, f"{name(path)}: {module}"


def test_importing_the_add_on_needs_no_blender():
    code = "import sys, blender_addon, blender_addon.wire, blender_addon.session; print('bpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_what_runs_in_threads_of_the_add_on_never_touches_blender():
    addon = ROOT / "blender_addon"
    threaded = [addon / f"{stem}.py" for stem in ("session", "launcher", "render_job", "motion", "previous_frame", "ledger")]
    for path in (*threaded, *(addon / "wire").rglob("*.py"), *(addon / "environment").rglob("*.py")):
        assert "bpy" not in {module.split(".")[0] for module in imports(path)}, name(path)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_each_file_is_in_order(path):
    text = path.read_text("utf-8")
    lines = text.splitlines()
    assert lines[0] == "# SPDX-License-Identifier: GPL-3.0-or-later"
    assert len(lines) <= 300, f"{len(lines)} lines: this is two files"
    assert max(map(len, lines)) <= 140
    assert not NEVER & {module.split(".")[0] for module in imports(path)}
    if len(lines) > 1:
        assert ast.get_docstring(ast.parse(text)), "no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_what_is_public_says_what_it_is(path):
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_functions_are_short():
    lengths = [node.end_lineno - node.lineno + 1 for node in functions(SOURCES)]
    assert statistics.median(lengths) < 10
    assert max(lengths) <= 60


def test_nothing_evaluates_text_inside_blender():
    for path in (ROOT / "blender_addon").rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        called = {function.id for function in calls if isinstance(function, ast.Name)}
        assert not called & {"eval", "exec", "compile", "__import__"}, name(path)


def test_no_path_of_one_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [ROOT / f for f in listed if Path(f).suffix in {".py", ".md", ".toml", ".txt"}]
    for path in texts:
        found = re.search(r"(?<![\w.])/(home|root|work|Users)/\w", path.read_text("utf-8"))
        assert not found, f"{name(path)}: {found.group()}"


def test_versions_agree():
    manifest = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    from engine_server import __version__

    assert manifest["version"] == project["version"] == __version__


def test_ci_runs_what_the_readme_says():
    readme = (ROOT / "README.md").read_text("utf-8")
    command = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert command == "python3 scripts/test.py" and command in readme
    assert "python3 scripts/demo.py" in readme


def test_the_bundled_weights_are_small():
    weights = list((ROOT / "engine_server" / "bundled").rglob("*.safetensors"))
    assert weights and sum(p.stat().st_size for p in weights) <= 48 * 2**20


PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("engine_server/**/*.md")})


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing, f"{name(page)} links to {', '.join(missing)}"
