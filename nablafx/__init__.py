"""nablafx learns the sound of audio gear from dry and wet recordings."""
