"""A study file, read and checked; the study that it describes; the runs that follow from it.

Imports ``settings``, ``noise_synthesis`` and ``dataset_conversion``, to check what a study says.
"""
