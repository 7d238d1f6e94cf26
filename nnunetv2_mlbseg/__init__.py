"""nnU-Net trained on few clean, many noisy and many unlabeled cases (MLB-Seg).

Importing this package imports nothing else: it is imported whenever a Python interpreter starts (``extension_path``).
"""

__version__ = "0.2.0"
