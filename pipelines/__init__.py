"""How the pieces of samtok run on a Ray cluster."""
