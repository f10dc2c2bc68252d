"""The commands of the command line, one file for each."""

__all__: list[str] = []
