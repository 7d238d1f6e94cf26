"""Who trains, with which label, and how it reaches the loader; imports runtime, networks, settings, evaluation, maths,
progress, dataset_conversion and noise_synthesis, nothing above."""
