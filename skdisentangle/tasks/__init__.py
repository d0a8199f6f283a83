"""Tasks: labels as read, typed and encoded, and what each type of task is."""

from .task import Task

__all__ = ["Task"]
