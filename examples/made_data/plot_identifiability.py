"""
Can the components be believed?
===============================

A fit always gives components. Whether they are the factors, or mixtures of them, depends on
the tasks, and the identifiability report says which, without knowing the factors. Two
problems with the same rows: in one the tasks differ in what they need, in the other each
task needs nearly everything.
"""

# %%
# Four factors, mixed to ten columns, and forty tasks.
import matplotlib.pyplot as plt

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import (
    FactorCodeDisplay,
    IdentifiabilityDisplay,
    identifiability_report,
)

fits = {}
for name, support_size in (("one or two factors a task", (1, 2)), ("all factors", 4)):
    problem = make_multitask_factors(
        1000,
        n_factors=4,
        n_features=10,
        n_tasks=40,
        mixing="linear",
        task_types="regression",
        support_size=support_size,
        random_state=0,
    )
    dis = SparseSharedDisentangler(n_components=8, encoder="linear", random_state=0)
    fits[name] = dis.fit(problem.X, problem.Y), problem

# %%
# Both predict equally well. The report tells them apart.
reports = {}
for name, (dis, problem) in fits.items():
    reports[name] = identifiability_report(dis, problem.X)
    print(f"--- {name}: R2 {dis.score(problem.X, problem.Y):.3f}")
    print(reports[name], end="\n\n")

# %%
# The line of a component: its usage, how many tasks use it, and how many of these do
# without another component, at the least. If too few do, the two may be mixed. Above, the
# number of tasks that use the component of the row without that of the column; cells with a
# frame are pairs in doubt. Below, what only we know here: the factors. Where the report has
# no doubt, each component is a factor; where it has, components are mixtures.
figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
for (name, (dis, problem)), column in zip(fits.items(), axes.T, strict=True):
    IdentifiabilityDisplay(reports[name]).plot(ax=column[0])
    FactorCodeDisplay.from_estimator(
        dis, problem.X, problem.factors, importance="linear", ax=column[1]
    )
    column[0].set_title(f"{name}\n{column[0].get_title()}")
plt.show()
