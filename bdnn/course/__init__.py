"""What notebooks and commands need and a library does not: figures, records, comparisons."""
