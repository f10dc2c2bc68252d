"""The logs that coding agents keep of their sessions: an adapter for each format."""
