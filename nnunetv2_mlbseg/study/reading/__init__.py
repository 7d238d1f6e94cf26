"""A study file, read and checked; the study that it describes; the runs that follow from it.

Imports ``settings`` and ``noise_synthesis``, to check what a study configures.
"""
