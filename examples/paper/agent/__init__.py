"""An agent that explores states by asking a chat model: its plan, its record and what that says."""
