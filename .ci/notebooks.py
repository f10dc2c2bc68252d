"""Run a notebook, and put what its cells show into it.

``python .ci/notebooks.py docs/tutorials/notebook.ipynb`` does so with nothing but what the
notebook itself imports. What a cell shows is what it prints, the value of its last expression (as
text, and as HTML where it has that), and the figures of pyplot.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main(paths: list[str]) -> int:
    """Run notebooks and save them with their outputs."""
    for path in map(Path, paths):
        notebook = load(path)
        for number, (cell, outputs) in enumerate(run_cells(notebook), 1):
            cell["outputs"], cell["execution_count"] = outputs, number
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
    return 0


def load(path: Path) -> dict[str, Any]:
    """Return a notebook as nbformat 4 has it."""
    return json.loads(path.read_text(encoding="utf-8"))


def run_cells(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each cell of code with its outputs, all run in one namespace."""
    os.environ["MPLBACKEND"] = "agg"
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield cell, run_cell("".join(cell["source"]), names)


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell; a semicolon at its end hides the value of its last expression."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    shown = isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = ast.Expression(tree.body.pop().value) if shown else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - a notebook of this project
        if last is not None:
            value = eval(compile(last, "cell", "eval"), names)  # noqa: S307 - the same
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None:
        outputs.append(show(value))
    return outputs + list(take_figures())


def show(value: Any) -> dict[str, Any]:
    """Return the value of a cell as an output."""
    data = {"text/plain": repr(value).splitlines(keepends=True)}
    if (html := getattr(value, "_repr_html_", None)) is not None:
        data["text/html"] = html().splitlines(keepends=True)
    return {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}


def take_figures() -> Iterator[dict[str, Any]]:
    """Yield the figures that pyplot holds as outputs, and close them."""
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is None:
        return
    for number in pyplot.get_fignums():
        file, figure = io.BytesIO(), pyplot.figure(number)
        figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
        image = base64.b64encode(file.getvalue()).decode()
        data = {"image/png": image, "text/plain": [repr(figure)]}
        yield {"output_type": "display_data", "data": data, "metadata": {}}
    pyplot.close("all")


def as_page(path: Path) -> str:
    """Return a notebook, as it was saved, as a page of Markdown."""
    parts = []
    for cell in load(path)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text")})
            if "image/png" in data:
                image = f"data:image/png;base64,{data['image/png']}"
                parts.append(f'<img alt="What the cell draws" src="{image}">')
            elif "text/html" in data:
                html = "".join(data["text/html"]).replace("\n\n", "\n")
                parts.append(f'<div class="shown">\n{html}\n</div>')
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
