"""Which case has which kind of label: the files that say so, how roles are drawn, how folds are.

Imports ``noise_synthesis.safe_io``.
"""
