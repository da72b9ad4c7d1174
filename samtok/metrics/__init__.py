"""Figures of merit: segmentation overlap and codebook usage."""
