"""Tests of the library, in the same rooms as what they test."""
