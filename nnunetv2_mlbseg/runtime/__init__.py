"""What any long command needs: errors, processes, signals, random state, commands that it starts.

Imports ``noise_synthesis.safe_io``.
"""
