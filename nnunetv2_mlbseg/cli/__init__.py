"""The command ``mlbseg``: one file per group of subcommands, each with ``add_arguments`` and ``run``."""
