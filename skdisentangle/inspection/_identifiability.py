"""Are the components of a fit the factors? Evidence without ground truth, and a verdict.

Sparse heads determine the factors if the supports vary enough (Lachapelle et al.,
"Synergies between disentanglement and sparsity: generalization and identifiability in
multi-task learning", ICML 2023): for each factor, the supports that leave it out must
together cover all the others. In pairs: for all i and j, some task uses i without j. If
none does, i may be i plus any multiple of j, and no head becomes less sparse.

That is a condition on the true supports. The fitted ones are the sparsest that were found,
and some of their zeros may be there by chance: of the multiples of j that can be added to
i there is always one at which some task that needs both seems to need i only. So the
condition, taken at its word, holds for nearly every fit. Of a pair we ask for more:

- *Count.* As many tasks as two, and a quarter of those that use i, use i without j: one
  comes for free, as said.
- *Pull.* A coefficient may be zero only because the penalty holds it there. If the data pull
  at it, beyond chance, so that it would be 2% of the task's largest, it counts as small.
- *Gap.* Zeros by chance are the middle of a spread of sizes, so that there are small
  coefficients beside them; true ones stand alone. The tasks that use i without j must be
  more than twice those whose coefficient on j is small.
- *Correlation.* A basis chosen for its zeros has no reason to make the components
  uncorrelated, nor one chosen for that, as it may be where tasks are few, to have the zeros
  of the sparsest. If both is so, the factors have been found twice over, by two criteria
  that do not know of each other; then one task of the pair is enough, unless the gap is
  missing.

A component that all tasks use is in doubt as well, also where it is the only one. The condition
asks for supports that leave out each factor; of what all tasks use there are none. If all tasks
need two factors in the same proportions, the fit finds their sum as one component.

The numbers in these rules were chosen on development problems of the suite
"identifiability" in ``benchmarks``, and hold on others (see the page of the benchmarks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_scalar

from .._random import RandomState, check_rng, draw_seed
from ..fitting.path import can_learn
from ..rows.array_api import in_numpy, numpy_array
from ..tasks.labels import Labels
from ._fitted import (
    active_codes,
    component_labels,
    fitted_parts,
    held_zeros,
    task_sizes,
)
from ._plots import ORANGE, axes_of_size, label_ticks, new_axes, put_title, room_for
from ._rows import in_rows

if TYPE_CHECKING:
    from ..disentangler import SparseSharedDisentangler

__all__ = [
    "IdentifiabilityDisplay",
    "IdentifiabilityReport",
    "identifiability_report",
    "listed",
    "separating_tasks",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

#: Beyond what chance explains, so many tasks must use a component without another.
LEAST_SEPARATING = 2

#: Share of the tasks that use a component which may leave another one out by chance.
CHANCE_SHARE = 0.25

#: A coefficient is small below this share of the task's largest.
SMALL = 0.3

#: A zero at which the data pull to more than this share of the task's largest coefficient
#: is none. Zeros of factors that are used only together would be 1% to 20%, of others mostly
#: less than 1%.
HELD = 0.02

#: So many zeros by chance are expected for each small coefficient.
ZEROS_PER_SMALL = 2

#: Components with less correlation than this count as uncorrelated.
UNCORRELATED = 0.15

#: Standard deviation, as a share of the largest value, of a column that does not vary.
CONSTANT = 1e-6

#: Draws of rows for a re-fit, at the most, until some task has two different labels.
MAX_DRAWS = 20

#: A component is stable if it correlates with its match in other fits by this, on average.
STABLE = 0.9

#: Components with less usage than this share of the largest, which less than this share of
#: the tasks use, do not count in the verdict on the whole: they fit what is left of a task.
MINOR_USAGE, MINOR_TASKS = 0.25, 0.1

#: Singular values of the heads below this share of the largest are none.
RANK_TOLERANCE = 0.01

#: Side of a cell that has room for a count, in inches.
MIN_CELL = 0.2

#: Loadings below this in a direction that the heads do not see are none.
LOADING = 0.1


def separating_tasks(supports: Any) -> IntArray:
    """Number of tasks that use one component without another.

    Parameters
    ----------
    supports : array-like of bool, of shape (n_tasks, n_components)

    Returns
    -------
    ndarray of shape (n_components, n_components)
        Entry (i, j) counts the tasks that use i and not j. The condition of Lachapelle
        et al. (see the module) holds if all entries off the diagonal are positive.
    """
    used = np.asarray(supports, dtype=np.intp)
    counts: IntArray = used.T @ (1 - used)
    return counts


def _unit_heads(estimator: SparseSharedDisentangler) -> FloatArray:
    """Heads on the active components, each of length one, whatever its unit."""
    heads: FloatArray = estimator.coef_[:, estimator.active_components_]
    lengths = np.linalg.norm(heads, axis=1, keepdims=True)
    return heads / np.where(lengths > 0, lengths, 1.0)


def _separated(
    sizes: FloatArray, held: NDArray[np.bool_], correlation: FloatArray | None
) -> tuple[NDArray[np.bool_], IntArray, IntArray]:
    """Which component is told apart from which, by the rules of the module.

    Parameters
    ----------
    sizes : ndarray of shape (n_tasks, n_components)
        Of coefficients, the largest of each task being one.
    held : bool ndarray of shape (n_tasks, n_components)
        Zeros that only the penalty holds.
    correlation : ndarray of shape (n_components, n_components) or None

    Returns
    -------
    separated : bool ndarray of shape (n_components, n_components)
        Whether i is told apart from j; true on the diagonal.
    without : int ndarray of shape (n_components, n_components)
        Tasks that use i and not j.
    small : int ndarray of shape (n_components, n_components)
        Tasks that use i and, by a small coefficient or but for the penalty, j.
    """
    used = sizes > 0
    small = used.astype(np.intp).T @ (held | (used & (sizes < SMALL))).astype(np.intp)
    without = separating_tasks(used) - used.astype(np.intp).T @ held.astype(np.intp)
    by_chance = np.maximum(
        CHANCE_SHARE * used.sum(axis=0)[:, np.newaxis], ZEROS_PER_SMALL * small
    )
    separated = without >= LEAST_SEPARATING + by_chance
    if correlation is not None:
        gap = without > ZEROS_PER_SMALL * small
        separated |= gap & (np.abs(correlation) <= UNCORRELATED)
    np.fill_diagonal(separated, True)
    return separated, without, small


def _unseen(heads: FloatArray) -> tuple[int, NDArray[np.bool_]]:
    """Rank of the heads, and components that are in a direction which none sees."""
    n_components = heads.shape[1]
    if not n_components:
        return 0, np.zeros(0, dtype=bool)
    _, spectrum, right = np.linalg.svd(heads)
    rank = int((spectrum > RANK_TOLERANCE * spectrum.max(initial=0)).sum())
    return rank, (np.abs(right[rank:]) > LOADING).any(axis=0)


def _correlation(first: FloatArray, second: FloatArray) -> FloatArray:
    """Correlation of every column with every other one; NaN for constant columns."""
    parts = []
    for codes in (first, second):
        centred = codes - codes.mean(axis=0)
        length = np.linalg.norm(centred, axis=0)
        rounding = CONSTANT * np.sqrt(len(codes)) * np.abs(codes).max(axis=0)
        parts.append(centred / np.where(length > rounding, length, np.nan))
    correlation: FloatArray = parts[0].T @ parts[1]
    return correlation


def _stability_in_refit(
    estimator: SparseSharedDisentangler,
    X: Any,
    Y_tasks: Any,
    codes: FloatArray,
    seed: int,
) -> FloatArray:
    """Correlation of each component with its match in a fit on rows drawn anew."""
    rng, labels = np.random.default_rng(seed), Labels.read(Y_tasks)
    for _ in range(MAX_DRAWS):
        rows = rng.integers(len(codes), size=len(codes))
        if can_learn(labels.take(rows)):
            break
    else:
        raise ValueError(
            "Y_tasks must have more labels for re-fits: among rows drawn with replacement "
            "no task has two different ones. Leave Y_tasks out for a report without "
            "re-fits."
        )
    again = clone(estimator).set_params(
        random_state=seed,
        warm_start=False,
        verbose=False,
        task_types=estimator._task_set.types_found(),
    )
    again._is_part = True
    # Datasets on disk give rows in order, and each of them once.
    some, repeats = np.unique(rows, return_inverse=True)
    drawn = [
        _safe_indexing(_safe_indexing(given, some), repeats) for given in (X, Y_tasks)
    ]
    again.fit(*drawn)
    match = np.nan_to_num(np.abs(_correlation(codes, active_codes(again, X))))
    stability = np.zeros(codes.shape[1])
    mine, theirs = linear_sum_assignment(match, maximize=True)
    stability[mine] = match[mine, theirs]
    return stability


def listed(labels: Sequence[Any]) -> str:
    """Components by name, or by number where they have none."""
    if all(isinstance(label, int) for label in labels):
        numbers = ", ".join(map(str, labels))
        return f"component{'' if len(labels) == 1 else 's'} {numbers}"
    return ", ".join(
        f"component {label}" if isinstance(label, int) else label for label in labels
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class IdentifiabilityReport:
    """What :func:`identifiability_report` returns. Print it, or call ``to_frame()``.

    Attributes
    ----------
    identifiable : bool
        Whether all components are, but for minor ones.
    verdict : str
        The same in words, with the reasons.
    components : list of dict
        A row for each active component, with the keys

        - ``"component"``: its number, a column of ``transform``;
        - ``"name"``: its name, or its number if ``set_component_names`` gave it none;
        - ``"usage"``: its share of the heads' magnitude;
        - ``"n_tasks"``: how many tasks use it;
        - ``"n_separating"``: how many of these omit another component, at the
          least over all others (NaN if there is no other);
        - ``"mixed_with"``: list of the components that it cannot be told apart from;
        - ``"used_by_all"``: whether all tasks that use any component use it, so that it may
          be a mixture that no task takes apart;
        - ``"stability"``: correlation with its match in re-fits, NaN without them;
        - ``"minor"``: whether it is used so rarely that the verdict on the whole does not
          depend on it;
        - ``"identifiable"``: bool;
        - ``"verdict"``: the same in words.
    unseparated_pairs : list of tuple (int, int)
        All (i, j) such that too few tasks use component i without j: what is called i
        may be i plus some of j.
    separating_tasks : ndarray of shape (n_active, n_active)
        Entry (i, j) counts the tasks that use the i-th active component and not the j-th,
        without those whose zero only the penalty holds.
    separated : bool ndarray of shape (n_active, n_active)
        Whether that, with all other evidence, is enough; true on the diagonal.
    correlation : ndarray of shape (n_active, n_active) or None
        Of the components, NaN with one that does not vary; None if X was not given.
    active_components : ndarray of int, of shape (n_active,)
    n_tasks : int
        Number of tasks with a head.
    rank : int
        Rank of the heads: how many directions of the components the tasks see.
    effective_n_factors : float
        Exponential of the entropy of the usage: the number of components, if all are
        used alike, and less if some are used rarely.
    """

    identifiable: bool
    verdict: str
    components: list[dict[str, Any]]
    unseparated_pairs: list[tuple[int, int]]
    separating_tasks: IntArray
    separated: NDArray[np.bool_]
    correlation: FloatArray | None
    active_components: IntArray
    n_tasks: int
    rank: int
    effective_n_factors: float

    def __str__(self) -> str:
        lines = [
            self.verdict,
            "",
            f"{_plural(self.n_tasks, 'task')}, "
            f"{_plural(len(self.components), 'active component')}, heads of rank "
            f"{self.rank}, {self.effective_n_factors:.1f} effective factors",
        ]
        if not self.components:
            return "\n".join(lines)
        names = [str(row["name"]) for row in self.components]
        width = max(map(len, [*names, "component"]))
        title = f"{'component':>{width}}"
        lines += ["", f"{title}  usage  tasks  separating  stability  verdict"]
        for row, name in zip(self.components, names, strict=True):
            lines.append(
                f"{name:>{width}}  {row['usage']:5.2f}  {row['n_tasks']:5d}  "
                f"{_cell(row['n_separating'], '10.0f')}  "
                f"{_cell(row['stability'], '9.2f')}  {row['verdict']}"
            )
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the table of components as a data frame.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each active component; columns as in ``components``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.components).set_index("component")


def _cell(value: float, form: str) -> str:
    width = int(form.split(".")[0])
    return f"{'-':>{width}}" if np.isnan(value) else f"{value:{form}}"


def _omitted(count: int, n_tasks: int, label: Any) -> str:
    """How many of the tasks of a component have a zero on another one, in words."""
    other = listed([label])
    if n_tasks == 1:
        return "only one task uses it" + ("" if count else f", which uses {other}, too")
    if count == 0:
        return f"none of the {n_tasks} tasks omits {other}"
    return f"{count} of the {n_tasks} tasks omit{'s' * (count == 1)} {other}"


def _component_verdict(
    row: dict[str, Any],
    mixed_with: list[Any],
    weakest: str,
    *,
    is_unseen: bool,
    is_stable: bool,
    is_single: bool,
) -> str:
    """Verdict on a component, with the reasons."""
    reasons = []
    if is_single:
        reasons.append("one task tells nothing apart")
    elif row["used_by_all"]:
        reasons.append("used by all tasks: may be a mixture")
    if mixed_with:
        reasons.append(f"may be mixed with {listed(mixed_with)} ({weakest})")
    if is_unseen:
        reasons.append("is in a direction that the heads do not see")
    if not is_stable:
        reasons.append("is another one in other fits")
    return "; ".join(reasons) if reasons else "identifiable"


def _whole_verdict(
    rows: list[dict[str, Any]],
    rank: int,
    support_size: float,
    *,
    n_tasks: int,
    looked_at_X: bool,
) -> str:
    """Verdict on the whole, with the reasons."""
    n = len(rows)
    if n == 0:
        return "Not identifiable: no component is active."
    if n_tasks == 1:
        return (
            f"Not identifiable: a single task cannot tell whether its "
            f"{_plural(n, 'component')} {'is a factor' if n == 1 else 'are factors'} or "
            f"{'a mixture' if n == 1 else 'mixtures'} of them."
        )
    doubtful = [row for row in rows if not row["identifiable"]]
    minor = [row["name"] for row in doubtful if row["minor"]]
    if len(minor) == len(doubtful):
        rest = f"; except {listed(minor)}, used rarely" if minor else ""
        return (
            f"Identifiable: {_plural(n - len(minor), 'component')}, each told apart from "
            f"all others by the tasks{rest}."
        )
    if n == 1 and doubtful[0]["used_by_all"]:
        return (
            "Not identifiable: all tasks use the only component, so it may be a mixture "
            "of factors. Tasks that need only a part of it would help."
        )
    named = listed([row["name"] for row in doubtful])
    text = (
        f"Not identifiable: {len(doubtful)} of {_plural(n, 'component')} in doubt "
        f"({named})."
    )
    used_by_all = [row["name"] for row in doubtful if row["used_by_all"]]
    if used_by_all:
        text += f" All tasks use {listed(used_by_all)}."
    if rank < n:
        text += f" The heads have rank {rank}, which is less than {n}."
    if any(row["mixed_with"] for row in doubtful):
        if len(doubtful) == n and support_size > n / 2:
            text += (
                f" The tasks use {support_size:.1f} of {n} components on average; tasks "
                "that need nearly all factors tell none apart."
            )
        else:
            text += " Tasks that use one of a mixed pair without the other would help."
        if not looked_at_X:
            text += " Given X, the correlation of the components counts as well."
    return text


def identifiability_report(
    estimator: Any,
    X: Any = None,
    Y_tasks: Any = None,
    *,
    n_refits: int = 3,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> IdentifiabilityReport:
    r"""Say whether the components of a fit can be the factors, or only mixtures.

    Different components may serve the tasks equally well. With :math:`S_t` the support
    of task t, component i is told apart from j only if some task uses it without j, and
    the factors are identified if that is so for all pairs, that is

    .. math:: \bigcup_{t:\, j \notin S_t} S_t = \{1, \dots, M\} \setminus \{j\}
              \quad \text{for all } j

    [1]_. As fitted supports fulfil that easily by chance, more is asked of them: that
    more tasks separate a pair than chance explains; that zeros are zero by themselves, not
    held by the penalty, and set apart from other coefficients by a gap; where the tasks are
    too few for that, that the components are uncorrelated; and, with `Y_tasks`, that fits
    on rows drawn anew find the same ones. A component that all tasks use may be a mixture that
    no task takes apart, so it never counts as identifiable.

    Parameters
    ----------
    estimator : SparseSharedDisentangler, Pipeline or search
        Fitted. Of a search its best estimator is meant, of a pipeline its last
        disentangler.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        Rows, best those of the fit, on which components are correlated; as they go into
        the pipeline, if it is one. Without them few tasks count as too few.
    Y_tasks : array-like or data frame, default=None
        Labels of these rows, of the tasks of the fit. If given, the estimator is fitted
        anew (the steps before it in a pipeline are not).
    n_refits : int, default=3
        Number of fits, each with a seed of its own on as many rows drawn with
        replacement; none without `Y_tasks`.
    random_state : int, RandomState instance or None, default=None
        Seed of the re-fits.
    n_jobs : int, default=None
        Number of re-fits at a time. None means 1, -1 all processors.

    Returns
    -------
    IdentifiabilityReport
        A verdict for each component and for the whole, and what led to it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message says which.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    The report sees the tasks of the fit only: a factor that no task needs is not found,
    and not missed. Factors that are correlated themselves need more tasks to be told
    apart, since correlation then is no evidence. Whether components that are not
    identifiable happen to be the factors all the same, no data can say.

    References
    ----------
    .. [1] S. Lachapelle et al., "Synergies between disentanglement and sparsity:
       generalization and identifiability in multi-task learning", ICML 2023, arXiv
       2211.14666.

    Examples
    --------
    >>> import numpy as np
    >>> from skdisentangle import SparseSharedDisentangler
    >>> from skdisentangle.inspection import identifiability_report
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.normal(size=(500, 2))
    >>> X = factors @ rng.normal(size=(2, 5))
    >>> Y_tasks = factors @ [[1, -1, 0, 0, 1], [0, 0, 1, -1, 1]]
    >>> dis = SparseSharedDisentangler(n_components=4, random_state=0).fit(X, Y_tasks)
    >>> report = identifiability_report(dis, X)
    >>> print(report.verdict)
    Identifiable: 2 components, each told apart from all others by the tasks.
    >>> always_both = factors @ [[1, 1, 1], [0, 1, 2]]
    >>> dis = dis.fit(X, always_both)
    >>> identifiability_report(dis, X).identifiable
    False
    """
    estimator, before = fitted_parts(estimator)
    if X is None and Y_tasks is not None:
        raise ValueError("Y_tasks was given without X; re-fits need both.")
    check_scalar(n_refits, "n_refits", Integral, min_val=1)
    if X is not None and before is not None:
        X = before.transform(X)
    estimator = in_numpy(estimator)
    X, Y_tasks = (in_rows(numpy_array(given)) for given in (X, Y_tasks))
    active = estimator.active_components_
    sizes = task_sizes(estimator)[0][:, active]
    codes = correlation = None
    if X is not None:
        codes = active_codes(estimator, X)
        if len(codes) < 2:
            raise ValueError(f"X must have at least 2 rows; got {len(codes)}.")
        if Y_tasks is not None:
            labels = Labels.read(Y_tasks)
            if labels.n_rows != len(codes):
                raise ValueError(
                    f"Y_tasks must have a row for each of the {len(codes)} rows of X; got "
                    f"{labels.n_rows}."
                )
            estimator._task_set.check(labels)
        correlation = _correlation(codes, codes)
    held = held_zeros(estimator, HELD)[:, active]
    separated, without, small = _separated(sizes, held, correlation)
    rank, unseen = _unseen(_unit_heads(estimator))
    stability = np.full(len(active), np.nan)
    if Y_tasks is not None and len(active):
        rng = check_rng(random_state)
        stability = np.mean(
            Parallel(n_jobs=n_jobs)(
                delayed(_stability_in_refit)(
                    estimator, X, Y_tasks, codes, draw_seed(rng)
                )
                for _ in range(n_refits)
            ),
            axis=0,
        )

    use, n_tasks = estimator.usage_[active], (sizes > 0).sum(axis=0)
    minor = use < MINOR_USAGE * use.max(initial=0)
    minor &= n_tasks < MINOR_TASKS * len(sizes)
    n_with_support = int((sizes > 0).any(axis=1).sum())
    names = component_labels(estimator)
    rows: list[dict[str, Any]] = []
    for i, component in enumerate(active):
        others = np.delete(np.arange(len(active)), i)
        partners = np.flatnonzero(~separated[i])
        is_stable = not stability[i] < STABLE  # NaN without re-fits
        used_by_all = bool(n_tasks[i] == n_with_support)
        row = {
            "component": int(component),
            "name": names[i],
            "usage": float(use[i]),
            "n_tasks": int(n_tasks[i]),
            "n_separating": float(without[i, others].min()) if len(others) else np.nan,
            "mixed_with": active[partners].tolist(),
            "used_by_all": used_by_all,
            "stability": float(stability[i]),
            "minor": bool(minor[i]),
            "identifiable": bool(
                len(sizes) > 1
                and not used_by_all
                and not (len(partners) or unseen[i])
                and is_stable
            ),
        }
        weakest = ""
        if len(partners):
            j = partners[without[i, partners].argmin()]
            weakest = _omitted(int(without[i, j]), int(n_tasks[i]), names[j])
            if small[i, j]:
                weakest += (
                    f"; {small[i, j]} nearly {'does' if small[i, j] == 1 else 'do'}"
                )
        row["verdict"] = _component_verdict(
            row,
            [names[j] for j in partners],
            weakest,
            is_unseen=bool(unseen[i]),
            is_stable=is_stable,
            is_single=len(sizes) == 1,
        )
        rows.append(row)
    pairs = [(int(active[i]), int(active[j])) for i, j in np.argwhere(~separated)]
    support_size = float((sizes > 0).sum() / max(1, n_with_support))
    return IdentifiabilityReport(
        identifiable=bool(rows)
        and all(row["identifiable"] or row["minor"] for row in rows),
        verdict=_whole_verdict(
            *(rows, rank, support_size),
            n_tasks=len(sizes),
            looked_at_X=X is not None,
        ),
        components=rows,
        unseparated_pairs=pairs,
        separating_tasks=without,
        separated=separated,
        correlation=correlation,
        active_components=active.copy(),
        n_tasks=len(sizes),
        rank=rank,
        effective_n_factors=float(np.exp(entropy(estimator.usage_))) if rows else 0.0,
    )


class IdentifiabilityDisplay:
    """Which component is told apart from which, as a picture.

    Row i, column j: how many tasks use component i without j, the shade being their
    share of those that use i. Where that is not enough the cell has a frame: what is
    called i may be i plus some of j. Use :meth:`from_estimator`, or pass a report.

    Parameters
    ----------
    report : IdentifiabilityReport
    components : sequence, default=None
        Names of the active components. None numbers them.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    im_ : matplotlib.image.AxesImage
        The shades.
    text_ : ndarray of shape (n_active, n_active)
        The counts, as matplotlib texts; None on the diagonal, and where there is no room.
    frames_ : list of matplotlib.patches.Rectangle
        Marks of the pairs that are not told apart.

    See Also
    --------
    identifiability_report : The numbers and words behind the picture.
    """

    def __init__(
        self,
        report: IdentifiabilityReport,
        *,
        components: Sequence[Any] | None = None,
    ) -> None:
        self.report = report
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        Y_tasks: Any = None,
        *,
        n_refits: int = 3,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Make the report of a fitted estimator, and draw it.

        Parameters
        ----------
        estimator, X, Y_tasks, n_refits, random_state, n_jobs
            As in :func:`identifiability_report`.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        IdentifiabilityDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError, TypeError
            As from :func:`identifiability_report`; or if no component is active.
        """
        report = identifiability_report(
            estimator,
            X,
            Y_tasks,
            n_refits=n_refits,
            random_state=random_state,
            n_jobs=n_jobs,
        )
        dis, _ = fitted_parts(estimator)
        return cls(report, components=component_labels(dis)).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the report.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        IdentifiabilityDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no component is active, or names do not go with the report.
        """
        report = self.report
        n = len(report.components)
        if n == 0:
            raise ValueError("No component is in use: there is nothing to draw.")
        names = self.components
        if names is None:
            names = [row["component"] for row in report.components]
        if len(names) != n:
            raise ValueError(f"components must hold {n} names; got {len(names)}.")
        room = room_for(names)
        ax = new_axes(
            self,
            ax,
            width=min(max(5.4, 3.6 + 0.45 * n), 14.0) + room,
            height=min(max(4.0, 2.4 + 0.45 * n), 12.0) + room,
        )
        counts = report.separating_tasks
        used = np.array([row["n_tasks"] for row in report.components])
        share = counts / np.maximum(used, 1)[:, np.newaxis]
        np.fill_diagonal(share, np.nan)
        from matplotlib.patches import Rectangle

        self.im_ = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
        self.text_ = np.full((n, n), None, dtype=object)
        has_room = min(axes_of_size(ax)) / n > MIN_CELL
        for i, j in np.argwhere(~np.eye(n, dtype=bool) & has_room):
            color = "black" if share[i, j] > 0.6 else "white"
            self.text_[i, j] = ax.text(
                j, i, str(counts[i, j]), ha="center", va="center", color=color
            )
        self.frames_ = [
            ax.add_patch(
                Rectangle(
                    (j - 0.43, i - 0.43),
                    0.86,
                    0.86,
                    fill=False,
                    edgecolor=ORANGE,
                    linewidth=2.5,
                )
            )
            for i, j in np.argwhere(~report.separated)
        ]
        numbers = [str(name) for name in names]
        marked = [
            number if row["identifiable"] else f"in doubt {number}"
            for row, number in zip(report.components, numbers, strict=True)
        ]
        label_ticks(ax, "x", numbers)
        label_ticks(ax, "y", marked)
        ax.set(
            xlabel="... without this one",
            ylabel="tasks that use this component ...",
        )
        title = report.verdict.split(":")[0]
        if self.frames_:
            title += "\n(frames: too few to tell apart)"
        put_title(ax, title)
        ax.figure.colorbar(
            self.im_, ax=ax, label="share of those that use it", shrink=0.8
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
