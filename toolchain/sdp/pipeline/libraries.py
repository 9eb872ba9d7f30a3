"""Versions of the libraries that a result depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def library_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution that is installed."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
