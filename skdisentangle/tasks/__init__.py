"""Tasks: read their labels, find their types and encode them."""

from .task import Task

__all__ = ["Task"]
