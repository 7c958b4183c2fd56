"""Products of large matrices, and principal components."""
