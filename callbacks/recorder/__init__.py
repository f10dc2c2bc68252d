"""Events of LangChain and LangGraph become transitions of runs."""
