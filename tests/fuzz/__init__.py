"""What nobody thought of: mutated reviews and raw bytes, for as long as one likes (make fuzz)."""
