"""One reader per corpus format, each giving one row per image."""
