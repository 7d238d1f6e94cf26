"""How far a run is: the epoch, the log and its curves, the checkpoint.

Imports ``runtime`` and ``networks``; knows no trainer.
"""
