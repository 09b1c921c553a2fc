"""Pictures of methods: paths, profiles, stability."""
