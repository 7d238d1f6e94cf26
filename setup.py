"""Packaging, and the one unusual step: a ``.pth`` file through which nnU-Net finds our trainers."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).resolve().parent

# ``site`` executes this line whenever an interpreter starts, spawned workers included (it executes only lines that
# begin with ``import``). It must be cheap, silent, and do nothing once the package is gone.
PTH_NAME = "nnunetv2_mlbseg.pth"
PTH_LINE = (
    'import os; exec("try:\\n from nnunetv2_mlbseg.extension_path import register\\n'
    'except ImportError:\\n pass\\nelse:\\n register()")\n'
)

INSTALL_REQUIRES = [
    "nnunetv2>=2.8.1,<2.9",  # runtime/nnunet_version.py refuses others
    "torch>=2.3",
    "acvl-utils>=0.2.6",  # nnU-Net's cropping and padding, in every batch
    "batchgenerators>=0.25.1",
    "batchgeneratorsv2>=0.3.2",
    "dynamic-network-architectures>=0.4.4",
    "SimpleITK>=2.2.1",
    "numpy>=1.24",
    "scikit-learn>=1.1",
    "scipy>=1.15",
    "nibabel>=5",
    "blosc2>=3.3.2",
    "h5py>=3.9",
    "matplotlib>=3.7",
    "pillow>=9.1",
    "packaging>=22",
    "tqdm>=4.60",
    "pydantic>=2.7",  # the settings; blosc2, which nnU-Net needs, brings it along
]
# Snakemake needs a newer Python than everything else here.
STUDY_REQUIRES = ['snakemake>=9; python_version >= "3.11"', "pyyaml>=6"]
UNETPLUSPLUS_REQUIRES = ["monai>=1.3"]
# The alternatives that the step is measured beside; without them their rows are missing.
BENCHMARK_REQUIRES = ["pytest-benchmark>=5", "torchopt>=0.7.3", "higher>=0.2.1"]
TEST_REQUIRES = [
    *STUDY_REQUIRES,
    *UNETPLUSPLUS_REQUIRES,
    "pytest>=8",
    "pytest-benchmark>=5",
    "pytest-xdist>=3.5",
    "hypothesis>=6.90",
    "medpy>=0.5.2",
    "scikit-image>=0.19.3",
    "cleanlab>=2.7",  # its segmentation scores, to compare the audit with
    "selenium>=4.11",  # drives the report of an audit, where there is a Chromium
    "build>=1.2",  # both build and look into what would be published
    "twine>=6.1",
]
DEV_REQUIRES = [*TEST_REQUIRES, "ruff>=0.9", "mypy>=1.13", "detect-secrets>=1.5", "setuptools>=77", "wheel>=0.42"]
DOCS_REQUIRES = ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10"]


class BuildWithPth(build_py):
    """``build_py`` that also puts the ``.pth`` file at the root of the wheel, hence into site-packages."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self._pth_path()).write_text(PTH_LINE, encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self._pth_path()]

    def _pth_path(self) -> str:
        return os.path.join(self.build_lib, PTH_NAME)


class EditableWheelWithPth(editable_wheel):
    """``editable_wheel`` whose wheel carries the ``.pth`` file as well.

    An editable wheel is written without a library folder that a build step could add to, so the finished file is
    amended: this rests on the wheel format alone, not on how setuptools makes it.
    """

    def run(self) -> None:
        super().run()
        for wheel in Path(self.dist_dir).glob("nnunetv2_mlbseg-*.whl"):
            add_to_wheel(wheel, PTH_NAME, PTH_LINE.encode())


def add_to_wheel(wheel: Path, name: str, content: bytes) -> None:
    """Add a file to the root of a wheel and enter it in the wheel's RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record_line = f"{name},sha256={digest},{len(content)}\n".encode()
    amended = wheel.with_suffix(".amended")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(amended, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, content)
        for item in source.infolist():
            is_record = item.filename.endswith(".dist-info/RECORD")
            target.writestr(item, (record_line if is_record else b"") + source.read(item))
    os.replace(amended, wheel)


def version() -> str:
    """The version, read without importing the package."""
    text = (HERE / "nnunetv2_mlbseg" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def long_description() -> str:
    """The README for a package index, where no other file of the repository lies beside it.

    Pictures are left out, and a link to a file becomes its path: the source distribution has the file there.
    """
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    without_pictures = re.sub(r"^!\[[^]]*\]\([^):]+\)\n\n", "", readme, flags=re.MULTILINE)
    return re.sub(r"\[([^]]+)\]\(([^):#]+)(?:#[^)]*)?\)", r"\1 (`\2`)", without_pictures)


setup(
    name="nnunetv2_mlbseg",
    version=version(),
    description="nnU-Net trained on few clean, many noisy and many unlabeled cases (MLB-Seg)",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["nnunetv2_mlbseg*", "dataset_conversion*", "noise_synthesis*"]),
    package_data={
        "": ["*.list", "*.json", "py.typed", "Snakefile", "studies/*.yaml", "held_out/*.txt", "report_page/*"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "study": STUDY_REQUIRES,
        "unetplusplus": UNETPLUSPLUS_REQUIRES,
        "benchmark": BENCHMARK_REQUIRES,
        "test": TEST_REQUIRES,
        "dev": DEV_REQUIRES,
        "docs": DOCS_REQUIRES,
    },
    entry_points={"console_scripts": ["mlbseg = nnunetv2_mlbseg.cli.main:main"]},
    cmdclass={"build_py": BuildWithPth, "editable_wheel": EditableWheelWithPth},
    keywords=[
        "medical image segmentation",
        "nnU-Net",
        "noisy labels",
        "label noise",
        "semi-supervised learning",
        "meta-learning",
        "mean teacher",
        "label quality",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Healthcare Industry",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
)
