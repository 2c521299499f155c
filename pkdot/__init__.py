"""Privileged knowledge distillation with optimal transport: train with privileged modalities, ship without.

``pkdot.load_student(path)`` loads a student that was trained, ``pkdot.__version__`` is the version of the package.
Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "load_student"]


def load_student(path: Any, device: str = "cpu") -> Any:
    """Load the student of a bundle, or an exported one; see `pkdot.inference.loading.load_student`."""
    from pkdot.inference import loading

    return loading.load_student(path, device)


def __getattr__(name: str) -> str:
    """Return the version, which is read only when it is wanted, since that takes time."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pkdot")
    raise AttributeError(f"module 'pkdot' has no attribute '{name}'")
