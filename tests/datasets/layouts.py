"""Small folders of the layouts that the official archives unpack to."""

from __future__ import annotations

import csv

import numpy as np

DOMAINS = {
    "pacs": ("PACS", ["art_painting", "cartoon", "photo", "sketch"]),
    "vlcs": ("VLCS", ["Caltech101", "LabelMe", "SUN09", "VOC2007"]),
    "office_home": (
        "OfficeHomeDataset_10072016",
        ["Art", "Clipart", "Product", "Real World"],
    ),
}

CLASSES = {
    "pacs": ["dog", "elephant", "giraffe", "guitar", "horse", "house", "person"],
    "vlcs": ["bird", "car", "chair", "dog", "person"],
    "office_home": [f"Thing_{c:02}" for c in range(65)],
}

IDENTITIES = [
    "male",
    "female",
    "LGBTQ",
    "christian",
    "muslim",
    "other_religions",
    "black",
    "white",
]
FURTHER = [
    "identity_any",
    "severe_toxicity",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual_explicit",
]


def save(path, pixels):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def pattern(key, shape=(8, 8, 3)):
    """A picture that stands for a class."""
    return np.random.default_rng(key).integers(60, 196, size=shape)


def images_each(name):
    """How many images of a class are written in each domain."""
    return 2 if name == "office_home" else 3


def write_domains(root, name):
    """Every class in every domain; brightness is the domain's, the picture the class's."""
    folder, domains = DOMAINS[name]
    n_images = images_each(name)
    noise = np.random.default_rng(0)
    for d, domain in enumerate(domains):
        for c, label in enumerate(CLASSES[name]):
            for i in range(n_images):
                pixels = pattern([c, 1]) + 10 * d + noise.normal(0, 3, (8, 8, 3))
                save(root / folder / domain / label / f"{i:03}.jpg", pixels)
    return root / folder


def write_waterbirds(root, folder="waterbird_complete95_forest2water2"):
    """Every split x group; two species a kind; places as in the official file."""
    species = (
        ["001.Black_footed_Albatross", "144.Common_Tern"],
        [
            "009.Brewer_Blackbird",
            "030.Fish_Crow",
        ],
    )
    places = ["b/bamboo_forest", "f/forest/broadleaf"], ["o/ocean", "l/lake/natural"]
    counts = {0: (16, 4, 4, 8), 1: (3, 3, 3, 3), 2: (4, 2, 2, 4)}
    noise = np.random.default_rng(0)
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for split, sizes in counts.items():
        for group, size in enumerate(sizes):
            y, place = divmod(group, 2)
            for i in range(size):
                kind, number = species[1 - y][i % 2], len(lines)
                name = f"{kind}/{kind[4:]}_{number:04}_18.jpg"
                spot = places[place][i // 2 % 2]
                lines.append(f"{number},{name},{y},{split},{place},/{spot}/{i:08}.jpg")
                pixels = np.empty((8, 8, 3))
                pixels[:4] = pattern([y, i % 2, 2], (4, 8, 3)) + 60 * y
                pixels[4:] = pattern([place, i // 2 % 2, 3], (4, 8, 3)) - 40 * place
                save(root / folder / name, pixels + noise.normal(0, 3, pixels.shape))
    (root / folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root / folder


def write_camelyon17(root):
    """5 centres x 2 slides, both labels; the file's splits are 0 and 1 everywhere."""
    folder = root / "camelyon17_v1.0"
    noise = np.random.default_rng(0)
    lines = [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for slide in range(10):
        center, patient, node = slide // 2, f"{4 + 9 * slide:03}", slide % 4
        for i in range(8):
            tumor, split = i % 2, int(i >= 6)
            x, y = 3328 + 32 * i, 21792 - 32 * i
            lines.append(
                f"{len(lines) - 1},{patient},{node},{x},{y},{tumor},{slide},{center},"
                f"{split}"
            )
            where = f"patient_{patient}_node_{node}"
            pixels = np.full((96, 96, 3), 140.0) + 5 * center
            pixels[32:64, 32:64] -= 60 * tumor
            save(
                folder / "patches" / where / f"patch_{where}_x_{x}_y_{y}.png",
                pixels + noise.normal(0, 3, pixels.shape),
            )
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_civilcomments(root):
    """Quotes, line breaks, commas, and shares of exactly 0.5."""
    folder = root / "civilcomments_v1.0"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rude = [
        'what a "stupid",\nstupid thing',
        "idiots, all of you",
        'he said ""no""\r\nfool',
    ]
    kind = ["I agree", 'a "fine" article,\n\nthank you', "NA", "well, said"]
    names = ["toxicity", *IDENTITIES, *FURTHER]
    columns = ["id", "split", "comment_text", "created_date", *names]
    with open(folder / "all_data_with_identities.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *columns])
        row = 0
        for split, n in {"train": 80, "val": 32, "test": 48}.items():
            for i in range(n):
                toxic = i % 2
                shares = rng.choice(
                    [0.0, 1 / 3, 0.4999999, 0.5, 5 / 6], size=len(names)
                )
                shares[0] = [0.0, 0.4999999, 0.5, 0.75][2 * toxic + i // 2 % 2]
                shares[1 + i // 2 % 8] = 0.5  # each identity, toxic and not
                words = f"{(rude if toxic else kind)[i % 3]} {names[1 + i // 2 % 8]}"
                text = "NA" if i == 0 else words
                writer.writerow([row, 5_000_000 + row, split, text, "2017", *shares])
                row += 1
    return folder


WRITERS = {
    "waterbirds": write_waterbirds,
    "camelyon17": write_camelyon17,
    "civilcomments": write_civilcomments,
}


def write(root, name):
    """Write a set of that name; its folder is returned."""
    return WRITERS[name](root) if name in WRITERS else write_domains(root, name)
