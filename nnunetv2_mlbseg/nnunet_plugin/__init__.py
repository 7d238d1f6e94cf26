"""The folder that nnU-Net scans for trainers (``nnUNet_extTrainer``); it imports every module in here.

Its one module imports ``trainers`` and ``runtime``.
"""
