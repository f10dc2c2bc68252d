"""The labels that trajectories get by themselves."""

import pytest
from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import END, START

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import PromptStates, TransitionCallbackHandler
from detailed_balance.callbacks.recorder._labels import Labels, read_model
from tests.support.agents import INPUT, ScriptedModel, chain, names_agents, run, thread

QUESTION = {"messages": [("user", "hi")]}


class Named(ScriptedModel):
    """A model that says its name, as those of the providers do."""

    model_name: str = "gpt-x"


def agent_of(*script, model="gpt-x", **options):
    return create_agent(Named(script=list(script), model_name=model), [], **options)


def contexts_of(agent, labels=("model", "graph"), inputs=QUESTION, context=None, **config):
    handler = TransitionCallbackHandler(context=context, labels=labels)
    agent.invoke(inputs, {"callbacks": [handler], **config})
    assert handler.faults == 0
    return {
        (source, target): dict(key) for source, target, key in handler.graph.graph.edges(keys=True)
    }


def test_model_and_graph_label_a_trajectory_without_effort():
    found = contexts_of(agent_of("done", name="helper"))
    assert found == {
        (START, "model"): {"model": "gpt-x", "graph": "helper"},
        ("model", END): {"model": "gpt-x", "graph": "helper"},
    }


def test_names_that_say_nothing_are_left_out():
    assert contexts_of(chain("a"), inputs=INPUT) == {(START, "a"): {}, ("a", END): {}}


@names_agents
def test_agent_tags_and_chosen_metadata_are_labels_on_demand():
    config = {"tags": ["b", "a"], "metadata": {"tier": "gold", "secret": "x"}}
    labels = ("agent", "tags", "tier", "absent")
    found = contexts_of(agent_of("done", name="helper"), labels, **config)
    assert found[START, "model"] == {"agent": "helper", "tags": "a,b", "tier": "gold"}


def test_fixed_labels_win():
    found = contexts_of(agent_of("done"), context={"model": "mine", "version": "2"})
    assert found[START, "model"] == {"model": "mine", "version": "2"}


def test_prompt_is_known_by_the_system_message():
    def hash_of(prompt):
        return contexts_of(agent_of("done", system_prompt=prompt), ("prompt",))[START, "model"]

    assert hash_of("Be good.") == hash_of("Be good.")
    assert hash_of("Be good.") != hash_of("Be bad.")
    assert set(hash_of("Be good.")) == {"prompt"}
    assert hash_of(None) == {}


def test_prompt_template_is_the_same_whatever_fills_it():
    def hash_of(template, **values):
        prompt = ChatPromptTemplate.from_messages([("system", template), ("human", "{q}")])
        pipeline = prompt | Named(script=["done"])
        found = contexts_of(pipeline, ("prompt",), {"q": "?", **values})
        return found[START, "model"]["prompt"]

    first = hash_of("You are {who}.", who="Ann")
    assert hash_of("You are {who}.", who="Bob") == first
    assert hash_of("You were {who}.", who="Bob") != first


def test_subgraph_has_the_name_of_its_own_graph():
    inner = chain("in1")
    inner.name = "inner"
    handler = TransitionCallbackHandler()
    run(chain("sub", sub=inner), handler)
    labels = {source: dict(key) for source, _, key in handler.graph.graph.edges(keys=True)}
    assert labels["in1"] == {"graph": "inner"}
    assert labels["sub"] == {}


def test_calls_of_models_carry_their_model():
    handler = TransitionCallbackHandler(PromptStates())
    Named(script=["answer"]).invoke("question", {"callbacks": [handler]})
    assert handler.graph.contexts() == ((("model", "gpt-x"),),)


def test_two_models_divide_the_path_where_the_second_is_called():
    def ask(model):
        def work(state, config):
            Named(script=["x"], model_name=model).invoke("hi", config)
            return {"log": [model]}

        return work

    found = contexts_of(chain("a", "b", a=ask("small"), b=ask("large")), inputs=INPUT)
    models = {edge: labels["model"] for edge, labels in found.items()}
    assert models == {(START, "a"): "small", ("a", "b"): "large", ("b", END): "large"}


def test_labels_that_differ_from_run_to_run_are_bounded_and_said(caplog):
    labels = Labels((("version", "2"),), ("run",), most=3)
    made = {labels.of_graph({"run": i}, [], None) for i in range(50)}
    assert len(made) == 4
    assert (("version", "2"),) in made
    (record,) = caplog.records
    assert "'run'" in record.getMessage()


@pytest.mark.parametrize("labels", ["model", [1], [""], [None]])
def test_what_is_no_name_is_refused(labels):
    with pytest.raises(InvalidInputError, match="labels must be a sequence of names"):
        TransitionCallbackHandler(labels=labels)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"metadata": {"ls_model_name": "a"}, "invocation_params": {"model": "b"}}, "a"),
        ({"invocation_params": {"model": "b"}}, "b"),
        ({"invocation_params": {"model_name": "c"}}, "c"),
        ({"invocation_params": {"model": 7}}, None),
        ({}, None),
    ],
)
def test_model_is_read_off_its_own_words(event, expected):
    assert read_model(event.get("metadata", {}), event) == expected


def test_label_of_a_thread_stays_out_of_the_next_one():
    handler = TransitionCallbackHandler(labels=("tier",))
    for name, tier in [("T1", "gold"), ("T2", "silver")]:
        run(chain("a"), handler, metadata={"tier": tier}, **thread(name))
    assert set(handler.graph.contexts()) == {(("tier", "gold"),), (("tier", "silver"),)}
