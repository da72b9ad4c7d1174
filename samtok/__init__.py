"""SAMTok: any region of an image as two words of a language model's vocabulary (arXiv 2601.16093)."""
