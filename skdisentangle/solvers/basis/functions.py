"""Components that are functions of the others, which tasks of classes bring about.

Where classes are told apart nearly without error, a straight line through the factors does not
give quite their chances, and a square of what many tasks share mends that for all of them. An
encoder makes one if it has a component to spare. It tells nothing that the others do not.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ._common import EMPTY

#: A component is a function of the others if curves of them explain this share of what
#: lines do not. (Of factors at most 0.39 was seen, of squares at least 0.93. Half of it changed
#: nothing; near one, 9 or 11 components of 21 were in use instead of 7.)
FUNCTION_SHARE = 0.8


def function_of_others(
    codes: Tensor, share: Tensor, used: Tensor, number: float
) -> int | None:
    """The component that curves of the others explain best, if they explain nearly all.

    The curves are squares, magnitudes and cubes of single components, summed.

    Parameters
    ----------
    codes : Tensor of shape (n_rows, n_components)
        Standardised.
    share : Tensor of shape (n_rows,)
        Share of each row in the statistics.
    used : Tensor of bool, of shape (n_components,)
        Which components count.
    number : float
        How many rows these are, by number or by weight.

    Returns
    -------
    int or None
        Its number; None if there is none, or if rows are too few to say.
    """
    values = codes[:, used].double().cpu().numpy()
    n = values.shape[1]
    columns = np.hstack(
        [values, values**2, np.abs(values), values**3, np.ones((len(values), 1))]
    )
    if n < 2 or number < 2 * columns.shape[1]:
        return None
    columns *= np.sqrt(share.double().cpu().numpy())[:, np.newaxis]
    columns /= np.linalg.norm(columns, axis=0)
    gram = columns.T @ columns + EMPTY * np.eye(columns.shape[1])
    # What the others leave of a column is one over its entry in the inverse. Lines are the
    # columns themselves; of all curves, those of the column itself are left out.
    lines = np.append(np.arange(4 * n) < n, True)
    of_lines = np.linalg.inv(gram[np.ix_(lines, lines)]).diagonal()[:n]
    inverse = np.linalg.inv(gram)
    own = np.arange(n)[:, np.newaxis] + n * np.arange(1, 4)
    between = inverse[np.arange(n)[:, np.newaxis], own]
    among = inverse[own[:, :, np.newaxis], own[:, np.newaxis]]
    solved = np.linalg.solve(among, between[:, :, np.newaxis])[:, :, 0]
    of_curves = inverse.diagonal()[:n] - (between * solved).sum(1)
    left_of_lines = 1 / of_lines / (number - lines.sum())
    left_of_curves = 1 / of_curves / (number - (len(gram) - 3))
    explained = 1 - left_of_curves / left_of_lines
    best = int(np.argmax(explained))
    if explained[best] <= FUNCTION_SHARE:
        return None
    return int(used.nonzero()[best])
