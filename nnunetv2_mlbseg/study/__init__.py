"""Studies: data sets x settings x variants x seeds from one YAML file, by Snakemake, to tables and figures.

Here stand the step that Snakemake starts and the study files; it imports ``reading`` and ``running``.
"""
