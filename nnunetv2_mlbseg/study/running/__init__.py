"""The runs of a study: Snakemake, locks, GPUs, and the commands of nnU-Net and of this package.

Imports ``reading``, ``runtime``, ``networks`` and ``evaluation``.
"""
