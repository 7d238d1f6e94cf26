"""The command ``mlbseg``: a file for each subcommand, with ``add_arguments`` and ``run``.

May import everything, and does so when a subcommand runs; nothing imports it.
"""
