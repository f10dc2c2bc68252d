"""Programs that show the library at work; run them from the root of the project."""
