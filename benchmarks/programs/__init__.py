"""Applications and workers as the contenders' own documentation has them, started as processes of their own."""
