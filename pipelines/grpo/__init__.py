"""GRPO on Ray: rollout actors generate, a trainer learns beside them; README.md draws the flow."""
