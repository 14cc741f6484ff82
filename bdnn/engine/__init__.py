"""What makes the library fast or large: compiled counting, samples beyond memory."""
