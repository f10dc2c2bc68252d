"""What LangGraph's savers wrote becomes runs: no class is imported, nothing is unpickled."""
