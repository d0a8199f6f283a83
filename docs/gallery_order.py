"""The order of the gallery; a module, as Sphinx keeps the names of functions only."""


def quick_start_first(filename):
    """Key to sort by: the quick start, then the other stories, then scripts to run."""
    return (
        filename != "plot_quick_start.py",
        not filename.startswith("plot_"),
        filename,
    )
