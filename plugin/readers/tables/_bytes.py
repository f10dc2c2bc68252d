"""What the bytes of a text file are like, before an engine reads them: one quick look at each."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.readers.records.base import LONGEST_LINE, open_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 18  # what the caches of a processor hold


class DoubtError(Exception):
    """The engine may not read this as the records are read; they are read one by one instead."""


@dataclass(slots=True)
class TextFacts:
    """What was seen of a text file.

    Parameters
    ----------
    path : Path
        Where it is, unpacked.
    rows : int
        How many lines it has that are not blank; as CSV, how many rows, the header among them.
    delimiters : int
        As CSV, how many of them stand between cells, those in quotes left out.
    quotes : bool
        Whether there is a quote in it.
    no_number : bool
        Whether some letters in it may spell infinity, or what is not a number.
    """

    path: Path
    rows: int = 0
    delimiters: int = 0
    quotes: bool = False
    no_number: bool = False


def inspect_text(path: Path, folder: Path, delimiter: str | None = None) -> TextFacts:
    """Look at each byte of a text file, and unpack it where it is gzip.

    Parameters
    ----------
    path : Path
        The file.
    folder : Path
        Where to write what is unpacked.
    delimiter : str or None
        Between the cells, where it is CSV.

    Raises
    ------
    DoubtError
        Where it is not UTF-8, is damaged, holds NUL, ends its lines in several ways, or, as CSV,
        where a quote stands where none belongs.
    """
    facts = TextFacts(path)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    look = _Rows(delimiter)
    plain = True
    returns = ends = 0
    last = b""
    try:
        with open_trace(path) as (stream, raw), ExitStack() as stack:
            copy = None
            if stream is not raw:
                facts.path = folder / f"{len(list(folder.iterdir()))}.unpacked"
                copy = stack.enter_context(facts.path.open("wb"))
            for chunk in _chunks(stream):
                if b"\0" in chunk or chunk.startswith(codecs.BOM_UTF8):
                    raise DoubtError
                if not (plain and chunk.isascii()):
                    plain = False
                    decode(chunk)
                if b"\r" in chunk:
                    returns += chunk.count(b"\r")
                    ends += chunk.count(b"\r\n")
                facts.quotes = facts.quotes or b'"' in chunk
                if delimiter is None and not facts.no_number:
                    facts.no_number = _spells(last + chunk, b"nan") or _spells(last + chunk, b"inf")
                    last = chunk[-2:]
                look.update(chunk)
                if copy is not None:
                    copy.write(chunk)
        decode(b"", True)
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise DoubtError from error
    if returns != ends or ends not in (0, look.ends):
        raise DoubtError
    facts.rows, facts.delimiters = look.close(), look.delimiters
    return facts


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        while chunk.endswith(b"\r") and (more := stream.read(1)):
            chunk += more
        yield chunk


def _spells(text: bytes, word: bytes) -> bool:
    """Say whether a word of three letters is in a text, small or capital."""
    small = np.frombuffer(text, dtype=np.uint8) | 32
    found = (small[:-2] == word[0]) & (small[1:-1] == word[1]) & (small[2:] == word[2])
    return bool(found.any())


def _count_blank(text: bytes) -> int:
    """Return how many lines that begin in `text`, after its first byte, hold nothing."""
    found = 0
    for blank in (b"\n\n", b"\n\r\n"):
        place = text.find(blank)
        while place >= 0:
            found += 1
            place = text.find(blank, place + 1)
    return found


class _Rows:
    """Counts rows, and checks that quotes stand where every reader of CSV takes them in one way.

    That is at the beginning and at the end of a cell, and twice inside of a cell that is quoted.
    Without a delimiter a row is a line.
    """

    def __init__(self, delimiter: str | None) -> None:
        self.ends = self.delimiters = 0
        self._delimiter = delimiter
        self._outside = [] if delimiter is None else list(f'{delimiter}\n\r"'.encode())
        self._rows = 0
        self._inside = False
        self._open_line = 0  # bytes since the last line end
        self._before = b"\n"
        self._closed = False  # the last byte was a quote that may have ended a cell

    def update(self, chunk: bytes) -> None:
        """Go on with the next part of the file."""
        end = chunk.rfind(b"\n") + 1
        self._open_line = len(chunk) - end + (0 if end else self._open_line)
        if self._open_line > LONGEST_LINE:
            raise DoubtError
        codes = np.frombuffer(chunk, dtype=np.uint8)
        is_end = codes == ord("\n")
        ends = int(np.count_nonzero(is_end))
        self.ends += ends
        if self._delimiter is None or not (b'"' in chunk or self._inside or self._closed):
            blank = int(np.count_nonzero(is_end[1:] & is_end[:-1]))
            blank += bool(self._before == b"\n" and is_end[0])
            if b"\r" in chunk:
                blank = _count_blank(self._before + chunk)
            self._rows += ends - blank
            if self._delimiter is not None:
                self.delimiters += chunk.count(self._delimiter.encode())
        else:
            self._look_at_quotes(codes)
        self._before = chunk[-1:]

    def _look_at_quotes(self, codes: NDArray[np.uint8]) -> None:
        places = np.flatnonzero(codes == ord('"'))
        opens = (np.arange(len(places)) + self._inside) % 2 == 0
        around = np.concatenate([list(self._before), codes, [ord("\n")]])
        allowed = np.isin(around, self._outside)
        last = len(codes) - 1
        wrong = np.where(opens, ~allowed[places], ~allowed[places + 2] & (places != last))
        if wrong.any() or (self._closed and not allowed[1]):
            raise DoubtError
        between = np.flatnonzero(codes == ord(self._delimiter or "\n"))
        within = (np.searchsorted(places, between) + self._inside) % 2
        self.delimiters += int(np.count_nonzero(within == 0))
        ends = np.flatnonzero(codes == ord("\n"))
        inside = (np.searchsorted(places, ends) + self._inside) % 2 == 1
        first = ends[~inside]
        before, two = around[first], around[np.maximum(first - 1, 0)]
        outside = ~np.isin(first - 1, ends[inside]) & ~np.isin(first - 2, ends[inside])
        blank = (before == ord("\n")) | ((before == ord("\r")) & (two == ord("\n")))
        self._rows += len(first) - int((blank & outside).sum())
        self._closed = bool(len(places)) and int(places[-1]) == last and not opens[-1]
        self._inside = bool((len(places) + self._inside) % 2)

    def close(self) -> int:
        """Return the number of rows.

        Raises
        ------
        DoubtError
            Where the last quote is not closed.
        """
        if self._inside:
            raise DoubtError
        return self._rows + (self._before != b"\n")
