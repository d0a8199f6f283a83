"""
How many factors are there?
===========================

You need not know the number of factors: components that no task needs are left out, and
``transform`` gives as many features as were found. ``n_components="auto"`` begins with one
component for each output of the heads. We make problems of two to seven factors, and count.
"""

# %%
# Sixty tasks, all of them numbers, on two to seven factors.
import matplotlib.pyplot as plt

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import UsageDisplay


def features_found(n_factors, task_types):
    """Number of features that a fit finds on a problem of so many factors."""
    problem = make_multitask_factors(
        800,
        n_factors=n_factors,
        n_tasks=60,
        task_types=task_types,
        random_state=n_factors,
    )
    dis = SparseSharedDisentangler(n_components="auto", random_state=0)
    return dis.fit_transform(problem.X, problem.Y).shape[1]


true_numbers = [2, 3, 5, 7]
found = [features_found(n_factors, "regression") for n_factors in true_numbers]
print(f"{true_numbers} factors: {found} features found")

# %%
# A number that is rather too large does the same. The usage then says which of the
# components matter to many tasks, and which to few.
problem = make_multitask_factors(
    800, n_factors=7, n_tasks=60, task_types="regression", random_state=7
)
wide = SparseSharedDisentangler(n_components=20, random_state=0)
wide.fit(problem.X, problem.Y)

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4), layout="constrained", width_ratios=[1, 1.6]
)
left.plot([1.5, 7.5], [1.5, 7.5], color="0.6", linestyle=":")
left.plot(true_numbers, found, "o", color="#0072B2")
left.set(xlabel="true number of factors", ylabel="features found", aspect="equal")
UsageDisplay.from_estimator(wide, ax=right)
plt.show()

# %%
# Do not count on it where all tasks are classes. A nonlinear encoder then finds more
# features than there are factors:
print(f"3 factors, binary tasks: {features_found(3, 'binary')} features found")

# %%
# And what counts is what the tasks need: a factor that no task depends on leaves no trace,
# and two factors that all tasks need in the same proportion are one.
