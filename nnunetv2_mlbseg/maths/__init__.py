"""Formulas, tensors in and tensors out; imports torch, `networks` and this folder, and nothing of nnU-Net."""
