"""Universal perturbations: one file a method, and the search that all of them share."""
