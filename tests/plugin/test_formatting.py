"""State keys come from model output: whatever they hold, a terminal shows them unharmed."""

import io
import unicodedata

import pytest
from hypothesis import example, given, strategies as st
from rich.cells import cell_len
from rich.console import Console

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.render.formatting import rich_text, safe_text

any_text = st.text(st.characters(categories=None))  # lone surrogates too
hostile_pieces = [
    *("a", "[red]", "…", "\\", "\n", "\x00", "\x1b[2J", "\x9b31m", "\x1b]0;title\x07"),
    *("\u202e", "\u200b", "\ud800", "\ufe0f", "漢", "e\u0301", "\U0001f468\u200d\U0001f469"),
]
hostile_text = st.lists(st.sampled_from(hostile_pieces)).map("".join)


@given(any_text | hostile_text, st.integers(16, 100))
@example("\u0301" * 500, 16)
@example("漢" * 500, 17)
@example("\U000e0041" * 16, 16)
def test_nothing_but_visible_characters_is_left_and_they_fit(key: str, limit: int) -> None:
    shown = safe_text(key, limit)
    forbidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
    assert not forbidden & set(map(unicodedata.category, shown.replace(" ", "")))
    assert cell_len(shown) <= limit
    assert len(shown) <= limit
    shown.encode("utf-8")


@given(any_text | hostile_text, any_text | hostile_text)
@example("a\nb", "a\\nb")
@example("a\u200bb", "ab")
@example("tool", "tool\ufe0f")
@example("\xa0", " ")
def test_two_keys_never_look_the_same(one: str, other: str) -> None:
    assert (safe_text(one, 10_000) == safe_text(other, 10_000)) == (one == other)


def test_long_keys_with_the_same_head_and_tail_stay_apart() -> None:
    one, other = (f"{'x' * 100}{middle}{'y' * 100}" for middle in "ab")
    assert safe_text(one) != safe_text(other)
    assert safe_text(one).startswith("xxx")
    assert safe_text(one).endswith("yyy")


def test_a_short_key_that_imitates_a_shortened_one_is_told_apart() -> None:
    shortened = safe_text("x" * 200)
    assert safe_text(shortened) != shortened


def test_an_ordinary_key_is_shown_as_it_is() -> None:
    for key in ["get_user_details", "plan|search", "a b", "naïve", "漢字", "🙂", '{"a": [1]}']:
        assert safe_text(key) == key


def test_a_key_of_exactly_the_limit_is_not_shortened() -> None:
    assert safe_text("x" * 80) == "x" * 80
    assert len(safe_text("x" * 81)) == 80
    assert safe_text("漢" * 40) == "漢" * 40
    assert cell_len(safe_text("漢" * 41)) <= 80


def test_a_limit_without_room_for_anything_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="16 or more; got 3"):
        safe_text("key", limit=3)


def test_rich_prints_a_key_without_reading_it_as_markup() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    console.print(rich_text("[red]:smile: [link=http://x]\x1b]8;;http://x\x07"), highlight=False)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "[red]:smile: [link=http://x]\\x1b]8;;http://x\\x07\n"
