"""Check the types with mypy and pyright over a mirror of the sources.

The three source folders are one import package, which neither checker can see from the folder
names. The mirror has real folders with one symbolic link per file.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIRROR = ROOT / "build" / "typecheck"


def lay_mirror() -> None:
    """Lay the mirror anew, so that a deleted file leaves no ghost behind."""
    shutil.rmtree(MIRROR, ignore_errors=True)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in settings["packages"]:
        folder = MIRROR.joinpath(*package.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        for source in source_folder(package, settings["package-dir"]).iterdir():
            if source.suffix in {".py", ".pyi", ".typed"}:
                os.symlink(source, folder / source.name)


def source_folder(package: str, package_dir: dict[str, str]) -> Path:
    """Return the folder that holds `package`, by the longest mapped prefix."""
    parts = package.split(".")
    for length in range(len(parts), 0, -1):
        mapped = package_dir.get(".".join(parts[:length]))
        if mapped is not None:
            return ROOT.joinpath(mapped, *parts[length:])
    raise SystemExit(f"package {package!r} is under no folder of [tool.setuptools.package-dir]")


def main() -> int:
    """Run both checkers, and fail where either does."""
    lay_mirror()
    commands = [
        [sys.executable, "-m", "mypy"],
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
    ]
    return max(subprocess.run(command, cwd=ROOT).returncode for command in commands)  # noqa: S603 - fixed commands


if __name__ == "__main__":
    raise SystemExit(main())
