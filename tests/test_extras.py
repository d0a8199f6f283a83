"""Optional packages: missing, broken, or there."""

import sys

import pytest

from skdisentangle._extras import import_extra


def test_a_package_that_is_there_is_imported():
    assert import_extra("json.decoder", "It", "json").JSONDecodeError


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    for name in ("h5py", "h5py.h5"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError) as told:
        import_extra("h5py.h5", "It", "'skdisentangle[datasets]'")
    assert str(told.value) == "It needs h5py: pip install 'skdisentangle[datasets]'."


def test_a_broken_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="is installed, but cannot be") as told:
        import_extra("half_installed", "It", "half-installed")
    assert "No module named 'what_it_needs'" in str(told.value)
    assert "pip install" not in str(told.value)
