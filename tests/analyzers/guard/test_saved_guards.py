"""A guard in a file: it comes back as it was, or not at all."""

import json

import pytest

from detailed_balance.analyzers import OutcomeScore, RunGuard
from detailed_balance.analyzers.errors import InvalidInputError
from tests.analyzers.guard.test_guard import recorded


@pytest.fixture
def guard():
    return RunGuard.fit(recorded(0), score=OutcomeScore(memory=2))


def test_a_saved_guard_comes_back_with_its_promise_and_all_its_risks(guard, tmp_path):
    guard.save(tmp_path / "guard.json")
    restored = RunGuard.load(tmp_path / "guard.json")
    assert restored.promise == guard.promise
    assert restored.to_dict() == guard.to_dict()
    for run in recorded(1):
        one, other = guard.watch(run.moves), restored.watch(run.moves)
        assert (one.risk, one.stopped_at) == (other.risk, other.stopped_at)
    assert [path.name for path in tmp_path.iterdir()] == ["guard.json"]


def test_a_guard_that_cannot_be_saved_leaves_the_old_file(guard, tmp_path):
    path = tmp_path / "guard.json"
    guard.save(path)
    before = path.read_text()

    class Own:
        def start(self):
            raise AssertionError

    with pytest.raises(InvalidInputError, match="has no to_dict"):
        RunGuard(Own(), 1.0).save(path)
    broken = RunGuard.from_rules(max_stay=3)
    broken.ignored = {1}  # nothing that JSON holds
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


def damage_cut(text):
    return text[: len(text) // 2]


def damage_a_digit(text):
    place = text.index('"threshold": ') + len('"threshold": ') + 2
    return text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


def other_json(text):
    return json.dumps({"runs": []})


def other_bytes(text):
    return "\x80\x03]q"


def nested(text):
    return "[" * 100_000


@pytest.mark.parametrize("damage", [damage_cut, damage_a_digit, other_json, other_bytes, nested])
def test_a_damaged_file_is_refused_by_its_name(guard, tmp_path, damage):
    path = tmp_path / "my guard.json"
    guard.save(path)
    path.write_bytes(damage(path.read_text()).encode("latin-1", "replace"))
    with pytest.raises(InvalidInputError, match=r"my guard\.json: .*(save|guard)"):
        RunGuard.load(path)


@pytest.mark.parametrize("name", ["threshold", "score", "moves", "calibration", "alpha"])
def test_what_is_missing_in_a_guard_is_named(guard, name):
    data = guard.to_dict()
    del data[name]
    with pytest.raises(InvalidInputError, match=f"damaged .*{name}"):
        RunGuard.from_dict(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("score", "model", "weights"), [1, 2]),
        (("score", "model", "intercept"), "high"),
        (("score", "model", "states"), {"values": [1], "unseen": 0}),
        (("score", "ridge_"), 3),
        (("threshold",), "often"),
        (("moves",), [["a"]]),
    ],
)
def test_values_of_the_wrong_type_are_refused(guard, path, value):
    data = json.loads(json.dumps(guard.to_dict()))
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError, match="damaged"):
        RunGuard.from_dict(data)


def test_a_guard_of_another_version_is_refused_by_its_file(guard, tmp_path):
    from detailed_balance.analyzers.guard._files import save_guard

    save_guard({**guard.to_dict(), "version": 2}, tmp_path / "old.json")
    with pytest.raises(InvalidInputError, match=r"old\.json: .*version 3: version 2; fit it again"):
        RunGuard.load(tmp_path / "old.json")


def test_a_key_that_is_not_known_is_named(guard, tmp_path):
    data, path = guard.to_dict(), tmp_path / "guard.json"
    with pytest.raises(InvalidInputError, match="no 'thresold'; it holds alpha, block"):
        RunGuard.from_dict({**data, "thresold": 3.0})
    with pytest.raises(InvalidInputError, match="thresold"):
        RunGuard.from_dict({**data, "score": {**data["score"], "thresold": 3.0}})
    guard.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "mine"}))
    with pytest.raises(InvalidInputError, match="a saved guard has no 'note'"):
        RunGuard.load(path)
