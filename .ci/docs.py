"""Build the documentation into site/, and fail on any warning.

The pages of docs/ and the changelog are copied into build/docs. Their links to other files of the
project become links to a page that shows the file. The reference is written from `docs/api.toml`
and the public names of each module, that of the command line from its commands. Then Zensical
builds the site in its strict mode, in which a link or an anchor that leads nowhere is an error.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from commands import describe_commands
from notebooks import as_page
from structure import PACKAGE, find_modules, public_names as listed_names

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
STAGE = ROOT / "build" / "docs"
MODULES = find_modules(ROOT)
CALM = re.compile(r"|Build started|No issues found|Build finished in .*")
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:url\(|@import )\s*["']?(?:https?:)?//[^"')\s]+"""
)
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")


def main() -> int:
    """Stage the pages, write the reference, and run Zensical."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(DOCS, STAGE, ignore=shutil.ignore_patterns("*.md", "*.ipynb", "*.toml"))
    for page in (*sorted(DOCS.rglob("*.md")), ROOT / "CHANGELOG.md"):
        stage_page(page, page.read_text(encoding="utf-8"))
    for notebook in sorted(DOCS.rglob("*.ipynb")):
        stage_page(notebook, as_page(notebook))
    write_reference()
    write_commands()
    config = STAGE.with_name("zensical.toml")
    config.write_text(settings(), encoding="utf-8")
    status = build(config)
    shutil.rmtree(ROOT / "site", ignore_errors=True)
    if status == 0:
        shutil.move(STAGE.with_name("site"), ROOT / "site")
        shorten_search(ROOT / "site" / "search.json")
    return status


def stage_page(page: Path, text: str) -> None:
    """Copy one page of Markdown, its links led to where the site has what they lead to."""
    place = staged(page)
    place.parent.mkdir(parents=True, exist_ok=True)
    parts = re.split(r"(?ms)(^ *```.*?^ *```$)", text)
    parts[::2] = [LINK.sub(lambda link: lead(page, link[0]), part) for part in parts[::2]]
    # In code in a table GitHub wants a bar to be escaped, and the site wants it as it is.
    text = re.sub(r"`[^`\n]*`", lambda code: code[0].replace("\\|", "|"), "".join(parts))
    place.write_text(text, encoding="utf-8")


def staged(path: Path) -> Path:
    """Return where the site has the file `path` of the project."""
    if path.is_relative_to(DOCS):
        place = STAGE / path.relative_to(DOCS)
        return place.with_suffix(".md") if path.suffix == ".ipynb" else place
    if path == ROOT / "CHANGELOG.md":
        return STAGE / "changelog.md"
    if path == ROOT / "README.md":
        return STAGE / "index.md"
    return STAGE / "source" / f"{path.relative_to(ROOT)}.md"


def lead(page: Path, link: str) -> str:
    """Return the link for the site, and show the file that it leads to where that is no page."""
    target = (page.parent / link).resolve()
    place = staged(target) if target.is_relative_to(ROOT) else target
    if place.is_relative_to(STAGE / "source") and target.is_file() and not place.exists():
        show_source(target, place)
    return Path(os.path.relpath(place, staged(page).parent)).as_posix()


def show_source(path: Path, place: Path) -> None:
    """Write a page that shows a file of the project."""
    kind = {".py": "python", ".toml": "toml", ".json": "json"}.get(path.suffix, "text")
    place.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8").rstrip()
    place.write_text(f"# {path.relative_to(ROOT)}\n\n````{kind}\n{text}\n````\n", encoding="utf-8")


def write_reference() -> None:
    """Write one page for each table of `docs/api.toml`, and the page that leads to them."""
    pages = tomllib.loads((DOCS / "api.toml").read_text(encoding="utf-8"))
    known: dict[tuple[str, str], str] = {}
    folder = STAGE / "api"
    folder.mkdir(parents=True, exist_ok=True)
    overview = ["# API", "", "Every public name, from its docstring.", ""]
    for page, entry in reversed(pages.items()):  # so that a name stands with its kind
        text = "\n\n".join(reference_page(page, entry, known))
        (folder / f"{page}.md").write_text(f"{text}\n", encoding="utf-8")
    for page, entry in pages.items():
        names = ", ".join(f"`{module}`" for module in entry["modules"])
        overview.append(f"- [{entry['title']}]({page}.md): {names}")
    (folder / "index.md").write_text("\n".join(overview) + "\n", encoding="utf-8")


def write_commands() -> None:
    """Add every command and its options to the page of the command line."""
    page = STAGE / "reference" / "cli.md"
    blocks = [page.read_text(encoding="utf-8").rstrip(), *describe_commands()]
    page.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def reference_page(page: str, entry: dict, known: dict[tuple[str, str], str]) -> Iterator[str]:
    """Yield the blocks of one page: each group with its names, and what other pages describe."""
    yield f"# {entry['title']}"
    groups: dict[str, list[str]] = {title: [] for title in entry.get("groups", {})}
    places = {place: title for title, listed in entry.get("groups", {}).items() for place in listed}
    check_places(page, places)
    for module in entry["modules"]:
        yield f"`{module}`: {summary(module)}"
        for name, home in public_names(module):
            path = f"{module}.{name}"
            title = group_of(home, places)
            groups.setdefault(title, [])
            if (home, name) not in known:
                groups[title].append(f"::: {path}")
                known[home, name] = f"{page}.md#{path}"
            elif not known[home, name].startswith(f"{page}.md"):
                groups[title].append(f"[`{path}`]({known[home, name]})")
    for title, blocks in groups.items():
        if blocks:
            yield f"## {title}"
            yield from blocks


def check_places(page: str, places: Iterable[str]) -> None:
    """Refuse a group of what is not there.

    Raises
    ------
    SystemExit
        Where a group names neither a module nor a folder of the package.
    """
    lost = [place for place in places if f"{PACKAGE}.{place}" not in MODULES]
    if lost:
        raise SystemExit(f"[{page}.groups] of docs/api.toml names no modules by {lost}")


def group_of(home: str, places: dict[str, str]) -> str:
    """Return the group of a module, or of the nearest folder around it that has one."""
    place = home.removeprefix(f"{PACKAGE}.")
    while place and place not in places:
        place = place.rpartition(".")[0]
    return places.get(place, "Further names")


def summary(module: str) -> str:
    """Return the first paragraph of a module's docstring."""
    text = ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return " ".join((text or "").split("\n\n")[0].split())


def public_names(module: str) -> Iterator[tuple[str, str]]:
    """Yield each public name of a module, with the module that defines it."""
    for name, home in listed_names(module, MODULES[module]).items():
        inner = dict(public_names(home)) if home in MODULES and home != module else {}
        yield name, inner.get(name, home)


def settings() -> str:
    """Return the settings of Zensical, without the pages that are not there.

    Raises
    ------
    SystemExit
        Where a page has no line in the navigation.
    """
    text = (DOCS / "zensical.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not (page := listed_page(line)) or page.exists()]
    kept = re.sub(r"\{ [^{}\n]+ = \[\s*\] \},\n", "", "\n".join(lines))
    pages = (page.relative_to(STAGE).as_posix() for page in STAGE.rglob("*.md"))
    lost = [page for page in pages if not page.startswith("source/") and f'"{page}"' not in kept]
    if lost:
        raise SystemExit(f"give these a line in `nav` of docs/zensical.toml: {lost}")
    return kept


def listed_page(line: str) -> Path | None:
    """Return the page that a line of the navigation leads to."""
    match = re.fullmatch(r'\s*\{ "[^"]+" = "([^"]+\.md)" \},', line)
    return STAGE / match[1] if match else None


def build(config: Path) -> int:
    """Run Zensical; anything that it has to say, or a part of it, is a failure."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(config)]
    done = subprocess.run(command, stdout=-1, stderr=subprocess.STDOUT, encoding="utf-8")  # noqa: S603 - fixed command
    foreign = list(find_foreign(config.with_name("site")))
    print(done.stdout.strip(), *foreign, sep="\n")
    complaints = [line for line in done.stdout.splitlines() if not CALM.fullmatch(line)]
    return done.returncode or int(bool(complaints or foreign))


def shorten_search(path: Path) -> None:
    """Leave the members of classes out of the search, where they stand before the guides."""
    index = json.loads(path.read_text(encoding="utf-8"))
    index["items"] = [
        item for item in index["items"] if item["level"] < 4 or item["location"][:4] != "api/"
    ]
    path.write_text(json.dumps(index), encoding="utf-8")


def find_foreign(site: Path) -> Iterator[str]:
    """Yield what a page or a style sheet would fetch from another site; there is to be none."""
    for path in (*site.rglob("*.html"), *site.rglob("*.css")):
        for load in FETCHED.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)} would fetch {load[0]}"


if __name__ == "__main__":
    raise SystemExit(main())
