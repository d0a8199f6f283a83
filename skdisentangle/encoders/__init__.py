"""Encoders: from rows of X to components.

An encoder is a torch module in three parts: :class:`~.scalers.InputScaler`, which
standardises the columns; the *body* (:mod:`~.networks`), built here or brought by the user,
which maps standardised rows to ``n_components`` raw values; and
:class:`~.scalers.ComponentScaler`, which standardises, orders, signs and switches off
components.
"""
