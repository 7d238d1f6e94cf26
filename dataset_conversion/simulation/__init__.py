"""A dataset with simulated noise and hidden labels, made from one whose labels are all clean.

Imports ``raw``, ``supervision`` and ``noise_synthesis``.
"""
