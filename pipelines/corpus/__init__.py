"""Corpora in, mask words out."""
