"""What certificates promise: known to those who check the configuration and who certify."""

# The probability that a certificate is wrong, the authors' alpha (Cohen et al. 2019).
FAILURE = 0.001
