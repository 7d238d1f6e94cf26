"""``mlbseg check``: everything that can be wrong with a raw dataset, each kind of mistake in a file of its own.

Imports ``raw``, ``supervision`` and ``noise_synthesis.safe_io``.
"""
