"""The runs of a study: Snakemake, locks, GPUs, and the commands of nnU-Net and of this package.

Imports ``runtime``, ``networks`` and ``evaluation``, and nothing of how a study is read or reported.
"""
