"""MLB-Seg: what an iteration computes, its settings, what it remembers of labels, its quantities in the log.

Imports ``training``, ``maths`` and what they import.
"""
