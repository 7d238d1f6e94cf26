"""From public layouts and from existing nnU-Net datasets to raw datasets with imperfect supervision."""
