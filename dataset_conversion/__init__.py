"""From public layouts and from existing nnU-Net datasets to raw datasets with imperfect supervision.

Here stand the converters, one a file, and the division of a user's own dataset. Imports its own folders but the checks,
and ``noise_synthesis``; no torch.
"""
