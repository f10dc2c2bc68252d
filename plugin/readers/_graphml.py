"""GraphML files, through networkx."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import networkx as nx

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.graphs import read_graph
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record, open_trace
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins as GraphML."""
    return b"<graphml" in head


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a GraphML file, plain or gzip; it is held in memory whole."""
    try:
        with open_trace(path) as (stream, _):
            text = stream.read()
        _refuse_entities(text)
        with warnings.catch_warnings(action="ignore"):  # they would print what the file says
            graph = nx.read_graphml(io.BytesIO(text), force_multigraph=True)
    except ReadError:
        raise
    except Exception as error:  # networkx answers broken files with errors of every kind
        what = safe_text(f"{type(error).__name__}: {error}", 200)
        raise ReadError(f"{path} cannot be read as GraphML ({what})") from error
    yield from read_graph(graph, options, bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _refuse_entities(text: bytes) -> None:
    """Refuse XML that declares entities, a way to make a small file unpack to gigabytes.

    The parser under networkx never fetches external entities, and from expat 2.4.1 on it stops
    at a hundredfold amplification; an older expat, or a hundredfold of a large file, is not safe.
    GraphML has no need of entities.
    """

    def refuse(name: str, *_: object) -> None:
        raise ValueError(f"it declares the entity {name!r}, which GraphML has no need of")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.Parse(text, True)
