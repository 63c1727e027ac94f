// Placeholder until the module has its files.
