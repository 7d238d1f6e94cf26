"""Metrics of segmentations, and the scores of a folder of predictions.

Imports ``noise_synthesis.safe_io``, no torch.
"""
