"""Random input and damaged files: whatever comes, a fit that is sound or a clear refusal.

A *case* is a literal, small enough to be read: what to build and what to do with it. It is
drawn by :mod:`.strategies`, and checked by a plain function of :mod:`.properties`.
``tests/test_fuzzing.py`` runs some hundred fixed cases, and ``python -m tests.fuzzing`` as
many random ones as are asked for.
"""
