"""How the tiny base model learns to see and to talk about scenes, before it hears of mask words."""
