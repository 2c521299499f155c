"""Which part of an installation brings a package: what to install where one is missing."""

from __future__ import annotations

IMPORTED_BY = {  # extras of pyproject.toml -> what their packages are imported as
    "workflow": (
        "dvc",
        "jinja2",
        "matplotlib",
        "mlflow",
        "ot",
        "psutil",
        "seglearn",
        "sklearn",
        "snakemake",
        "torchvision",
    ),
    "simulate": ("anny", "numba"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "serve": ("fastapi", "multipart", "python_multipart", "starlette", "uvicorn"),
}


def advice(error: ModuleNotFoundError) -> str | None:
    """Return a sentence that says what to install, and None where the missing module is of none of the extras."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in IMPORTED_BY.items():
        if module in modules:
            return f"this needs the package {module}, which is not installed. Run: pip install 'pkdot[{extra}]'"
    return None
