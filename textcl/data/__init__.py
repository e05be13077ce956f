"""Files to rows and rows to files: roles, formats, sources, caching and writing."""
