"""Builds the module of compiled kernels, with the headers of the installed jaxlib and oneDNN."""

from importlib.metadata import files
from pathlib import Path

from setuptools import Extension, setup


def folder_of(package: str, file: str) -> str:
    """The folder below which a package has installed a file."""
    found = next(path for path in files(package) or [] if path.as_posix().endswith(f"/{file}"))
    return str(Path(str(found.locate())).resolve().parents[file.count("/")])


setup(
    ext_modules=[
        Extension(
            "jaxnets_cpu.kernels",
            ["src/convolution.cc"],
            include_dirs=[folder_of("jaxlib", "xla/ffi/api/ffi.h"), folder_of("onednn-devel-cpu-gomp", "dnnl.hpp")],
            library_dirs=[folder_of("onednn-cpu-gomp", "libdnnl.so")],
            libraries=["dnnl"],
            extra_compile_args=["-std=c++17", "-O2", "-fopenmp", "-w"],
            extra_link_args=["-fopenmp"],
        )
    ]
)
