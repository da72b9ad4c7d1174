"""Group-relative policy optimization, the arithmetic: tensors in, tensors out."""
