"""What a recording and a pair of them are like: figures, measured once and kept; what they mean is told elsewhere."""
