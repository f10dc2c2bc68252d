"""Where the packages are: pyproject.toml has everything else.

The three floors and the demo are one import package. Links in `src` and `plugin` put it together,
so that an editor, a debugger and a type checker find every module in its own file. Git on Windows
writes links as text files unless `core.symlinks` is true; there the same packages are found in the
folders that the links lead to. Through the link an editable installation is a path, which editors
follow; a mapping is not.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "detailed_balance"
FLOORS = {
    PACKAGE: "plugin",
    f"{PACKAGE}.callbacks": "callbacks",
    f"{PACKAGE}.analyzers": "analyzers",
    f"{PACKAGE}.demo": "examples/demo",
}

if Path(__file__).with_name("src").joinpath(PACKAGE).is_dir():
    setup(package_dir={"": "src"}, packages=find_packages("src"))
else:
    rooms = [f"{floor}.{room}" for floor, place in FLOORS.items() for room in find_packages(place)]
    setup(package_dir=FLOORS, packages=[*FLOORS, *rooms])
