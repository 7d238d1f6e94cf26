"""What an iteration adds to nnU-Net's own, one method a file; MLB-Seg has a folder.

Imports ``training`` and what that imports; no trainer class knows of a method but those in ``trainers``.
"""
