"""What an iteration adds to nnU-Net's own, one method a file; MLB-Seg has a folder.

Imports ``methods/mlbseg``, ``training`` and what they import; no trainer class knows of a method but those in ``trainers``.
"""
