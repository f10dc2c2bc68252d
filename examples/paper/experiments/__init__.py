"""One program for each experiment, with a function `main` that takes the words of its command."""
