"""Data files: reading tables, encoding them by a plan's schema, splitting, fetching public sets."""
