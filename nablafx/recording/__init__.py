"""Recordings before training: checked and mended, played and cut, taken over from other layouts."""
