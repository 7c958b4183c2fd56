"""HDF5 files in and out, checkpoints and shards."""
