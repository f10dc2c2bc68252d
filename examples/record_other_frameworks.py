"""Record agents of pydantic-ai, the OpenAI Agents SDK and smolagents, all by one exporter.

It needs ``pip install 'detailed-balance[frameworks]'``, and no network: the models are scripted.
"""

from itertools import cycle

from agents import (
    Agent as OpenAIAgent,
    Model as OpenAIModel,
    ModelResponse as OpenAIResponse,
    Runner,
    Usage,
    function_tool,
    generation_span,
    set_tracing_disabled,
)
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from openinference.instrumentation.smolagents import SmolagentsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from smolagents import ChatMessage, Model as SmolModel, ToolCallingAgent, tool
from smolagents.models import (
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
)

from detailed_balance.otel import TransitionSpanExporter

SCRIPT = ("search", "read", "search", None)
"""The tools that each agent calls, one after the other; None is its answer."""

# These are the lines: an exporter, its place in the provider, and the instrumentation of each
# framework, as for any other back end.
exporter = TransitionSpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
PydanticAgent.instrument_all(InstrumentationSettings(tracer_provider=provider))
OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
SmolagentsInstrumentor().instrument(tracer_provider=provider)


def search(query: str) -> str:
    """Search the web.

    Args:
        query: What to look for.
    """
    return f"nothing new about {query}"


def read(query: str) -> str:
    """Read a page.

    Args:
        query: The page.
    """
    return f"{query} says what it always said"


def run_pydantic_ai(runs: int) -> None:
    """Run an agent of pydantic-ai."""
    script = cycle(SCRIPT)

    def reply(messages, info):
        name = next(script)
        part = ToolCallPart(name, {"query": "x"}) if name else TextPart("done")
        return ModelResponse(parts=[part])

    agent = PydanticAgent(FunctionModel(reply), name="pydantic-ai", tools=[search, read])
    for _ in range(runs):
        agent.run_sync("question")


class ScriptedOpenAI(OpenAIModel):
    """Stands in for a model of the OpenAI Agents SDK."""

    def __init__(self) -> None:
        self.script = enumerate(cycle(SCRIPT))

    async def get_response(self, *given, **settings):
        """Ask for the next tool, or answer."""
        number, name = next(self.script)
        with generation_span(model="scripted"):
            item = self.make_item(number, name)
        return OpenAIResponse(output=[item], usage=Usage(), response_id=None)

    def make_item(self, number, name):
        """Return a call of a tool, or an answer."""
        if name:
            call = {"name": name, "arguments": '{"query": "x"}', "call_id": str(number)}
            return ResponseFunctionToolCall(type="function_call", **call)
        text = ResponseOutputText(text="done", type="output_text", annotations=[])
        about = {"id": "1", "role": "assistant", "status": "completed", "type": "message"}
        return ResponseOutputMessage(content=[text], **about)

    def stream_response(self, *given, **settings):
        """Do not stream."""
        raise NotImplementedError("a scripted model does not stream")


def run_openai_agents(runs: int) -> None:
    """Run an agent of the OpenAI Agents SDK."""
    tools = [function_tool(search), function_tool(read)]
    agent = OpenAIAgent("openai-agents", model=ScriptedOpenAI(), tools=tools)
    for _ in range(runs):
        Runner.run_sync(agent, "question")


class ScriptedSmol(SmolModel):
    """Stands in for a model of smolagents, which answers by the tool `final_answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.script = cycle(SCRIPT)

    def generate(self, messages, **settings):
        """Ask for the next tool."""
        name = next(self.script)
        arguments = {"query": "x"} if name else {"answer": "done"}
        named = name or "final_answer"
        function = ChatMessageToolCallFunction(name=named, arguments=arguments)
        call = ChatMessageToolCall(id=named, type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


def run_smolagents(runs: int) -> None:
    """Run an agent of smolagents."""
    tools = [tool(search), tool(read)]
    agent = ToolCallingAgent(tools, ScriptedSmol(), name="smolagents", verbosity_level=0)
    for _ in range(runs):
        agent.run("question")


if __name__ == "__main__":
    set_tracing_disabled(disabled=False)
    for run in (run_pydantic_ai, run_openai_agents, run_smolagents):
        run(5)
    exporter.force_flush()
    moves = exporter.graph.graph.edges(keys=True, data="count")
    for name, source, target, count in sorted((dict(c)["graph"], a, b, n) for a, b, c, n in moves):
        print(f"{name}: {source} -> {target} {count}")
    print(f"{exporter.graph.outcomes()}, {exporter.dropped} spans dropped")
