"""
A real table: what moves a component
====================================

The breast cancer data that come with scikit-learn: ten measurements of cell nuclei in 569
images, each as the mean over the image, its standard error, and its worst value. We
learn from the means and errors; the tasks are the diagnosis and, for each measurement,
whether its worst value is above the median. So the tasks are known to be about a few
things (size, texture, shape), but nobody knows the true factors.
"""

# %%
# Names of columns are taken from data frames, for rows and for tasks. With some hundred
# rows a linear encoder is enough, and its components are the easiest to read.
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdisentangle import SparseSharedDisentangler
from skdisentangle.inspection import (
    InputEffectDisplay,
    TaskComponentDisplay,
    identifiability_report,
    input_effects,
)

data = load_breast_cancer(as_frame=True)
worst = [name for name in data.data if name.startswith("worst")]
X = data.data.drop(columns=worst)
Y_tasks = (data.data[worst] > data.data[worst].median()).add_suffix(" is high")
Y_tasks["malignant"] = data.target == 0

dis = SparseSharedDisentangler(encoder="linear", random_state=0).fit(X, Y_tasks)
print(f"{dis.coef_.shape[1]} components for {Y_tasks.shape[1]} tasks")

# %%
# Which columns move which component? As a table, and as a picture beside the tasks. One
# component is size: radius, perimeter and area, which the tasks need together, and on which
# the diagnosis hangs. Others go with concavity, texture, smoothness, symmetry and fractal
# dimension. Columns of different signs beside the main one correct for what they share with it.
effects = input_effects(dis, X)
print(effects)
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6.4), layout="constrained")
TaskComponentDisplay.from_estimator(dis, ax=left)
InputEffectDisplay(effects).plot(ax=right)
plt.show()

# %%
# Can it be believed? Eleven tasks are few: most components are needed by one task or two,
# and then any mixture of them would do. The report says so. What is called "texture" here
# may hold a little of the others.
report = identifiability_report(dis, X)
print(report.verdict)

# %%
# And are the features of use? We take the diagnosis for a new target, and leave it out of
# the tasks, so that no feature has seen it. In each of five folds the disentangler is
# fitted on the ten other tasks.
y = data.target
others = Y_tasks.drop(columns="malignant")
plain = make_pipeline(StandardScaler(), LogisticRegression())
disentangled = make_pipeline(
    SparseSharedDisentangler(encoder="linear", random_state=0), LogisticRegression()
)
scores = {
    "raw columns": cross_val_score(plain, X, y, cv=5),
    "components": cross_val_score(
        disentangled,
        X,
        y,
        cv=5,
        params={"sparseshareddisentangler__Y_tasks": others},
    ),
}
print(pd.DataFrame(scores).agg(["mean", "std"]).round(3))

# %%
# The components do not score higher here: the diagnosis is nearly linear in the columns, and
# all rows have it. You gain a model that you can read. Components of other tasks may score higher
# if the target has few labels: see the example on digits.
