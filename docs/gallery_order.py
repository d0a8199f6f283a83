"""The order of the gallery; a module, as Sphinx keeps the names of functions only."""

SECTIONS = ("real_data", "made_data", "scripts")
FIRST = ("plot_digits.py", "plot_real_table.py", "plot_quick_start.py")


def real_data_first(folder):
    """Key to sort sections by."""
    return SECTIONS.index(folder.rstrip("/").rpartition("/")[2])


def quick_start_first(filename):
    """Key to sort the examples of a section by: where to begin, then by name."""
    return filename not in FIRST, filename
