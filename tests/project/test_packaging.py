"""What is built is what is on disk: the wheel, the source archive, the editable installation."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = {folder: package for package, folder in SETTINGS["package-dir"].items()}
NEEDED = ["LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"]


def build(tree: Path, *kinds: str) -> None:
    """Build into `tree`/dist, with what the environment has and no network."""
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with the wheel and the source archive built from it in dist."""
    copy = tmp_path_factory.mktemp("packaging") / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    build(copy, "--sdist", "--wheel")
    return copy


@pytest.fixture(scope="session")
def wheel(tree: Path) -> Path:
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def archive(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source archive."""
    (packed,) = (tree / "dist").glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("archive")
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def sources(tree: Path) -> dict[str, bytes]:
    """Return every file of the source folders by its place in the import package."""
    return {
        str(Path(*package.split("."), file.relative_to(tree / folder))): file.read_bytes()
        for folder, package in FOLDERS.items()
        for file in (tree / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_package_list_is_the_folders_on_disk() -> None:
    modules = [name for name in sources(ROOT) if name.endswith(".py")]
    # What stands on the path of another program is data, no package.
    folders = {str(Path(name).parent) for name in modules if "/bootstrap/" not in name}
    assert sorted(SETTINGS["packages"]) == sorted(name.replace("/", ".") for name in folders)


def test_the_three_floors_are_one_import_package() -> None:
    assert FOLDERS["plugin"] == "detailed_balance"
    assert FOLDERS["callbacks"] == "detailed_balance.callbacks"
    assert FOLDERS["analyzers"] == "detailed_balance.analyzers"
    assert FOLDERS.keys().isdisjoint({"tests", "benchmarks", "examples", "."})


def test_the_wheel_holds_every_source_file_and_nothing_else(tree: Path, wheel: Path) -> None:
    packed = {name: text for name, text in contents(wheel).items() if ".dist-info/" not in name}
    assert sorted(packed) == sorted(sources(tree))
    assert packed == sources(tree)
    assert "detailed_balance/py.typed" in packed


def test_the_wheel_brings_the_command_and_the_licence(wheel: Path) -> None:
    notes = {
        name.split("/", 1)[1]: text for name, text in contents(wheel).items() if "-info/" in name
    }
    assert b"detailed-balance = detailed_balance.cli:main" in notes["entry_points.txt"]
    assert b"License-Expression: MIT" in notes["METADATA"]
    assert notes["licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_source_archive_has_what_a_reader_looks_for(archive: Path) -> None:
    assert [name for name in NEEDED if not (archive / name).is_file()] == []


def test_the_source_archive_builds_the_same_wheel(archive: Path, wheel: Path) -> None:
    build(archive, "--wheel")
    (rebuilt,) = (archive / "dist").glob("*.whl")
    assert rebuilt.name == wheel.name
    assert contents(rebuilt) == contents(wheel)


def test_an_installed_wheel_is_imported_from_where_it_is(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    install = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    subprocess.run(install, check=True)
    names = ["detailed_balance", "detailed_balance.readers", "detailed_balance.callbacks.graph"]
    names += ["detailed_balance.analyzers.counts"]
    code = f"import importlib\nfor n in {names}: print(importlib.import_module(n).__file__)"
    # -S leaves out site-packages and with it the finder of the editable installation; the path
    # brings the dependencies back.
    path = os.pathsep.join([str(target), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    files = done.stdout.split()
    assert len(files) == len(names)
    assert all(Path(file).is_relative_to(target) for file in files)


@pytest.mark.parametrize(
    ("module", "file"),
    [
        ("detailed_balance", "plugin/__init__.py"),
        ("detailed_balance.readers", "plugin/readers/__init__.py"),
        ("detailed_balance.callbacks.graph", "callbacks/graph.py"),
        ("detailed_balance.analyzers.counts", "analyzers/counts.py"),
    ],
)
def test_the_editable_installation_leads_to_the_sources(module: str, file: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin == str(ROOT / file)
