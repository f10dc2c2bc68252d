"""An agent that explores states by asking a model, and keeps what it found."""
