"""Studies: data sets x settings x variants x seeds from one YAML file, by Snakemake, to tables and figures."""
