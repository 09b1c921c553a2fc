"""Tests of the line searches."""
