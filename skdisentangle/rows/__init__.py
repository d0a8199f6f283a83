"""Rows of X, on their way into torch."""
