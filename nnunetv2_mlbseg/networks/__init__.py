"""Networks, what is changed in them, what identifies them, and nnU-Net's plans for them.

Imports ``noise_synthesis.safe_io``.
"""
