"""Does detailed balance hold, and which loops break it: tests on a fixed sample."""
