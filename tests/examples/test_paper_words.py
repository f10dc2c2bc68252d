"""The paper's word agent: its task, its models, its runs, and what they say."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from scipy.stats import chi2

from detailed_balance.analyzers import TransitionCounts, estimate_potential
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import Transition, TransitionStore
from examples.paper.agent import evaluation
from examples.paper.agent.evaluation import recover_potential, summarize_balance
from examples.paper.agent.explore import ModelFailedError, build_agent, explore, read_journal
from examples.paper.agent.plan import Plan
from examples.paper.experiments import words
from examples.paper.words.lexicon import (
    LEXICON,
    LexiconChatModel,
    count_false,
    count_found,
    driven_lexicon,
)
from examples.paper.words.tables import TableChatModel, WordTable, compare_published
from examples.paper.words.task import (
    WRONG_SUM,
    WordTask,
    asked_word,
    leave_out_repeats,
    letter_sum,
    read_vocabulary,
)

PROBES = int(os.environ.get("DETAILED_BALANCE_TEST_WORD_PROBES", "1000"))


class ScriptedModel(BaseChatModel):
    """Answers by a function of the word asked about; notes the words and the calls at a time."""

    reply: Any
    delay: float = 0.0
    asked: list = []  # noqa: RUF012 - pydantic copies it
    now: int = 0
    most: int = 0

    @property
    def _llm_type(self):
        return "scripted"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        word = asked_word(messages)
        self.asked.append(word)
        answer = self.reply(word)
        message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.delay)
        self.now -= 1
        return self._generate(messages)


def ask(model, store, plan, **options):
    return asyncio.run(explore(model, WordTask(), plan, store, **options))


def answer_once(reply, task=None):
    """Return what the agent notes of one question about TURKEY."""
    noted = []
    model = ScriptedModel(reply=lambda word: reply)
    agent = build_agent(model, task or WordTask(), noted.append)
    after = asyncio.run(agent.ainvoke({"state": "TURKEY", "questions": 1}))
    return noted[0], after["state"]


def draw_counts(rng, model, attempts):
    """Draw as many answers to every word from the exact kernel, without asking the model."""
    rates = model.kernel().probabilities.toarray()
    rows = np.column_stack([rates, 1 - rates.sum(axis=1)]).clip(0)
    drawn = np.array([rng.multinomial(attempts, row / row.sum()) for row in rows])
    targets = [*model.words, None]
    return TransitionCounts.from_edges(
        (word, target, int(n))
        for word, row in zip(model.words, drawn, strict=True)
        for target, n in zip(targets, row, strict=True)
        if n
    )


# The task.


def test_the_letters_of_a_word_are_summed():
    assert letter_sum("abc") == 1 + 2 + 3
    assert letter_sum("BUZZY") == 2 + 21 + 26 + 26 + 25 == 100
    with pytest.raises(InvalidInputError, match="letters A to Z"):
        letter_sum("naïve")


def test_every_word_that_is_shipped_sums_to_100():
    shipped = {*LEXICON, *WordTable.load("claude_4").published}
    shipped |= {*WordTable.load("gemini_2_5_flash").published}
    assert {letter_sum(word) for word in shipped} == {100}
    assert len(set(LEXICON)) == len(LEXICON) == 64


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("ATTITUDE", "move"),
        (" attitude.\n", "move"),
        ("**Attitude**", "move"),
        ("“Attitude”", "move"),
        ("turkey", "unchanged"),
        ("attitudes", "wrong sum"),  # 100 + 19
        ("ZZZZ", "wrong sum"),  # 104
        ("", "invalid"),
        ("...", "invalid"),
        ("ATTITUDE or PERSONAL", "invalid"),
        ("ATTITUDE1", "invalid"),
        ("Attitüde", "invalid"),
        ("ATTITUDE = 100", "invalid"),
    ],
)
def test_an_answer_is_a_word_or_an_escape_of_one_kind(answer, kind):
    task = WordTask()
    assert task.judge("TURKEY", answer) == kind
    assert (task.read(AIMessage(answer)) is None) == (kind in {"invalid", "wrong sum"})


def test_a_word_outside_the_vocabulary_is_invalid():
    task = WordTask(vocabulary=frozenset({"TURKEY", "ATTITUDE"}))
    assert task.judge("TURKEY", "attitude") == "move"
    assert task.judge("TURKEY", "personal") == "invalid"


HOSTILE = [
    "\x1b[31mATTITUDE\x1b[0m",
    "ATTITUDE\x00",
    "\u202eEDUTITTA",
    "ATTI\u200bTUDE",
    "[bold]ATTITUDE[/bold]",
    "<script>alert(1)</script>",
    "A" * 1_000_000,
    "\x1b]0;title\x07" * 1000,
    "",
    AIMessage("", tool_calls=[{"name": "word", "args": {"is": "ATTITUDE"}, "id": "1"}]),
    AIMessage([{"type": "text", "text": "ATTITUDE "}, {"type": "text", "text": "PERSONAL"}]),
    AIMessage([{"type": "image_url", "image_url": {"url": "data:,ATTITUDE"}}]),
]


@pytest.mark.parametrize("reply", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_answer_is_an_escape_and_leaves_the_word(reply):
    noted, word = answer_once(reply)
    assert noted.kind in {"invalid", "wrong sum"}
    assert noted.target is None
    assert word == "TURKEY"
    assert len(noted.text) <= 200


def test_a_text_in_a_list_is_read():
    noted, word = answer_once(AIMessage([{"type": "text", "text": "Attitude"}]))
    assert (noted.kind, word) == ("move", "ATTITUDE")


def test_hostile_answers_and_errors_print_harmlessly(monkeypatch, capsys, tmp_path):
    replies = iter([*HOSTILE, "attitude", "turkey", "attitude", "turkey"] * 9)

    def reply(word):
        answer = next(replies)
        if isinstance(answer, str) and answer.startswith("A" * 99):
            raise ConnectionError("\x1b[2J[red]rate\x07 limit")
        return answer

    monkeypatch.setattr(words, "choose_model", lambda *_: ScriptedModel(reply=reply))
    store = ["--store", str(tmp_path / "words.db")]
    words.main(["--model", "evil:\x1b[31m", "--probes", "48", "--concurrency", "1", *store])
    monkeypatch.setattr(words, "choose_model", lambda *_: ScriptedModel(reply=failing))
    with pytest.raises(SystemExit) as stop:
        words.main(["--model", "evil:\x1b[31m", "--probes", "99", *store])
    printed = capsys.readouterr().out + str(stop.value)
    assert "3 failed" in printed
    assert {c for c in printed if unicodedata.category(c)[0] == "C"} <= {"\n"}


# What is asked.


def test_probes_are_drawn_uniformly_from_the_words_found():
    plan = Plan("TURKEY")
    with TransitionStore("sqlite://") as store:
        rows = [("TURKEY", "ATTITUDE")] * 30 + [("ATTITUDE", "PERSONAL"), ("TURKEY", None)]
        store.append(Transition(f, g, "probe-0", plan.context) for f, g in rows)
        recorded = plan.recall(store)
    choose = plan.chooser(recorded)
    recorded.find("PROBLEMS")  # as an answer does meanwhile
    drawn = Counter(choose("TURKEY") for _ in range(20_000))
    assert set(drawn) == {"TURKEY", "ATTITUDE", "PERSONAL", "PROBLEMS"}
    assert sum((n - 5_000) ** 2 / 5_000 for n in drawn.values()) < chi2.isf(1e-4, 3)


def test_a_word_is_asked_about_only_when_it_was_found():
    with TransitionStore("sqlite://") as store:
        model = LexiconChatModel()
        ask(model, store, Plan("TURKEY", 300), max_concurrency=1)
        found = {"TURKEY"}
        for move in store.read():
            assert move.source in found
            found.add(move.target)
    assert len(found) > 10


PAPER = WordTask(paper=True)


def test_the_paper_asks_in_one_message_that_explains_the_letters():
    (message,) = PAPER.ask("BUZZY")
    assert asked_word([message]) == "BUZZY"
    for shown in ("A=1, B=2", "Y=25, Z=26", "CAT is 3 + 1 + 20 = 24", "the new word only"):
        assert shown in message.text
    assert letter_sum("CAT") == 24


def test_with_the_papers_settings_all_wrong_sums_are_one_state_that_is_never_asked_about():
    # BUZZY -> TURKEY, then by turns a repeat, two wrong sums, no word, and ATTITUDE.
    replies = {
        "BUZZY": ["TURKEY"],
        "TURKEY": ["turkey", "HEN", "COCK", "no idea", "ATTITUDE"],
        "ATTITUDE": ["BUZZY"],
    }
    turn = Counter()

    def reply(word):
        turn[word] += 1
        return replies[word][(turn[word] - 1) % len(replies[word])]

    with TransitionStore("sqlite://") as store:
        for questions in (30, 60):  # the second call goes on, with WRONG_SUM in the store
            plan = Plan("BUZZY", questions, unasked=WRONG_SUM)
            model = ScriptedModel(reply=reply)
            asyncio.run(explore(model, PAPER, plan, store, max_concurrency=1))
            assert set(model.asked) <= set(replies)
        counts = store.counts()
    turkey, wrong = map(counts.states.index, ("TURKEY", WRONG_SUM))
    repeats = counts.counts[turkey, turkey]
    assert counts.counts[turkey, wrong] > repeats > 0
    left = leave_out_repeats(counts)
    assert left.attempts[turkey] == turn["TURKEY"] - repeats
    assert left.attempts.sum() == 60 - repeats
    assert not left.counts.diagonal().any()


def test_one_option_gives_the_papers_settings(tmp_path):
    store = tmp_path / "words.db"
    options = ["--probes", "100", "--settings", "paper", "--store", str(store)]
    words.main(["--only", "lexicon", *options])
    with TransitionStore(f"sqlite:///{store}") as kept:
        moves = list(kept.read())
    assert dict(moves[0].context)["model"] == "lexicon, simulated, the paper's settings"
    assert moves[0].source == "BUZZY"
    assert WRONG_SUM in {move.target for move in moves}


def test_a_walk_goes_on_from_its_answer_and_through_a_stop():
    plan = Plan("TURKEY", 80, "walk")
    with TransitionStore("sqlite://") as store:
        ask(LexiconChatModel(), store, plan)
        ask(LexiconChatModel(seed=1), store, Plan("TURKEY", 200, "walk"))
        assert Counter(move.trajectory for move in store.read()) == {
            f"walk-{i}": 25 for i in range(8)
        }
        for i in range(8):
            word = "TURKEY"
            for move in store.read(trajectory=f"walk-{i}"):
                assert move.source == word
                word = move.target or word


def test_one_store_keeps_runs_of_several_models_apart():
    with TransitionStore("sqlite://") as store:
        for name in ("a", "b"):
            plan = Plan("TURKEY", 60, labels={"model": name}, shared=True)
            ask(TableChatModel(), store, plan)
            assert store.counts(context=plan.context).attempts.sum() == 60
        assert len(store) == 120


def test_no_more_questions_are_asked_at_a_time_than_allowed():
    model = ScriptedModel(reply=lambda word: "attitude", delay=0.002)
    with TransitionStore("sqlite://") as store:
        ask(model, store, Plan("TURKEY", 400), max_concurrency=5)
    assert model.most == 5
    assert len(model.asked) == 400


def test_tokens_are_counted_from_the_usage_and_priced():
    usage = {"input_tokens": 40, "output_tokens": 3, "total_tokens": 43}
    model = ScriptedModel(reply=lambda word: AIMessage("attitude", usage_metadata=usage))
    with TransitionStore("sqlite://") as store:
        counter = ask(model, store, Plan("TURKEY", 25))
    assert (counter.input_tokens, counter.output_tokens) == (25 * 40, 25 * 3)
    assert counter.cost((2.0, 10.0)) == pytest.approx((1000 * 2 + 75 * 10) / 1e6)
    assert "1,000 + 75 tokens, cost 0.00275" in counter.describe((2.0, 10.0))


# Stops.


def failing(word):
    raise ConnectionError("rate limit reached\x1b[31m")


def test_a_failed_call_is_an_escape_that_is_recorded_once():
    turns = iter(range(1000))
    model = ScriptedModel(reply=lambda word: failing(word) if next(turns) % 3 else "attitude")
    with TransitionStore("sqlite://") as store:
        counter = ask(model, store, Plan("TURKEY", 30), max_concurrency=1)
        assert store.counts().escapes.sum() == counter.answers["failed"] == 20
        assert len(store) == 30


def test_a_model_that_only_fails_stops_the_run_and_a_later_one_goes_on():
    with TransitionStore("sqlite://") as store:
        with pytest.raises(ModelFailedError, match=r"20 calls .* ConnectionError: rate limit"):
            ask(ScriptedModel(reply=failing), store, Plan("TURKEY", 100))
        assert 20 <= len(store) <= 27
        counter = ask(TableChatModel(), store, Plan("TURKEY", 100))
        assert len(store) == 100
        assert 73 <= counter.questions <= 80


def test_what_is_under_way_when_cancelled_is_asked_again_and_nothing_else():
    async def stop_midway(store):
        model = ScriptedModel(reply=lambda word: "attitude", delay=0.002)
        task = asyncio.create_task(explore(model, WordTask(), Plan("TURKEY", 200), store))
        while len(model.asked) < 50:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(model.asked)

    with TransitionStore("sqlite://") as store:
        asked = asyncio.run(stop_midway(store))
        done = len(store)
        assert asked - 8 <= done <= asked < 200
        assert ask(TableChatModel(), store, Plan("TURKEY", 200)).questions == 200 - done
        assert len(store) == 200


CHILD = """
import asyncio, sys
from pathlib import Path
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from detailed_balance.callbacks import TransitionStore
from examples.paper.agent.explore import explore
from examples.paper.agent.plan import Plan
from examples.paper.words.task import WordTask

class Slow(GenericFakeChatModel):
    async def _agenerate(self, messages, **kwargs):
        with open("calls", "a") as file:
            file.write("asked\\n")
        await asyncio.sleep(0.02)
        return self._generate(messages)

with TransitionStore("sqlite:///words.db", durability="sync") as store:
    model = Slow(messages=iter(["attitude"] * 150))
    plan = Plan("TURKEY", 150)
    journal = Path("words.jsonl")
    asyncio.run(explore(model, WordTask(), plan, store, max_concurrency=4, journal=journal))
"""


def test_after_a_kill_every_probe_is_recorded_exactly_once(tmp_path):
    calls, journal = tmp_path / "calls", tmp_path / "words.jsonl"
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=tmp_path)
    while child.poll() is None and not (calls.exists() and calls.stat().st_size > 60 * 6):
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    asked = len(calls.read_text().splitlines())
    with TransitionStore(f"sqlite:///{tmp_path / 'words.db'}") as store:
        done = len(store)
        # What was not recorded was under way when the process died.
        assert 60 - 4 <= asked - 4 <= done < 150
        model = ScriptedModel(reply=lambda word: "attitude")
        ask(model, store, Plan("TURKEY", 150), journal=journal)
        assert len(model.asked) == 150 - done
        assert len(store) == 150
    assert abs(read_journal(journal).questions - 150) <= 4


def test_a_journal_line_that_was_cut_short_is_passed_over(tmp_path):
    path = tmp_path / "words.jsonl"
    with TransitionStore("sqlite://") as store:
        counter = ask(LexiconChatModel(), store, Plan("TURKEY", 40), journal=path)
        with path.open("a") as file:
            file.write('\n{"source": "TUR')
        assert read_journal(path) == counter
        assert counter.questions == 40
        assert ask(LexiconChatModel(), store, Plan("TURKEY", 60), journal=path).questions == 60
    assert read_journal(path).questions == 60


# The tables.


def assert_near(value, published):
    assert np.isinf(value) == np.isinf(published)
    assert np.isinf(value) or abs(value - published) < 0.05


@pytest.mark.parametrize("name", ["claude_4", "gemini_2_5_flash"])
def test_a_table_gives_the_published_potentials(name):
    table = WordTable.load(name)
    ours = {word: V for word, V, *_ in compare_published(table, table.counts)}
    for word, published in table.published.items():
        assert_near(ours[word], published)
    finite = [word for word in ours if ours[word] < np.inf]
    assert sorted(finite, key=ours.get) == sorted(finite, key=table.published.get)


def test_the_words_that_nothing_leads_up_to_are_in_the_order_of_the_table():
    potential = estimate_potential(WordTable.load("claude_4").counts)
    assert potential.difference("BUZZY", "TURKEY") == np.inf
    assert potential.difference("TURKEY", "PROBLEMS") == np.inf


def test_the_counts_of_gemini_are_those_of_the_authors_with_errors():
    table = WordTable.load("gemini_2_5_flash")
    assert "authors' repository" in table.origin
    assert (table.counts.total, table.counts.counts.nnz, len(table.counts)) == (8069, 26, 13)
    assert table.attempts_per_state == pytest.approx(20_000 / 13)
    V = table.potential()
    words = ("DISCIPLINE", "EXCELLENT", "BLISSFUL")
    # V is log T(down) / T(up), as no loop of three words was seen in both directions.
    by_hand = [np.log(954 / 564), np.log(822 / 7), np.log(353 / 2)]
    assert [V.difference(word, "ATTITUDE") for word in words] == pytest.approx(by_hand)
    assert by_hand == pytest.approx([0.53, 4.77, 5.17], abs=0.005)
    errors = [
        np.sqrt(1 / down + 1 / up - 2 * 13 / 20_000)
        for down, up in ((954, 564), (822, 7), (353, 2))
    ]
    found = [V.standard_error(word, "ATTITUDE") for word in words]
    assert found == pytest.approx(errors, rel=0.05)


@pytest.mark.parametrize("name", ["claude_4", "gemini_2_5_flash"])
def test_only_words_of_infinite_potential_have_a_height_where_an_optimiser_stopped(name):
    table = WordTable.load(name)
    assert set(table.stopped) == {word for word, V in table.published.items() if np.isinf(V)}
    assert min(table.stopped.values()) > 17


def test_a_replay_gives_each_recorded_answer_exactly_once():
    counts, task = WordTable.load("claude_4").counts, WordTask()
    model = TableChatModel(replay=True)
    row = counts.index("ATTITUDE")
    said = [model.invoke(task.ask("ATTITUDE")).text for _ in range(4000)]
    assert Counter(said)["PERSONAL"] == counts.counts[row, counts.index("PERSONAL")] == 66
    assert Counter(said)["PROBLEMS"] == counts.counts[row, counts.index("PROBLEMS")] == 20
    assert sum(task.judge("ATTITUDE", text) == "invalid" for text in said) == 3914
    assert said[:1000].count("PERSONAL") > 5  # and in random order


@pytest.mark.parametrize("mode", ["probe", "walk"])
@pytest.mark.parametrize("name", ["claude_4", "gemini_2_5_flash"])
def test_a_recorded_run_finds_the_published_potentials_within_its_errors(name, mode):
    table = WordTable.load(name)
    with TransitionStore("sqlite://") as store:
        ask(TableChatModel(table=name), store, Plan(table.top, PROBES, mode))
        rows = compare_published(table, store.counts())
    compared = [row for row in rows if np.isfinite(row[2]) and row[4]]
    assert compared
    for _, _, V, error, published in compared:
        assert abs(V - published) < 4 * error + 0.05
    above = [row for row in rows if np.isinf(row[4])]
    assert not any(np.isfinite(row[2]) for row in above)
    if mode == "probe":  # a walk soon leaves those words for good
        assert any(np.isinf(row[2]) for row in above)


@pytest.mark.skipif(PROBES < 20_000, reason="DETAILED_BALANCE_TEST_WORD_PROBES=20000 runs it")
@pytest.mark.parametrize("name", ["claude_4", "gemini_2_5_flash"])
def test_a_whole_replay_finds_the_published_potentials(name):
    table = WordTable.load(name)
    with TransitionStore("sqlite://") as store:
        ask(TableChatModel(table=name, replay=True), store, Plan("BUZZY", 20_000))
        rows = compare_published(table, store.counts())
    for _, _, V, error, published in rows:
        assert np.isinf(V) == np.isinf(published)
        # A deck of answers is not dealt to its end where its word was asked about more rarely.
        assert np.isinf(V) or abs(V - published) < 0.05 + 0.3 * error


# The lexicon.


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_lexicon_is_in_detailed_balance_at_every_temperature(temperature):
    model = LexiconChatModel(temperature=temperature)
    rates = model.kernel().probabilities.toarray()
    linked = (rates > 0) & ~np.eye(len(LEXICON), dtype=bool)
    assert (linked.sum(axis=1) == 6).all()
    assert (linked == linked.T).all()
    f, g = np.nonzero(linked)
    drop = (model.potential[f] - model.potential[g]) / temperature
    np.testing.assert_allclose(np.log(rates[f, g] / rates[g, f]), drop, atol=1e-9)
    np.testing.assert_allclose(rates.sum(axis=1), 0.9)


def test_the_lexicon_answers_by_its_kernel_with_escapes_of_each_kind():
    model, task, n = LexiconChatModel(seed=3), WordTask(), 4000
    row = model.kernel().probabilities.toarray()[LEXICON.index("TURKEY")]
    said = Counter()
    for _ in range(n):
        text = model.invoke(task.ask("TURKEY")).text
        kind = task.judge("TURKEY", text)
        said[text if kind == "move" else kind] += 1
    expected = {LEXICON[i]: n * row[i] for i in np.flatnonzero(row)}
    expected["unchanged"] = expected.pop("TURKEY")
    expected |= {"invalid": 0.05 * n, "wrong sum": 0.05 * n}
    assert set(said) <= set(expected)
    statistic = sum((said[kind] - mean) ** 2 / mean for kind, mean in expected.items())
    assert statistic < chi2.isf(1e-4, len(expected) - 1)


def test_the_known_potential_lies_within_the_errors_as_often_as_they_say():
    model, rng = LexiconChatModel(), np.random.default_rng(0)
    found = [
        recover_potential(estimate_potential(draw_counts(rng, model, 312)), model.height)
        for _ in range(12)
    ]
    assert all(len(recovery.states) == 63 for recovery in found)
    assert 0.92 < np.mean([recovery.pair_coverage for recovery in found]) < 0.98
    assert 0.88 < np.mean([recovery.coverage for recovery in found]) <= 1
    assert np.mean([recovery.rms for recovery in found]) < 0.25


@pytest.fixture
def no_popularity(monkeypatch):
    """Leave out what takes nearly all the time of a summary."""
    monkeypatch.setattr(evaluation, "compare_with_popularity", lambda *_, **__: None)


@pytest.mark.usefixtures("no_popularity")
def test_no_loop_is_found_driven_in_detailed_balance_and_chi_square_is_one():
    model, rng = LexiconChatModel(), np.random.default_rng(1)
    summaries = [
        summarize_balance(counts, estimate_potential(counts))
        for counts in (draw_counts(rng, model, 312) for _ in range(8))
    ]
    assert sum(len(summary.violations) > 0 for summary in summaries) <= 2  # 5% of them each
    assert {summary.triplets for summary in summaries} == {len(model.triangles())} == {128}
    assert 0.9 < np.mean([summary.chi2_multinomial for summary in summaries]) < 1.25
    assert all(s.chi2_paper < s.chi2_multinomial for s in summaries)
    assert min(summary.correlation for summary in summaries) > 0.95


@pytest.mark.usefixtures("no_popularity")
def test_a_driven_loop_has_its_affinity_and_is_found():
    model, rng = driven_lexicon(), np.random.default_rng(2)
    rates, plain = (m.kernel().probabilities.toarray() for m in (model, LexiconChatModel()))
    ((loop, affinity),) = model.driving.items()
    there = [LEXICON.index(word) for word in loop]
    after = [*there[1:], there[0]]
    exact = np.log(rates[there, after]).sum() - np.log(rates[after, there]).sum()
    assert exact == pytest.approx(affinity)
    changed = ~np.isclose(rates, plain) & ~np.eye(len(LEXICON), dtype=bool)
    assert changed.sum() == 3
    summaries = [
        summarize_balance(counts, estimate_potential(counts))
        for counts in (draw_counts(rng, model, 312) for _ in range(6))
    ]
    assert [count_found(summary, model) for summary in summaries] == [1] * 6
    violations = sum(len(summary.violations) for summary in summaries)
    assert sum(count_false(summary, model) for summary in summaries) <= 0.2 * violations


def test_a_recorded_run_of_the_lexicon_finds_its_potential():
    model = LexiconChatModel(seed=5)
    with TransitionStore("sqlite://") as store:
        counter = ask(model, store, Plan("TURKEY", 3 * PROBES))
        counts = store.counts()
    assert counts.attempts.sum() == counter.questions == 3 * PROBES
    assert counts.escapes.sum() == counter.answers["invalid"] + counter.answers["wrong sum"]
    assert counts.counts.diagonal().sum() == counter.answers["unchanged"]
    recovery = recover_potential(estimate_potential(counts), model.height)
    assert len(recovery.states) > 55
    assert recovery.pair_coverage > 0.85
    assert recovery.correlation > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"invalid": 0.6, "wrong_sum": 0.5}, "under 1"),
        ({"driving": {("TURKEY", "NOWORD", "WRITING"): 1.0}}, "never steps"),
    ],
)
def test_a_lexicon_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LexiconChatModel(**settings)


# The script.


def test_the_script_prints_draws_and_goes_on(tmp_path, capsys):
    command = ["--only", "claude", "lexicon", "--store", str(tmp_path / "words.db")]
    words.main([*command, "--probes", "400"])
    first = capsys.readouterr().out
    words.main([*command, "--probes", "600", "--output", str(tmp_path / "figures")])
    again = capsys.readouterr().out
    assert first.count("400 questions") == again.count("600 questions") == 2
    for word in ("ATTITUDE", "PERSONAL", "BUZZY"):
        assert word in again
    with TransitionStore(f"sqlite:///{tmp_path / 'words.db'}") as store:
        assert len(store) == 2 * 600
    result = json.loads((tmp_path / "figures" / "words.json").read_text())
    assert result["claude"]["potentials"][1]["V of the table"] == pytest.approx(4.07, abs=0.01)
    figures = {path.name for path in (tmp_path / "figures").glob("*.png")}
    kinds = ("pairs", "loops", "landscape")
    assert figures == {f"{name}-{kind}.png" for name in ("claude", "lexicon") for kind in kinds}


def test_any_model_and_any_sum_can_be_asked(tmp_path, monkeypatch, capsys):
    after = {"ABC": "CAB", "CAB": "BCA", "BCA": "ABC"}
    usage = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
    model = ScriptedModel(reply=lambda word: AIMessage(after[word], usage_metadata=usage))
    monkeypatch.setattr(words, "choose_model", lambda *_: model)
    command = ["--model", "some:model", "--target", "6", "--start", "abc", "--probes", "90"]
    words.main([*command, "--prices", "1", "10", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "90,000 + 900 tokens, cost 0.099" in printed
    assert "BCA" in printed
    result = json.loads((tmp_path / "words.json").read_text())["model"]
    assert set(result["potential"]["states"]["state"]) == set(after)
    assert [set(found["loop"]) for found in result["balance"]["violations"]] == [set(after)]


def test_a_vocabulary_keeps_the_words_of_the_right_sum(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("attitude\nturkey\nhen\n12\n")
    assert read_vocabulary(path, 100) == {"ATTITUDE", "TURKEY"}
    with pytest.raises(InvalidInputError, match="none sum to 99"):
        read_vocabulary(path, 99)
    with pytest.raises(InvalidInputError, match="--vocabulary"):
        read_vocabulary(tmp_path / "none", 100)


@pytest.mark.parametrize("wrong", [{"questions": 0}, {"mode": "run"}])
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        Plan("TURKEY", **wrong)


@pytest.mark.parametrize("start", ["turkey", "HEN"])
def test_a_first_word_that_does_not_fit_is_refused_before_anything_is_asked(start):
    model = ScriptedModel(reply=failing)
    with TransitionStore("sqlite://") as store, pytest.raises(InvalidInputError, match="start"):
        ask(model, store, Plan(start, 10))
    assert model.asked == []
