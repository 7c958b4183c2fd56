"""The paper's numbers, for comparison.

D. Liang, P. Hayes, A. Althoff: Deep Adversarial Robustness (2017). Accuracies are fractions, of
2,000 ImageNet images (two a class), by a pretrained Inception network behind each defence. The
keys are the names that defences have in this workflow: ``none`` is the paper's *Inception* or
*Control*, ``noise`` its *Additive Noise*, ``downsample`` its *Downsampling*, which its Table 3
shows to be the one by 50 %.
"""

CITATION = "Liang, Hayes and Althoff (2017)"
IMAGES = 2000
# How many images principal components and autoencoders were fitted to.
FIT_IMAGES = 10_000

# Table 1, "Final Universal Perturbation Experimental results": (data set, defence) -> accuracy.
TABLE_1 = {
    ("original", "none"): 0.7585,
    ("original", "pca"): 0.2335,
    ("original", "noise"): 0.7305,
    ("original", "downsample"): 0.6295,
    ("universal", "none"): 0.5525,
    ("universal", "pca"): 0.2210,
    ("universal", "noise"): 0.6245,
    ("universal", "downsample"): 0.5430,
}

# Table 2, "Gradient Perturbation Experimental results": (A, B) -> accuracy of A on the images made
# against B, and of B on those made against A.
TABLE_2 = {
    ("none", "noise"): (0.5755, 0.5610),
    ("none", "pca"): (0.3550, 0.1380),
    ("noise", "pca"): (0.4125, 0.1380),
}

# Table 3, "Downsampling Universal Perturbation Experimental results": ratio -> accuracy on the
# original images and on the universally perturbed ones.
TABLE_3 = {
    0.50: (0.6295, 0.5430),
    0.75: (0.7045, 0.5370),
}
