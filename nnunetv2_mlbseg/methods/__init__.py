"""What an iteration adds to nnU-Net's own, one method a file; MLB-Seg has a folder.

Imports ``methods/mlbseg``, ``training`` and what they import; of the trainers only those in ``trainers`` know one.
"""
