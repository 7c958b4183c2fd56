"""Networks on data sets: scores, attacks on whole networks, certificates, image space."""
