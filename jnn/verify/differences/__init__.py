"""Tests of any function's derivatives by finite differences."""
