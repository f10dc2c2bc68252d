"""What is built is what is on disk: the wheel, the source archive, the editable installation."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from build import ProjectBuilder
from pyproject_hooks import quiet_subprocess_runner

from tests.support.sources import MODULES, ROOT

FOLDERS = {
    "plugin": "detailed_balance",
    "callbacks": "detailed_balance/callbacks",
    "analyzers": "detailed_balance/analyzers",
    "examples/demo": "detailed_balance/demo",
}
LINKS = {
    "src/detailed_balance": "plugin",
    "plugin/callbacks": "callbacks",
    "plugin/analyzers": "analyzers",
    "plugin/demo": "examples/demo",
}
NEEDED = ["LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"]
SOME = ["detailed_balance", "detailed_balance.readers", "detailed_balance.callbacks.graph"]
SOME += ["detailed_balance.analyzers.counts"]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(tree: Path, *kinds: str) -> None:
    """Build into `tree`/dist as `python -m build` does, with what the environment has."""
    builder = ProjectBuilder(tree, runner=quiet_subprocess_runner)
    for kind in kinds:
        builder.build(kind, tree / "dist")


def built(tree: Path, kind: str) -> Path:
    (file,) = (tree / "dist").glob(f"*.{kind}")
    return file


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with the wheel and the source archive built from it in dist."""
    copy = tmp_path_factory.mktemp("packaging") / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unwanted)
    build(copy, "sdist", "wheel")
    return copy


@pytest.fixture(scope="session")
def wheel(tree: Path) -> Path:
    return built(tree, "whl")


@pytest.fixture(scope="session")
def archive(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source archive."""
    return unpack(built(tree, "tar.gz"), tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def clone_without_links(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as Git on Windows makes it, links as files of text; what it builds is in dist."""
    origin, clone = (tmp_path_factory.mktemp("windows") / name for name in ("origin", "clone"))
    shutil.copytree(
        tree, origin, symlinks=True, ignore=shutil.ignore_patterns("build", "dist", "*.egg-info")
    )
    git = ["git", "-c", "core.symlinks=true", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for arguments in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "all"]):
        run(*git, *arguments, cwd=origin)
    run("git", "-c", "core.symlinks=false", "clone", "-q", origin, clone)
    build(clone, "sdist", "wheel")
    return clone


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def sources(tree: Path) -> dict[str, bytes]:
    """Return every file of the source folders by its place in the import package."""
    return {
        f"{package}/{file.relative_to(tree / folder).as_posix()}": file.read_bytes()
        for folder, package in FOLDERS.items()
        for file in (tree / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def places(path: str, cwd: Path, python: Path | str = sys.executable, *options: str) -> list[Path]:
    """Return the files of some modules in a fresh interpreter that has `path`."""
    code = f"import importlib\nfor n in {SOME}: print(importlib.import_module(n).__file__)"
    env = {**os.environ, "PYTHONPATH": path}
    files = [Path(line) for line in run(python, *options, "-c", code, env=env, cwd=cwd).split("\n")]
    assert len(files) == len(SOME) + 1
    return files[:-1]


def test_the_three_floors_are_one_import_package_by_way_of_links() -> None:
    found = {
        link: (ROOT / link).resolve().relative_to(ROOT).as_posix()
        for link in LINKS
        if (ROOT / link).is_symlink()
    }
    assert found == LINKS
    assert not any((ROOT / link).readlink().is_absolute() for link in LINKS)


def test_every_folder_of_modules_is_a_package() -> None:
    modules = [name for name in sources(ROOT) if name.endswith(".py")]
    # What stands on the path of another program is data, no package.
    folders = {str(Path(name).parent) for name in modules if "/bootstrap/" not in name}
    packages = {str(Path(name).parent) for name in modules if name.endswith("/__init__.py")}
    assert packages == folders


def test_the_wheel_holds_every_source_file_and_nothing_else(tree: Path, wheel: Path) -> None:
    packed = {name: text for name, text in contents(wheel).items() if ".dist-info/" not in name}
    assert sorted(packed) == sorted(sources(tree))
    assert packed == sources(tree)
    assert {"detailed_balance/py.typed", "detailed_balance/__init__.pyi"} <= packed.keys()


def test_the_wheel_holds_every_module_and_none_of_the_paper(wheel: Path) -> None:
    packed = {
        name for name in contents(wheel) if name.endswith(".py") and "/bootstrap/" not in name
    }
    modules = {name.removesuffix(".py").replace("/", ".") for name in packed}
    assert {name.removesuffix(".__init__") for name in modules} == set(MODULES)
    assert not [name for name in contents(wheel) if "paper" in name.split("/")]


def test_the_wheel_brings_the_command_and_the_licence(wheel: Path) -> None:
    notes = {
        name.split("/", 1)[1]: text for name, text in contents(wheel).items() if "-info/" in name
    }
    assert b"detailed-balance = detailed_balance.cli:main" in notes["entry_points.txt"]
    assert b"License-Expression: MIT" in notes["METADATA"]
    assert notes["licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_an_index_accepts_the_wheel_and_the_source_archive(tree: Path) -> None:
    checked = run(sys.executable, "-m", "twine", "check", "--strict", *(tree / "dist").iterdir())
    assert checked.count("PASSED") == 2


def test_the_source_archive_has_what_a_reader_looks_for(archive: Path) -> None:
    assert [name for name in NEEDED if not (archive / name).is_file()] == []


def test_the_source_archive_holds_no_link(tree: Path) -> None:
    with tarfile.open(built(tree, "tar.gz")) as tar:
        members = tar.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []


def test_the_source_archive_builds_the_same_wheel(archive: Path, wheel: Path) -> None:
    build(archive, "wheel")
    rebuilt = built(archive, "whl")
    assert rebuilt.name == wheel.name
    assert contents(rebuilt) == contents(wheel)


def test_a_clone_without_links_builds_the_same_wheel(
    clone_without_links: Path, wheel: Path
) -> None:
    assert not any((clone_without_links / link).is_symlink() for link in LINKS)
    assert contents(built(clone_without_links, "whl")) == contents(wheel)


def test_the_source_archive_of_a_clone_without_links_builds_the_same_wheel(
    clone_without_links: Path, wheel: Path, tmp_path: Path
) -> None:
    archive = unpack(built(clone_without_links, "tar.gz"), tmp_path)
    build(archive, "wheel")
    assert contents(built(archive, "whl")) == contents(wheel)


def test_an_editable_installation_of_a_clone_without_links_leads_to_its_sources(
    clone_without_links: Path, tmp_path: Path
) -> None:
    # The environment has the command and nothing else; the path brings what it is built with and
    # what it depends on.
    python = tmp_path / "env" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    path = sysconfig.get_path("purelib")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(
        *(python, "-m", "pip", "install", *options, "-e", clone_without_links),
        env={**os.environ, "PYTHONPATH": path},
    )
    files = places(path, tmp_path, python)
    assert all(file.resolve().is_relative_to(clone_without_links) for file in files)


def test_an_installed_wheel_is_imported_from_where_it_is(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", target]
    run(sys.executable, "-m", "pip", "install", *options, wheel)
    # -S leaves out site-packages and with it the path of the editable installation; the path
    # brings the dependencies back.
    path = os.pathsep.join([str(target), sysconfig.get_path("purelib")])
    files = places(path, tmp_path, sys.executable, "-S")
    assert all(file.is_relative_to(target) for file in files)


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("detailed_balance", "plugin/__init__.py"),
        ("detailed_balance.readers", "plugin/readers/__init__.py"),
        ("detailed_balance.callbacks.graph", "callbacks/graph.py"),
        ("detailed_balance.analyzers.counts", "analyzers/counts.py"),
        ("detailed_balance.demo", "examples/demo/__init__.py"),
    ],
)
def test_the_editable_installation_leads_to_the_sources(module: str, file: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / file
