"""
Labels beside the target: a pipeline that learns from more
==========================================================

A target has few rows, but each row has thirty other labels. In a pipeline these travel
beside the target: ``dis__Y_tasks=`` gives them to the disentangler, while the last step
sees the target. Cross-validation and searches split them along with the rows.
"""

# %%
# The target needs two of four factors, which the rows show only through a nonlinear
# mixing. Of 300 rows, all labels are known.
import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skdisentangle import SparseSharedDisentangler
from skdisentangle.datasets import make_multitask_factors
from skdisentangle.inspection import TaskComponentDisplay

problem = make_multitask_factors(
    300, n_factors=4, n_tasks=30, n_features=16, n_layers=3, random_state=0
)
X, Y_tasks = problem.X, problem.Y
y = np.where(problem.factors[:, 0] - problem.factors[:, 2] > 0, "yes", "no")

# %%
# The pipeline is an ordinary one. Only ``fit`` takes one argument more.
pipe = Pipeline(
    [
        ("dis", SparseSharedDisentangler(n_components=10, random_state=0)),
        ("clf", LogisticRegression()),
    ]
)
pipe.fit(X, y, dis__Y_tasks=Y_tasks)

# %%
# With scikit-learn's metadata routing on, nothing has to be named:
with config_context(enable_metadata_routing=True):
    pipe.fit(X, y, Y_tasks=Y_tasks)

# %%
# Is it worth it? Ten folds, against models that see the target only. The folds that are
# scored give neither target nor tasks to the fit.
plain = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "support vector machine": make_pipeline(StandardScaler(), SVC()),
    "random forest": RandomForestClassifier(random_state=0),
}
scores = {name: cross_val_score(model, X, y, cv=10) for name, model in plain.items()}
scores["disentangled,\nwith the other labels"] = cross_val_score(
    pipe, X, y, cv=10, params={"dis__Y_tasks": Y_tasks}
)
for name, values in scores.items():
    print(f"{' '.join(name.split())}: accuracy {values.mean():.3f}")

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 5), layout="constrained", width_ratios=[1.2, 1]
)
left.boxplot(
    list(scores.values()),
    tick_labels=list(scores),
    orientation="horizontal",
    widths=0.5,
)
left.set(xlabel="accuracy, ten folds", title="Predicting the target")
TaskComponentDisplay.from_estimator(pipe, ax=right)
plt.show()
