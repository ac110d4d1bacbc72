"""FL plans: the schema, its TOML form for people, validation, and the options a plan may name."""
