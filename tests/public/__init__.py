"""What users may rely on: the public names, the pages about them, the examples, the wheel."""
