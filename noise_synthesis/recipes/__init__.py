"""The kinds of label noise, one a file, and what they are made of: depth maps, smooth random fields.

Imports ``safe_io``.
"""
