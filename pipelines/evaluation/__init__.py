"""Evaluation: what a tokenizer keeps of the masks of a corpus."""
