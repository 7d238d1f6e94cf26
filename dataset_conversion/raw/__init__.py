"""Raw datasets of nnU-Net: found, read and written, case by case and in several processes.

Imports ``supervision`` and ``noise_synthesis.safe_io``; nnU-Net's readers only when they are called.
"""
