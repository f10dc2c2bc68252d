"""Stop a run that goes wrong, with a bound on stopping good ones."""
