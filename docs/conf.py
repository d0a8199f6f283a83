"""How the site is built: ``python -m sphinx -W --keep-going docs build/site``.

Add ``-D plot_gallery=0`` to leave the examples of the gallery unrun.
"""

import importlib
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits of the examples are small

import skdisentangle

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_order

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "skdisentangle"
author = "the skdisentangle developers"
copyright = author
version = release = skdisentangle.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
templates_path = ["_templates"]
exclude_patterns = ["auto_examples/**.ipynb", "auto_examples/**.py"]

# Pages ------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
#: Files outside docs/ that pages link to, as a code host shows them, and where that is on
#: the site.
ELSEWHERE = {
    r"benchmarks/README\.md": "evidence/index.md",
    r"benchmarks/reports/(\w+)\.md": r"evidence/\1.md",
    r"(CHANGELOG|CONTRIBUTING)\.md": lambda name: f"about/{name[1].lower()}.md",
    r"examples/(\w+/\w+)\.py": r"auto_examples/\1.rst",
    r"examples": "auto_examples/index.rst",
    r"docs/(.*)": r"\1",
}

#: A file of the repository that a page includes, or the part between two lines of it.
INCLUDE = re.compile(
    r"""```{include} (\S+)\n(?::start-after: "(.+)"\n:end-before: "(.+)"\n)?```"""
)

# Reference --------------------------------------------------------------------------

#: What users need not know, below the package: the parts that the estimator is made of.
#: All other modules without an underscore are in the reference, with all that their
#: ``__all__`` names, and all public members of classes.
INSIDE = re.compile(
    r"""cli|disentangler|validation
    |(encoders|files|fitting|rows|solvers|tasks)(\.[a-z_]+)*
    |extraction\.(?!(extract|verify)_features$).*
    |distributed\.(?!process_group$|Ranks$|Ranks\.fit$).*
    |backbones\..*\.forward""",
    re.VERBOSE,
)

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc sections say more
autodoc_default_options = {"members": True, "inherited-members": True}
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    *("GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL10"),
    *("SS01", "SS02", "SS03", "SS04"),
    *("PR01", "PR02", "PR03", "PR05", "PR06", "PR08", "PR09", "PR10"),
    *("RT01", "RT04", "RT05", "SA02", "SA03", "SA04"),
}
#: Classes that functions return: people read their attributes, and do not make them.
numpydoc_validation_exclude = {r"Scores$", r"Report$", r"Effects$", r"Ranks$"}
nitpicky = True
#: Other projects' names: there is no inventory of them without a network.
nitpick_ignore_regex = [
    (r"py:.*", r"(sklearn|numpy|scipy|torch|pandas|polars|matplotlib|joblib|dask)\..*"),
]

# Gallery ----------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "show_memory": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": "True",  # a word, as -D gives one
    "subsection_order": "gallery_order.real_data_first",
    "within_subsection_order": "gallery_order.quick_start_first",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("skdisentangle",),
}

# Looks ------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skdisentangle"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"about/*": []}  # pages without pages below them
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skdisentangle"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
}


def public_modules():
    """Names of the modules of the reference, the package first."""
    yield skdisentangle.__name__
    for _, name, _ in pkgutil.walk_packages(skdisentangle.__path__, "skdisentangle."):
        inner = name.removeprefix("skdisentangle.")
        if not re.search(r"(^|\.)_", inner) and not INSIDE.fullmatch(inner):
            yield name


def write_reference(app, config):
    """A page for each module; autosummary makes the pages of their names."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    seen, modules, summary = set(), [], []
    for name in public_modules():
        module = importlib.import_module(name)
        entries = {"class": [], "function": []}
        for public in module.__all__:
            thing = getattr(module, public)
            inner = f"{name}.{public}".removeprefix("skdisentangle.")
            kind = "class" if isinstance(thing, type) else "function"
            if callable(thing) and thing not in seen and not INSIDE.fullmatch(inner):
                seen.add(thing)
                entries[kind].append(public)
        if not any(entries.values()):
            continue
        modules.append(name)
        lines = [name, "=" * len(name), "", f".. module:: {name}", ""]
        lines += [inspect.getdoc(module), ""]
        for kind, names in entries.items():
            if names:
                lines += [
                    ".. autosummary::",
                    "   :toctree: generated",
                    "   :nosignatures:",
                ]
                lines += [
                    f"   :template: {kind}.rst",
                    "",
                    *(f"   {n}" for n in names),
                    "",
                ]
        write_if_new(folder / f"{name}.rst", "\n".join(lines))
        summary += [f":mod:`{name}`", "-" * (len(name) + 7), ""]
        summary += [inspect.getdoc(module).splitlines()[0], ""]
        summary += [
            f".. currentmodule:: {name}",
            "",
            ".. autosummary::",
            "   :nosignatures:",
            "",
        ]
        names = [public for names in entries.values() for public in names]
        summary += [*(f"   {public}" for public in names), ""]
    head = (HERE / "_templates" / "reference.rst").read_text()
    pages = [".. toctree::", "   :hidden:", ""]
    pages += [*(f"   {m.removeprefix('skdisentangle.')} <{m}>" for m in modules), ""]
    write_if_new(folder / "index.rst", head + "\n".join(pages + summary))


def write_if_new(page, text):
    """Write a page, unless it says the same: Sphinx would read it once more."""
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def skip_member(app, what, name, obj, skip, options):
    """Leave out what is inside, or comes from a base class of another project."""
    getter = getattr(obj, "fget", None) or obj
    owner = getattr(getter, "__objclass__", getter)
    module = getattr(owner, "__module__", None) or ""
    if not module.startswith("skdisentangle"):
        return True if module else None
    full = f"{module}.{getattr(getter, '__qualname__', name)}"
    return True if INSIDE.fullmatch(full.removeprefix("skdisentangle.")) else None


def adapt_page(app, docname, source):
    """Turn links to files of the repository into links within the site."""
    folder = (HERE / docname).parent

    def included(include):
        file = (folder / include[1]).resolve()
        app.env.note_dependency(str(file))
        part = file.read_text()
        if include[2]:
            part = part.partition(include[2])[2].partition(include[3])[0]
        return adapt_links(part, file.parent, folder)

    text = adapt_links(source[0], folder, folder)
    source[0] = re.sub(INCLUDE, included, text)


def adapt_links(text, folder, page_folder):
    """Links and pictures of a file of ``folder``, for a page of ``page_folder``."""

    def adapted(link):
        name, _, anchor = link[1].partition("#")
        file = (folder / name).resolve()
        if not name or name.startswith("/") or not file.is_relative_to(ROOT):
            return link[0]
        inner = file.relative_to(ROOT).as_posix()
        for pattern, target in ELSEWHERE.items():
            if re.fullmatch(pattern, inner):
                page = re.sub(pattern, target, inner)
                return f"](/{page}#{anchor})" if anchor else f"](/{page})"
        if file.exists():  # a picture
            return f"]({os.path.relpath(file, page_folder)})"
        return link[0]

    return re.sub(r"\]\((?!\w+:)([^)\s]+)\)", adapted, text)


def setup(app):
    """Connect the functions above."""
    app.connect("config-inited", write_reference)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("source-read", adapt_page)
